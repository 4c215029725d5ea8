//! The head of a request to an HTTP proxy (RFC 9112, 3.2; RFC 9110, 7.6.1 and 9.3.6).

use super::hosts::split;

/// Most bytes of a head.
pub(super) const LONGEST: usize = 16 << 10;
/// Headers that are about the connection to the proxy, and the one that the proxy itself writes.
const OWN: [&str; 7] =
    ["connection", "proxy-connection", "keep-alive", "proxy-authorization", "proxy-authenticate", "upgrade", "host"];

/// What is asked of a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// Name or address of the host, in lower case.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The head for the host; `None` for a tunnel (`CONNECT`).
    pub(crate) head: Option<Vec<u8>>,
}

/// Length of the head at the beginning of these bytes, with the empty line that ends it, once that is there.
pub(crate) fn length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

impl Request {
    /// Reads a head; `None` if it is not one that a proxy can answer.
    ///
    /// The host is asked for one answer, and then closes the connection: a second request on it could be for another
    /// host.
    pub(crate) fn parse(head: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(head).ok()?;
        let mut lines = text.strip_suffix("\r\n\r\n")?.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, target, version, end) = (words.next()?, words.next()?, words.next()?, words.next());
        if end.is_some()
            || !matches!(version, "HTTP/1.0" | "HTTP/1.1")
            || !method.bytes().all(|byte| byte.is_ascii_uppercase())
        {
            return None;
        }
        if method == "CONNECT" {
            let (host, port) = split(target)?;
            return Some(Self { host, port: port?, head: None });
        }
        let rest = target.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://")).and(target.get(7..))?;
        let (authority, path) = rest.find(['/', '?']).map_or((rest, "/"), |at| rest.split_at(at));
        let slash = if path.starts_with('?') { "/" } else { "" };
        let (host, port) = split(authority)?;
        if path.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return None;
        }
        let mut head = format!("{method} {slash}{path} {version}\r\nHost: {authority}\r\n");
        for line in lines {
            let (name, value) = line.split_once(':')?;
            let is_name =
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
            if !is_name || value.chars().any(|char| char.is_control() && char != '\t') {
                return None;
            }
            if !OWN.contains(&name.to_ascii_lowercase().as_str()) {
                head.extend([line, "\r\n"]);
            }
        }
        head.push_str("Connection: close\r\n\r\n");
        Some(Self { host, port: port.unwrap_or(80), head: Some(head.into_bytes()) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(head: &str) -> Option<Request> {
        Request::parse(head.replace('\n', "\r\n").as_bytes())
    }

    #[test]
    fn a_request_goes_on_to_its_host_without_what_is_the_proxys() {
        let request = parse(
            "GET http://Ftp.Debian.org/debian/dists?x HTTP/1.1\nHost: elsewhere\nProxy-Connection: keep-alive\nRange: bytes=1-\n\n",
        );
        let request = request.unwrap();
        assert_eq!((request.host.as_str(), request.port), ("ftp.debian.org", 80));
        let head = String::from_utf8(request.head.unwrap()).unwrap();
        let expected = "GET /debian/dists?x HTTP/1.1\nHost: Ftp.Debian.org\nRange: bytes=1-\nConnection: close\n\n";
        assert_eq!(head, expected.replace('\n', "\r\n"));
        let tunnel = parse("CONNECT ftp.debian.org:443 HTTP/1.1\nHost: x\n\n").unwrap();
        assert_eq!(tunnel, Request { host: "ftp.debian.org".into(), port: 443, head: None });
        assert!(parse("GET http://a:8080?q HTTP/1.0\n\n").unwrap().head.unwrap().starts_with(b"GET /?q HTTP/1.0"));
    }

    #[test]
    fn what_could_mean_two_things_is_refused() {
        for head in [
            "",
            "\n\n",
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET ftp://a/ HTTP/1.1\n\n",
            "GET http://user@a/ HTTP/1.1\n\n",
            "GET http://a/ HTTP/2\n\n",
            "GET http://a/ x HTTP/1.1\n\n",
            "GET http://a/\u{7f} HTTP/1.1\n\n",
            "get http://a/ HTTP/1.1\n\n",
            "GET http://a/ HTTP/1.1\nno colon\n\n",
            "GET http://a/ HTTP/1.1\n folded: x\n\n",
            "GET http://a/ HTTP/1.1\nA: b\rHost: c\n\n",
            "CONNECT a HTTP/1.1\n\n",
            "CONNECT a:0 HTTP/1.1\n\n",
        ] {
            assert_eq!(parse(head), None, "{head:?}");
        }
    }

    #[test]
    fn a_head_ends_with_an_empty_line() {
        assert_eq!(length(b"GET x\r\n\r\nbody"), Some(9));
        assert_eq!(length(b"GET x\r\n\r"), None);
    }

    proptest! {
        #[test]
        fn what_goes_on_is_one_head_for_one_host(text in "(GET|CONNECT|POST) (http://)?[a-z:.@/\\[\\]?]{0,20} HTTP/1.[01]\r\n([A-Za-z:]{0,6}[ -~\r\n]{0,12}\r\n){0,3}\r\n") {
            if let Some(Request { head: Some(head), host, .. }) = Request::parse(text.as_bytes()) {
                prop_assert_eq!(length(&head), Some(head.len()));
                prop_assert!(!host.is_empty());
                let text = String::from_utf8(head).unwrap();
                prop_assert_eq!(text.matches("\r\nHost: ").count(), 1);
                prop_assert!(text.ends_with("\r\nConnection: close\r\n\r\n"));
            }
        }
    }
}
