//! Proxy addresses.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use safetext::without_password;

/// An HTTP proxy. Neither `Display` nor `Debug` shows the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    tls: bool,
    /// With brackets around an IPv6 address.
    host: String,
    port: u16,
    login: Option<Login>,
}

#[derive(Clone, PartialEq, Eq)]
struct Login {
    name: String,
    password: String,
}

/// An unusable proxy setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin} is {value:?}: {reason}")]
pub struct BadProxy {
    /// Variable or setting.
    pub origin: String,
    /// Value, without a password.
    pub value: String,
    /// The cause.
    pub reason: Reason,
}

/// Reason why a proxy address cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// A SOCKS proxy.
    #[error("SOCKS proxies are not supported, only HTTP proxies")]
    Socks,
    /// Not an address.
    #[error("not the address of a proxy")]
    NotAnAddress,
}

impl Reason {
    /// What to do about it.
    pub(crate) fn help(self) -> &'static str {
        match self {
            Self::Socks => {
                "name an HTTP proxy in http_proxy and https_proxy, or the servers that can be reached without a proxy in \
                 no_proxy"
            }
            // Not as an example: what looks like a password is not shown.
            Self::NotAnAddress => {
                "write it as http://host:port, with a port up to 65535; a name and a password come before the host"
            }
        }
    }
}

impl BadProxy {
    pub(super) fn of(self, origin: &str) -> Self {
        Self { origin: origin.to_owned(), ..self }
    }
}

impl Proxy {
    /// Parses `http://name:password@host:port`; all but the host may be missing. Name and password are
    /// percent-encoded.
    ///
    /// # Errors
    /// The error's `origin` is empty.
    pub fn parse(address: &str) -> Result<Self, BadProxy> {
        let address = address.trim();
        parse(address).map_err(|reason| BadProxy { origin: String::new(), value: without_password(address), reason })
    }

    /// Whether the connection to the proxy itself uses TLS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Host name or address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Port number.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Name and password.
    pub fn login(&self) -> Option<(&str, &str)> {
        self.login.as_ref().map(|login| (login.name.as_str(), login.password.as_str()))
    }

    /// The same proxy with another host name.
    #[must_use]
    pub fn at(&self, host: &str) -> Self {
        Self { host: host.to_owned(), ..self.clone() }
    }

