// Pages work without this. With it they follow what happens: the hub says that something has changed, and the page is
// fetched again; a log is continued with what was added to it.
"use strict";

function follow(main) {
  const source = new EventSource(main.dataset.live);
  let pending = null;
  source.onmessage = () => {
    // Many changes at once are shown once.
    pending ??= setTimeout(async () => {
      pending = null;
      try {
        const answer = await fetch(location.href, { headers: { accept: "text/html" } });
        if (!answer.ok) return;
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
        if (!fresh || busy(main)) return;
        const log = main.querySelector("[data-log]");
        const place = fresh.querySelector("[data-log]");
        // The log that is being followed stays as it is.
        if (log && place) place.replaceWith(log);
        main.replaceChildren(...fresh.childNodes);
        if (!fresh.dataset.live) source.close();
        if (!log) continueLog(main);
      } catch {
        // The hub is away; EventSource tries again by itself.
      }
    }, 1000);
  };
}

// Whoever writes into a field or selects text is not disturbed.
function busy(main) {
  const focused = document.activeElement;
  return main.contains(focused) && ["INPUT", "SELECT"].includes(focused.tagName) || !getSelection().isCollapsed;
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
