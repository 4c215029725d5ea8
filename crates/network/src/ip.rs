//! The kernel's `ip=` parameter (Linux, Documentation/admin-guide/nfs/nfsroot.rst).
//!
//! ```
//! use network::ip::{self, Method};
//! let parameter = ip::parse("192.0.2.7::192.0.2.1:255.255.255.0:gpu7:eth0:off:192.0.2.53")?;
//! assert!(matches!(parameter.method, Method::Static { prefix: 24, .. }));
//! assert_eq!(ip::parse("eth1:dhcp")?.device.unwrap().to_string(), "eth1");
//! # Ok::<(), ip::Problem>(())
//! ```

use std::fmt;
use std::net::Ipv4Addr;

use crate::configuration::Mac;
use crate::hostname;

/// One parsed `ip=` parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpParameter {
    /// The link that it applies to; `None` for every link without a parameter of its own.
    pub device: Option<Device>,
    /// How the link gets its address.
    pub method: Method,
    /// The machine's host name, as written: it may include a domain.
    pub hostname: Option<String>,
    /// Name servers, at most two. They take precedence over those of DHCP.
    pub dns: Vec<Ipv4Addr>,
    /// A time server.
    pub ntp: Option<Ipv4Addr>,
    /// The server from which the kernel would mount its root. Not used here.
    pub server: Option<Ipv4Addr>,
}

/// The link that an [`IpParameter`] applies to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// By the interface's name.
    Name(String),
    /// By its hardware address, written with hyphens because colons separate the fields: `52-54-00-12-34-56`. The
    /// kernel does not have this form; it helps where interface names change from boot to boot.
    Mac(Mac),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Mac(mac) => mac.fmt(f),
        }
    }
}

/// How a link gets its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// It gets none.
    Off,
    /// From a DHCP server.
    Dhcp {
        /// Client identifier (RFC 2132 section 9.14), its type first; `None` for the usual one, made of the link's
        /// address.
        client_id: Option<Vec<u8>>,
    },
    /// With fixed settings.
    Static {
        /// The link's address.
        address: Ipv4Addr,
        /// The subnet's prefix length.
        prefix: u8,
        /// The default gateway.
        gateway: Option<Ipv4Addr>,
    },
}

/// An error in an `ip=` parameter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ip={parameter}: {reason}")]
pub struct Problem {
    parameter: String,
    reason: String,
}

const FORM: &str = "the form is client:server:gateway:netmask:hostname:device:autoconf:dns0:dns1:ntp0, or dhcp, or \
                    off, or DEVICE:dhcp";

/// Parses the text after `ip=`.
///
/// In addition to the kernel's form: a prefix length in place of a netmask, `DEVICE:dhcp` and `DEVICE:off`, and a
/// device by its hardware address. `on` and `any` mean DHCP; BOOTP and RARP are not supported any more. A missing
/// netmask follows from the address's class, as in the kernel.
pub fn parse(text: &str) -> Result<IpParameter, Problem> {
    read(text).map_err(|reason| Problem { parameter: text.chars().take(200).collect(), reason })
}

fn read(text: &str) -> Result<IpParameter, String> {
    let mut parameter =
        IpParameter { device: None, method: Method::Off, hostname: None, dns: Vec::new(), ntp: None, server: None };
    if text.contains(['[', ']']) {
        return Err("IPv6 addresses can't be set here; the kernel takes them from router advertisements".to_owned());
    }
    let fields: Vec<&str> = text.split(':').map(str::trim).collect();
    match *fields.as_slice() {
        // A single word. The kernel takes a single address as well.
        [alone] if alone.parse::<Ipv4Addr>().is_err() => {
            parameter.method = autoconf(alone)?;
            return Ok(parameter);
        }
        [name, method] if !name.is_empty() && name.parse::<Ipv4Addr>().is_err() => {
            parameter.device = device(name)?;
            parameter.method = autoconf(method)?;
            return Ok(parameter);
        }
        _ => {}
    }
    if fields.len() > 10 {
        return Err(format!("{} fields are too many; {FORM}", fields.len()));
    }
    let field = |at: usize| fields.get(at).copied().unwrap_or_default();
    parameter.server = address("server", field(1))?;
    parameter.hostname = match field(4) {
        "" => None,
        name if hostname::is_valid(name) => Some(name.to_owned()),
        name => return Err(format!("{name:?} is not a host name: letters, digits, hyphens and dots, at most 64")),
    };
    parameter.device = device(field(5))?;
    for (name, at) in [("dns0", 7), ("dns1", 8)] {
        parameter.dns.extend(address(name, field(at))?);
    }
    parameter.ntp = address("ntp0", field(9))?;
    let gateway = address("gateway", field(2))?;
    let prefix = netmask(field(3))?;
    parameter.method = match (address("client", field(0))?, autoconf(field(6))?) {
        (None, method) => method,
        (Some(_), Method::Dhcp { .. }) if field(6).starts_with("dhcp") => {
            return Err("a client address and dhcp exclude each other; leave one of them away".to_owned());
        }
        (Some(address), _) => {
            if address.is_unspecified() || address.is_broadcast() || address.is_multicast() || address.is_loopback() {
                return Err(format!("client {address} can't be a machine's address"));
            }
            Method::Static { address, prefix: prefix.unwrap_or_else(|| class_prefix(address)), gateway }
        }
    };
    Ok(parameter)
}