    /// Whether the proxy runs on this machine.
    pub fn is_local(&self) -> bool {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// The address with name and password: for configuration files, not for display.
    pub fn url_with_password(&self) -> String {
        use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
        let Self { host, port, .. } = self;
        let login = self.login().map(|(name, password)| {
            let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
            format!("{}:{}@", encode(name), encode(password))
        });
        format!("{}://{}{host}:{port}", self.scheme(), login.unwrap_or_default())
    }

    /// The value of `Proxy-Authorization` (RFC 7617).
    pub(crate) fn authorization(&self) -> Option<String> {
        let (name, password) = self.login()?;
        Some(format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{password}"))))
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme(), self.host, self.port)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Splits `host:port`, `host`, `[::1]:port` or `[::1]` into host and port, without brackets. A port that is not a
/// number counts as missing.
pub(super) fn split_port(authority: &str) -> (&str, Option<u16>) {
    if let Some((host, rest)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match authority.rsplit_once(':') {
        // An IPv6 address without brackets.
        Some((host, _)) if host.contains(':') => (authority, None),
        Some((host, port)) => (host, port.parse().ok()),
        None => (authority, None),
    }
}

fn parse(address: &str) -> Result<Proxy, Reason> {
    let (scheme, rest) = address.split_once("://").unwrap_or(("http", address));
    let tls = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" => true,
        "socks" | "socks4" | "socks4a" | "socks5" | "socks5h" => return Err(Reason::Socks),
        _ => return Err(Reason::NotAnAddress),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let (login, host_port) = match authority.rsplit_once('@') {
        Some((login, host_port)) => (Some(parse_login(login)?), host_port),
        None => (None, authority),
    };
    let (host, port) = parse_host(host_port).ok_or(Reason::NotAnAddress)?;
    let port = port.unwrap_or(if tls { 443 } else { 80 });
    Ok(Proxy { tls, host, port, login })
}

fn parse_login(text: &str) -> Result<Login, Reason> {
    let (name, password) = text.split_once(':').unwrap_or((text, ""));
    let decode = |text| percent_decode_str(text).decode_utf8().map(String::from).map_err(|_| Reason::NotAnAddress);
    Ok(Login { name: decode(name)?, password: decode(password)? })
}

fn parse_host(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        let port = if rest.is_empty() { "" } else { rest.strip_prefix(':')? };
        (format!("[{}]", address.parse::<Ipv6Addr>().ok()?), port)
    } else {
        let (host, port) = text.split_once(':').unwrap_or((text, ""));
        let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        (Some(host).filter(|host| !host.is_empty() && host.chars().all(is_host))?.to_owned(), port)
    };
    let port = match port {
        "" => None,
        port if port.bytes().all(|byte| byte.is_ascii_digit()) => Some(port.parse().ok().filter(|port| *port != 0)?),
        _ => return None,
    };
    Some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(address: &str) -> Result<(String, Option<(String, String)>), Reason> {
        let proxy = Proxy::parse(address).map_err(|bad| bad.reason)?;
        Ok((proxy.to_string(), proxy.login().map(|(name, password)| (name.to_owned(), password.to_owned()))))
    }

    #[test]
    fn addresses_as_people_write_them() {
        for (address, expected) in [
            ("http://proxy.lab:3128", "http://proxy.lab:3128"),
            ("http://proxy.lab:3128/", "http://proxy.lab:3128"),
            ("proxy.lab:3128", "http://proxy.lab:3128"),
            ("proxy", "http://proxy:80"),
            ("HTTPS://proxy.lab", "https://proxy.lab:443"),
            ("http://[2001:db8::1]:3128", "http://[2001:db8::1]:3128"),
            ("http://10.0.0.1:", "http://10.0.0.1:80"),
        ] {
            assert_eq!(parsed(address), Ok((expected.to_owned(), None)), "{address}");
        }
    }

    #[test]
    fn names_and_passwords_are_decoded_and_not_shown() {
        let address = "http://user:p%40ss%20word@proxy.lab:3128";
        let login = Some(("user".to_owned(), "p@ss word".to_owned()));
        assert_eq!(parsed(address), Ok(("http://proxy.lab:3128".to_owned(), login)));
        let proxy = Proxy::parse(address).unwrap();
        // `printf 'user:p@ss word' | base64`
        assert_eq!(proxy.authorization().as_deref(), Some("Basic dXNlcjpwQHNzIHdvcmQ="));
        assert_eq!(proxy.url_with_password(), address);
        assert!(!format!("{proxy:?}").contains("word"));
        // An `@` that should have been encoded.
        assert_eq!(parsed("u:p@ss@proxy:1").unwrap().1, Some(("u".to_owned(), "p@ss".to_owned())));
        let bad = Proxy::parse("http://user:p/ss@proxy.lab:3128").unwrap_err().of("http_proxy").to_string();
        assert!(bad.contains("http_proxy") && bad.contains("proxy.lab:3128") && !bad.contains("p/ss"), "{bad}");
    }

    #[test]
    fn a_proxy_of_this_machine_is_known_as_one() {
        let is_local = |address: &str| Proxy::parse(address).unwrap().is_local();
        assert!(is_local("localhost:1") && is_local("127.0.0.2:1") && is_local("http://[::1]:1"));
        assert!(!is_local("proxy.lab:1") && !is_local("10.0.0.1:1"));
        assert_eq!(
            Proxy::parse("u:p@localhost:1").unwrap().at("10.0.2.2").url_with_password(),
            "http://u:p@10.0.2.2:1"
        );
    }

    #[test]
    fn what_is_not_an_http_proxy_is_refused() {
        for socks in ["socks://h:1", "socks4://h:1", "socks4a://h:1", "socks5://h:1", "SOCKS5H://u:p@h:1"] {
            assert_eq!(parsed(socks), Err(Reason::Socks), "{socks}");
        }
        for bad in [
            "",
            "http://",
            "http://:3128",
            "nonsense://x y",
            "http://a b:1",
            "h:70000",
            "h:0",
            "h:x",
            "[::1",
            "[x]:1",
            "ü:1",
        ] {
            assert_eq!(parsed(bad), Err(Reason::NotAnAddress), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_is_read_again(text in "\\PC{0,40}", parts in "[a-z0-9.:@%/\\[\\]-]{0,30}") {
            for text in [text, format!("http://{parts}"), parts] {
                let _ = split_port(&text);
                if let Ok(proxy) = Proxy::parse(&text) {
                    prop_assert_eq!(&Proxy::parse(&proxy.url_with_password()).unwrap(), &proxy);
                }
            }
        }
    }
}
