// Pages work without this. With it they follow what happens: the hub says that something has changed, the page is fetched
// again, and what differs is changed in place, so that focus, scrolling and open details stay. A log is continued with
// what was added to it.
"use strict";

// Times are told as ages: they go on also when nothing else happens.
const EVERY = 60000;

function follow(main) {
  const source = new EventSource(main.dataset.live);
  let pending = null;
  async function refresh() {
    pending = null;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
      if (!fresh || busy(main)) return;
      const hadLog = main.querySelector("[data-log]");
      change(main, fresh);
      if (!fresh.dataset.live) {
        source.close();
        clearInterval(ages);
      }
      if (!hadLog) continueLog(main);
    } catch {
      // The hub is away; EventSource tries again by itself.
    }
  }
  // Many changes at once are shown once.
  source.onmessage = () => { pending ??= setTimeout(refresh, 1000); };
  // What has changed before nobody was told: since the page was made, or while the hub was away.
  source.onopen = () => { pending ??= setTimeout(refresh, 0); };
  const ages = setInterval(() => { if (!document.hidden) pending ??= setTimeout(refresh, 0); }, EVERY);
}

// Whoever writes into a field or selects text is not disturbed.
function busy(main) {
  const focused = document.activeElement;
  return main.contains(focused) && ["INPUT", "SELECT"].includes(focused.tagName) || !getSelection().isCollapsed;
}

// Makes an element like another. Children with an id are the same ones wherever they are; others by their place.
function change(old, fresh) {
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !belongsToReader(old, name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value && !belongsToReader(old, name)) old.setAttribute(name, value);
  }
  const known = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
  let place = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const same = wanted.id ? known.get(wanted.id) : next(place, wanted);
    if (!same) {
      old.insertBefore(document.importNode(wanted, true), place);
      continue;
    }
    if (wanted.id) {
      if (same === place) place = place.nextSibling; else old.insertBefore(same, place);
    } else {
      // What is between is there no more.
      while (place !== same) place = remove(place);
      place = same.nextSibling;
    }
    if (same.nodeType !== Node.ELEMENT_NODE) {
      if (same.data !== wanted.data) same.data = wanted.data;
    } else if (!("log" in same.dataset && "log" in wanted.dataset)) {
      // A log that is being followed stays as it is.
      change(same, wanted);
    }
  }
  while (place) place = remove(place);
}

// Whether something is open is for whoever reads to say.
function belongsToReader(element, attribute) {
  return element.tagName === "DETAILS" && attribute === "open";
}

// The next node like the wanted one, but not beyond one that has its own place.
function next(place, wanted) {
  for (let node = place; node && !node.id; node = node.nextSibling) {
    if (node.nodeName === wanted.nodeName && (node === place || node.className === wanted.className)) return node;
    // Space between elements is everywhere.
    if (wanted.nodeType !== Node.ELEMENT_NODE) return null;
  }
  return null;
}

function remove(node) {
  const following = node.nextSibling;
  node.remove();
  return following;
}

function continueLog(main) {
  const log = main.querySelector("[data-log]");
  if (!log) return;
  const source = new EventSource(log.dataset.log);
  log.scrollTop = log.scrollHeight;
  source.onmessage = (event) => {
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    // The hub has escaped everything in it and made the colours.
    const piece = document.createElement("span");
    piece.innerHTML = event.data;
    log.append(piece);
    while (log.childNodes.length > 2000) log.firstChild.remove();
    if (atEnd) log.scrollTop = log.scrollHeight;
  };
  source.addEventListener("end", () => source.close());
}

const main = document.querySelector("main");
if (main.dataset.live) follow(main);
continueLog(main);
