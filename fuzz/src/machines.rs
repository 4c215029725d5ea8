//! What people and machines say to the parts that start and run machines: settings, requests, logs, roots.

use std::io;

use appliance::settings::{Origin, Settings};
use sha256::Digest;
use rocbed_init::netroot::image::{BLOCK, ImageError, Incoming, Target};
use testbed::protocol::{Copy, Direction, Request, quote, unquote};
use transfer::range::RequestedRange;

use crate::bytes::InPieces;
use crate::text;

/// A log as a page shows it. However it is cut at the ends of lines it looks the same, and the only tags are ours.
pub fn hub_log(data: &[u8]) {
    let html = hub::log_to_html([data]);
    let lines = data.split_inclusive(|byte| *byte == b'\n');
    assert_eq!(hub::log_to_html(lines), html);
    assert!(!html.contains(|char: char| char.is_control() && char != '\n' && char != '\t'), "{html:?}");
    let mut rest = html.as_str();
    let mut open = false;
    while let Some((before, after)) = rest.split_once('<') {
        assert!(!before.contains(['>', '"', '\'']), "{before:?}");
        let (tag, after) = after.split_once('>').expect("a tag's end");
        let classes = tag.strip_prefix("span class=\"").and_then(|tag| tag.strip_suffix('"'));
        match classes {
            Some(classes) => {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b' ';
                assert!(!open && !classes.is_empty() && classes.bytes().all(plain), "{tag:?}");
            }
            None => assert!(open && tag == "/span", "{tag:?}"),
        }
        open = !open;
        rest = after;
    }
    assert!(!open && !rest.contains(['>', '"', '\'']), "{rest:?}");
}

/// A file's length, a new line, and the `Range` of a request. A part is in the file.
pub fn range(data: &[u8]) {
    let Some((length, value)) = text(data).and_then(|text| text.split_once('\n')) else { return };
    let Ok(length) = length.parse() else { return };
    if let RequestedRange::Part(range) = RequestedRange::parse(value, length) {
        assert!(range.start < range.end && range.end <= length, "{range:?} of {length}");
    }
}

/// A line of dnsmasq's log. What it names is a word.
pub fn netboot_log(data: &[u8]) {
    let Some(event) = netboot::dnsmasq::event(&String::from_utf8_lossy(data)) else { return };
    assert!(!event.host.contains(' '), "{event:?}");
    if let netboot::Step::Loader { file } = &event.step {
        assert!(!file.contains(['/', ' ']), "{event:?}");
    }
    assert!(event.to_string().starts_with(&event.host));
}

/// The text of a `rocbed.toml`, wherever it comes from. What is wrong is told with its place; what is taken makes sense;
/// and what only the image may say nobody else can.
pub fn settings(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for origin in [Origin::Image, Origin::Stick, Origin::HandOver] {
        let mut settings = Settings::default();
        let problems = settings.set_all(&text, origin);
        assert!(problems.iter().all(|problem| problem.what.starts_with(&origin.to_string())), "{problems:?}");
        if text.parse::<toml::Table>().is_err() {
            assert!(problems.len() == 1 && settings == Settings::default(), "{problems:?}");
        }
        if origin != Origin::Image {
            assert!(!settings.debug_shell && settings.recipe.is_none());
        }
        for address in [&settings.hub, &settings.jobs, &settings.results, &settings.mirror].into_iter().flatten() {
            assert!(address.starts_with("http") && !address.contains(char::is_whitespace), "{address:?}");
        }
        if let Some(name) = &settings.name {
            let plain = |char: char| char.is_ascii_alphanumeric() || char == '-';
            assert!((1..=63).contains(&name.len()) && name.chars().all(plain), "{name:?}");
        }
        let token = settings.join_token.as_ref().map(appliance::settings::Secret::reveal);
        assert!(token.is_none_or(|token| token.bytes().all(|byte| byte.is_ascii_graphic())));
        assert!(!settings.overlay_size.is_empty() && settings.ip.iter().all(|word| !word.is_empty()));
    }
}

/// A root of up to 8 MiB that comes from the network, compressed or not. It is taken with its own digest only; what was
/// kept of it by then is no more than was announced, in whole blocks; and cut in pieces it is the same root.
pub fn netroot(data: &[u8]) {
    let length = Some(data.len() as u64);
    let receive = |input: InPieces<'_>, sha256: &Digest| {
        let mut kept = Kept::default();
        let result = Incoming::open(input, length).and_then(|incoming| incoming.receive(sha256, &mut kept));
        assert!(kept.content.len() as u64 <= kept.size, "more than was announced");
        (result, kept)
    };
    let (refused, kept) = receive(InPieces::of(data), &Digest::from([0; 32]));
    let found = match refused.expect_err("a digest of zeros") {
        ImageError::Digest { found, .. } => found,
        error => return assert!(!error.to_string().is_empty()),
    };
    let sha256 = Digest::of(&kept.content);
    assert_eq!(found, sha256);
    let mut whole = Kept::default();
    let size = Incoming::open(data, length).and_then(|incoming| incoming.receive(&sha256, &mut whole));
    assert_eq!(size.expect("its own digest"), kept.size);
    assert!(whole.content == kept.content && whole.content.len() as u64 == kept.size && whole.ended);
}

#[derive(Default)]
struct Kept {
    size: u64,
    content: Vec<u8>,
    ended: bool,
}

impl Target for Kept {
    fn begin(&mut self, size: u64) -> io::Result<()> {
        self.size = size;
        if size > 8 << 20 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn write(&mut self, block: Vec<u8>) -> io::Result<Vec<u8>> {
        assert!((1..=BLOCK).contains(&block.len()) && self.content.len().is_multiple_of(BLOCK) && !self.ended);
        self.content.extend(&block);
        Ok(block)
    }

    fn end(&mut self) -> io::Result<()> {
        self.ended = true;
        Ok(())
    }
}

/// The head of a request to a testbed's proxy: what goes on to the host is one head, for one host.
pub fn proxy_request(data: &[u8]) {
    let Some(head) = testbed::proxy::forwarded(data) else { return };
    let text = String::from_utf8(head).expect("text");
    assert_eq!(text.find("\r\n\r\n").map(|at| at + 4), Some(text.len()), "{text}");
    assert!(text.ends_with("\r\nConnection: close\r\n\r\n"), "{text}");
    let hosts = text.split("\r\n").filter(|line| line.to_ascii_lowercase().starts_with("host:")).count();
    assert_eq!(hosts, 1, "{text}");
    assert_eq!(testbed::proxy::forwarded(text.as_bytes()), None, "it is not for a proxy again");
}

/// A line of autopkgtest's to its virtualisation server. Its end may be there or not; what is asked reads back when it
/// is written anew.
pub fn virt_request(data: &[u8]) {
    assert_eq!(unquote(quote(data).as_bytes()), data);
    let request = Request::parse(data);
    assert_eq!(Request::parse(&[data, b"\r\n"].concat()), request);
    let quoted = |word: &std::ffi::OsString| quote(word.as_encoded_bytes());
    let line = match &request {
        Ok(Request::Copy(Copy { direction, source, destination, .. })) => {
            let name = if *direction == Direction::Down { "copydown" } else { "copyup" };
            format!("{name} {} {}", quoted(source), quoted(destination))
        }
        // A word of nothing cannot be written.
        Ok(Request::Shell { directory, environment }) if !directory.is_empty() => {
            let environment: Vec<_> = environment.iter().map(quoted).collect();
            format!("shell {} {}", quoted(directory), environment.join(" "))
        }
        Ok(_) => return,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert_eq!(Request::parse(line.as_bytes()), request, "{line}");
}
