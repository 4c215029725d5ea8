//! [`AllowedHosts`]: what testbeds with a proxy may reach.

use crate::Error;

/// Ports of a host that is named without one: HTTP and HTTPS.
const PORTS: [u16; 2] = [80, 443];
/// Longest name of a host (RFC 1035, 2.3.4).
const LONGEST: usize = 253;

/// Hosts, by their names or addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedHosts(Vec<AllowedHost>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct AllowedHost {
    name: String,
    port: Option<u16>,
}

impl AllowedHosts {
    /// Adds one: `ftp.debian.org`, `10.1.2.3:8080`, `[fd00::1]:80`.
    pub(crate) fn add(&mut self, text: &str) -> Result<(), Error> {
        let wrong = || Error::Usage(format!("{text} is not a host; write one as ftp.debian.org or mirror.lab:8080"));
        let (name, port) = split(text).ok_or_else(wrong)?;
        self.0.push(AllowedHost { name, port });
        Ok(())
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this port of a host may be reached.
    pub(crate) fn permit(&self, name: &str, port: u16) -> bool {
        self.0.iter().any(|host| {
            let fits = |only: u16| only == port;
            host.name == name && host.port.map_or_else(|| PORTS.contains(&port), fits)
        })
    }
}

impl std::fmt::Display for AllowedHosts {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.0.iter().map(|host| host.name.as_str()).collect();
        out.write_str(&names.join(", "))
    }
}

/// Splits `HOST:PORT` or `HOST`; the name is in lower case, and an IPv6 address without its brackets.
pub(super) fn split(text: &str) -> Option<(String, Option<u16>)> {
    let (name, rest) = match text.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?,
        None => text.find(':').map_or((text, ""), |at| text.split_at(at)),
    };
    let port = match rest.strip_prefix(':') {
        Some(port) => Some(port.parse().ok().filter(|port| *port > 0)?),
        None if rest.is_empty() => None,
        None => return None,
    };
    let is_address = text.starts_with('[');
    let fits =
        |byte: u8| byte.is_ascii_alphanumeric() || if is_address { byte == b':' } else { b"-._".contains(&byte) };
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_name = (1..=LONGEST).contains(&name.len()) && name.bytes().all(fits);
    (is_name && (!is_address || name.parse::<std::net::Ipv6Addr>().is_ok())).then(|| (name.to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(names: &[&str]) -> AllowedHosts {
        let mut hosts = AllowedHosts::default();
        for name in names {
            hosts.add(name).unwrap();
        }
        hosts
    }

    #[test]
    fn only_what_is_listed_may_be_reached() {
        let hosts = hosts(&["ftp.debian.org", "Mirror.Lab:8080", "[fd00::1]", "10.1.2.3"]);
        for (name, port, may) in [
            ("ftp.debian.org", 80, true),
            ("ftp.debian.org", 443, true),
            ("ftp.debian.org", 22, false),
            ("mirror.lab", 8080, true),
            ("mirror.lab", 80, false),
            ("fd00::1", 443, true),
            ("10.1.2.3", 80, true),
            ("10.1.2.4", 80, false),
            ("debian.org", 80, false),
            ("x.ftp.debian.org", 80, false),
        ] {
            assert_eq!(hosts.permit(name, port), may, "{name}:{port}");
        }
        assert_eq!(hosts.to_string(), "ftp.debian.org, mirror.lab, fd00::1, 10.1.2.3");
    }

    #[test]
    fn what_is_not_a_host_is_refused() {
        for text in ["", "a b", "http://a", "a:0", "a:99999", "a:", "[::1", "[x]", "a@b", "a/b", &"x".repeat(254)] {
            assert!(AllowedHosts::default().add(text).is_err(), "{text}");
        }
        assert_eq!(split("ftp.debian.org.:80"), Some(("ftp.debian.org".into(), Some(80))));
    }
}