fn address(name: &str, text: &str) -> Result<Option<Ipv4Addr>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| format!("{name} {text:?} is not an IPv4 address; {FORM}"))
}

fn autoconf(text: &str) -> Result<Method, String> {
    if let Some(("dhcp", id)) = text.split_once(',') {
        let client_id = id.split_once(',').and_then(|(kind, value)| {
            let kind: u8 = kind.parse().ok()?;
            let fits = !value.is_empty() && value.len() < 254;
            fits.then(|| [&[kind], value.as_bytes()].concat())
        });
        return match client_id {
            Some(id) => Ok(Method::Dhcp { client_id: Some(id) }),
            None => Err(format!("{text:?} is not dhcp,TYPE,CLIENT-ID with a type of 0 to 255")),
        };
    }
    match text {
        "" | "dhcp" | "on" | "any" => Ok(Method::Dhcp { client_id: None }),
        "off" | "none" => Ok(Method::Off),
        "bootp" | "rarp" | "both" => Err(format!("{text} is not supported; use dhcp")),
        "dhcp6" | "auto6" | "either6" | "link6" | "link-local" => {
            Err(format!("{text} is not needed: the kernel takes IPv6 addresses from router advertisements; use dhcp"))
        }
        _ => Err(format!("{text:?} is not dhcp, on, any, off or none; {FORM}")),
    }
}

fn device(text: &str) -> Result<Option<Device>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    if let Some(mac) = Mac::parse_hyphens(text) {
        return Ok(Some(Device::Mac(mac)));
    }
    // The kernel's own rule for names (dev_valid_name), and no control characters for a terminal.
    let valid = text.len() < 16
        && text != "."
        && text != ".."
        && text.chars().all(|c| !c.is_whitespace() && !c.is_control() && c != '/');
    if valid { Ok(Some(Device::Name(text.to_owned()))) } else { Err(format!("device {text:?} can't be a link's name")) }
}

fn netmask(text: &str) -> Result<Option<u8>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let prefix = match text.parse::<u8>() {
        Ok(length) => (length <= 32).then_some(length),
        Err(_) => text.parse().ok().and_then(prefix_of),
    };
    match prefix {
        Some(0) | None => {
            Err(format!("netmask {text:?} is neither a mask such as 255.255.255.0 nor a length from 1 to 32"))
        }
        prefix => Ok(prefix),
    }
}

/// The prefix length of a netmask; `None` if its bits are not contiguous.
pub(crate) fn prefix_of(mask: Ipv4Addr) -> Option<u8> {
    let bits = mask.to_bits();
    (bits.leading_ones() + bits.trailing_zeros() == 32).then_some(bits.leading_ones() as u8)
}

/// The prefix length that an address had before there were netmasks (RFC 791 section 3.2).
pub(crate) fn class_prefix(address: Ipv4Addr) -> u8 {
    match address.octets()[0] {
        0..128 => 8,
        128..192 => 16,
        _ => 24,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reason(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn words_alone() {
        for text in ["dhcp", "on", "any", ""] {
            assert_eq!(parse(text).unwrap().method, Method::Dhcp { client_id: None }, "{text}");
        }
        for text in ["off", "none"] {
            assert_eq!(parse(text).unwrap().method, Method::Off, "{text}");
        }
        let id = parse("dhcp,0,rack 7").unwrap().method;
        assert_eq!(id, Method::Dhcp { client_id: Some(b"\0rack 7".to_vec()) });
    }

    #[test]
    fn every_field() {
        let parameter =
            parse("192.0.2.7:192.0.2.2:192.0.2.1:255.255.254.0:gpu7:enp4s0:off:192.0.2.53:192.0.2.54:192.0.2.9");
        let expected = IpParameter {
            device: Some(Device::Name("enp4s0".to_owned())),
            method: Method::Static {
                address: Ipv4Addr::new(192, 0, 2, 7),
                prefix: 23,
                gateway: Some(Ipv4Addr::new(192, 0, 2, 1)),
            },
            hostname: Some("gpu7".to_owned()),
            dns: vec![Ipv4Addr::new(192, 0, 2, 53), Ipv4Addr::new(192, 0, 2, 54)],
            ntp: Some(Ipv4Addr::new(192, 0, 2, 9)),
            server: Some(Ipv4Addr::new(192, 0, 2, 2)),
        };
        assert_eq!(parameter, Ok(expected));
    }

    #[test]
    fn fields_left_out() {
        let parameter = parse("::::gpu7:eth0:dhcp").unwrap();
        assert_eq!((parameter.hostname.as_deref(), parameter.method), (Some("gpu7"), Method::Dhcp { client_id: None }));
        // No autoconf means any, and any means static where there is an address.
        let Method::Static { prefix, gateway, .. } = parse("10.1.2.3").unwrap().method else { panic!("not static") };
        assert_eq!((prefix, gateway), (8, None));
        let Method::Static { prefix, .. } = parse("10.1.2.3:::24").unwrap().method else { panic!("not static") };
        assert_eq!(prefix, 24);
    }

    #[test]
    fn a_device_and_its_method() {
        let parameter = parse("eth1:dhcp").unwrap();
        assert_eq!(parameter.device, Some(Device::Name("eth1".to_owned())));
        assert_eq!(parse("eth1:off").unwrap().method, Method::Off);
        let Some(Device::Mac(mac)) = parse("52-54-00-12-34-56:dhcp").unwrap().device else { panic!("no address") };
        assert_eq!(mac.to_string(), "52:54:00:12:34:56");
    }

    #[test]
    fn problems_say_what_to_do() {
        assert!(reason("dhpc").contains("\"dhpc\" is not dhcp"));
        assert!(reason("bootp").ends_with("bootp is not supported; use dhcp"));
        assert!(reason("192.0.2.7:::255.0.255.0").contains("netmask"));
        assert!(reason("192.0.2.7:::0").contains("netmask"));
        assert!(reason("192.0.2.7::192.0.2.999").contains("gateway"));
        assert!(reason("192.0.2.7::::::dhcp").contains("exclude each other"));
        assert!(reason("1:2:3:4:5:6:7:8:9:10:11").contains("too many"));
        assert!(reason("[2001:db8::1]::::eth0:off").contains("IPv6"));
        assert!(reason("0.0.0.0:::24").contains("can't be a machine's address"));
        assert!(reason("::::a_b").contains("host name"));
        assert!(reason("eth0/../x:dhcp").contains("can't be a link's name"));
    }

    #[test]
    fn masks() {
        assert_eq!(prefix_of(Ipv4Addr::BROADCAST), Some(32));
        assert_eq!(prefix_of(Ipv4Addr::new(255, 255, 128, 0)), Some(17));
        assert_eq!(prefix_of(Ipv4Addr::UNSPECIFIED), Some(0));
        assert_eq!(prefix_of(Ipv4Addr::new(255, 0, 255, 0)), None);
    }

    proptest! {
        #[test]
        fn any_fields_are_read_or_refused(fields in prop::collection::vec("[0-9.]{0,12}|off|dhcp|eth0|[a-z]{3}", 0..12)) {
            let _ = parse(&fields.join(":"));
        }

        #[test]
        fn static_settings_come_back(address in 0x0100_0000_u32..0x7f00_0000, prefix in 1_u8..=32, gateway: u32) {
            let (address, gateway) = (Ipv4Addr::from(address), Ipv4Addr::from(gateway));
            let mask = Ipv4Addr::from(u32::MAX << (32 - prefix));
            let expected = Method::Static { address, prefix, gateway: Some(gateway) };
            prop_assert_eq!(parse(&format!("{address}::{gateway}:{mask}::eth0:none")).unwrap().method, expected.clone());
            prop_assert_eq!(parse(&format!("{address}::{gateway}:{prefix}::eth0:off")).unwrap().method, expected);
        }
    }
}
