//! Choice of the proxy for a download: from `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, and from settings
//! that a program adds.
//!
//! No standard defines these variables. Where programs differ, this follows curl, except that an upper-case
//! `HTTP_PROXY` counts too.

mod address;
mod exceptions;

use std::env;
use std::ffi::OsString;

pub use address::{BadProxy, Proxy, Reason};
pub use exceptions::NoProxy;

/// Protocol of a download URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `http:`.
    Http,
    /// `https:`.
    Https,
}

/// The proxies of a machine. An unusable proxy is reported only when a download needs it.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    http: Choice,
    https: Choice,
    except: NoProxy,
}

/// The proxy for one protocol.
#[derive(Debug, Clone, Default)]
struct Choice {
    general: Option<Setting>,
    /// Settings of single hosts, in lower case; `None` to connect directly.
    hosts: Vec<(String, Option<Setting>)>,
}

/// An address, and its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Setting {
    origin: String,
    proxy: Result<Proxy, BadProxy>,
}

impl Setting {
    fn new(origin: &str, address: &str) -> Self {
        Self { origin: origin.to_owned(), proxy: Proxy::parse(address).map_err(|bad| bad.of(origin)) }
    }
}

/// A proxy to use, and where it is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chosen<'a> {
    /// The proxy.
    pub proxy: &'a Proxy,
    /// Variable or setting that names it.
    pub origin: &'a str,
}

impl Proxies {
    /// No proxies.
    pub fn none() -> Self {
        Self::default()
    }

    /// The proxies named by environment variables; the lower-case variable takes precedence.
    pub fn from_environment() -> Self {
        Self::from_variables(|name| env::var_os(name))
    }

    /// As [`from_environment`](Self::from_environment), with other variables.
    pub fn from_variables(get: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| {
            let value = get(name).filter(|value| !value.is_empty())?;
            // A value that is not UTF-8 is not an address, but the variable must not be taken for unset.
            Some((name.to_owned(), value.to_string_lossy().into_owned()))
        };
        let first = |names: &[&str]| names.iter().find_map(|name| set(name));
        let choice = |names: &[&str]| Choice {
            general: first(names).map(|(name, value)| Setting::new(&name, &value)),
            hosts: Vec::new(),
        };
        Self {
            http: choice(&["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]),
            https: choice(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
            except: first(&["no_proxy", "NO_PROXY"]).map(|(_, value)| NoProxy::parse(&value)).unwrap_or_default(),
        }
    }

    /// Sets the proxy for one protocol; `origin` says where it was set.
    pub fn set(&mut self, scheme: Scheme, origin: &str, address: &str) {
        self.choice_mut(scheme).general = Some(Setting::new(origin, address));
    }

    /// Sets the proxy for one host; without an address it is contacted directly.
    pub fn set_for_host(&mut self, scheme: Scheme, host: &str, origin: &str, address: Option<&str>) {
        let setting = address.map(|address| Setting::new(origin, address));
        self.choice_mut(scheme).hosts.push((host.to_ascii_lowercase(), setting));
    }

    /// These proxies, with those of `other` for protocols that have none here.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let choice = |own: Choice, others: Choice| if own.general.is_some() { own } else { others };
        Self { http: choice(self.http, other.http), https: choice(self.https, other.https), except: self.except }
    }

    /// The proxy for a URL; `None` if the server is contacted directly, or for another protocol than http and https.
    ///
    /// # Errors
    /// If the configured proxy cannot be used.
    pub fn for_url(&self, url: &str) -> Result<Option<Chosen<'_>>, BadProxy> {
        let lower = url.get(..8).unwrap_or(url).to_ascii_lowercase();
        let scheme = match lower.as_str() {
            "https://" => Scheme::Https,
            other if other.starts_with("http://") => Scheme::Http,
            _ => return Ok(None),
        };
        let (host, port) = address::split_port(transfer::server_of(url));
        let default = match scheme {
            Scheme::Http => 80,
            Scheme::Https => 443,
        };
        self.choose(scheme, host, port.unwrap_or(default))
    }

    pub(crate) fn choose(&self, scheme: Scheme, host: &str, port: u16) -> Result<Option<Chosen<'_>>, BadProxy> {
        if self.except.matches(host, port) {
            return Ok(None);
        }
        let choice = match scheme {
            Scheme::Http => &self.http,
            Scheme::Https => &self.https,
        };
        let own = choice.hosts.iter().find(|(name, _)| name.eq_ignore_ascii_case(host));
        let setting = own.map_or(choice.general.as_ref(), |(_, setting)| setting.as_ref());
        match setting {
            None => Ok(None),
            Some(Setting { origin, proxy: Ok(proxy) }) => Ok(Some(Chosen { proxy, origin })),
            Some(Setting { proxy: Err(bad), .. }) => Err(bad.clone()),
        }
    }

    fn choice_mut(&mut self, scheme: Scheme) -> &mut Choice {
        match scheme {
            Scheme::Http => &mut self.http,
            Scheme::Https => &mut self.https,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::from_variables(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        })
    }

    fn chosen(proxies: &Proxies, url: &str) -> String {
        match proxies.for_url(url) {
            Ok(None) => "direct".to_owned(),
            Ok(Some(chosen)) => format!("{} of {}", chosen.proxy, chosen.origin),
            Err(bad) => bad.to_string(),
        }
    }

    #[test]
    fn each_protocol_has_its_variable_and_the_rest_is_for_both() {
        let some = proxies(&[("HTTP_PROXY", "upper:1"), ("http_proxy", "lower:1"), ("all_proxy", "https://all:2")]);
        assert_eq!(chosen(&some, "http://mirror.example/debian"), "http://lower:1 of http_proxy");
        assert_eq!(chosen(&some, "https://mirror.example/debian"), "https://all:2 of all_proxy");
        assert_eq!(chosen(&some, "HTTPS://mirror.example/debian"), "https://all:2 of all_proxy");
        assert_eq!(chosen(&some, "file:///srv/debian"), "direct");
        assert_eq!(chosen(&proxies(&[("http_proxy", "")]), "http://mirror.example/"), "direct");
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_told_where_it_is_needed_only() {
        let socks = proxies(&[("all_proxy", "socks5h://me:secret@127.0.0.1:1080"), ("no_proxy", ".lab")]);
        let told = chosen(&socks, "http://deb.example/");
        assert!(told.contains("all_proxy") && told.contains("SOCKS") && !told.contains("secret"), "{told}");
        assert_eq!(chosen(&socks, "http://deb.lab/"), "direct");
        assert_eq!(chosen(&socks, "file:///srv/debian"), "direct");
    }

    #[test]
    fn what_is_not_utf_8_is_not_an_unset_variable() {
        use std::os::unix::ffi::OsStringExt;
        let some =
            Proxies::from_variables(|name| (name == "http_proxy").then(|| OsString::from_vec(b"\xff:1".to_vec())));
        assert!(chosen(&some, "http://deb.example/").contains("http_proxy"));
    }

    #[test]
    fn apt_says_more_about_hosts_and_only_where_the_environment_is_silent() {
        let mut apt = Proxies::none();
        apt.set(Scheme::Http, "Acquire::http::Proxy", "http://apt:3142/");
        apt.set_for_host(Scheme::Http, "Deb.Lab", "Acquire::http::Proxy::Deb.Lab", None);
        let both = proxies(&[("no_proxy", "near.example")]).or(apt.clone());
        assert_eq!(chosen(&both, "http://deb.example/"), "http://apt:3142 of Acquire::http::Proxy");
        assert_eq!(chosen(&both, "http://deb.lab:8080/x"), "direct");
        assert_eq!(chosen(&both, "http://near.example/"), "direct");
        let own = proxies(&[("http_proxy", "http://own:1")]).or(apt);
        assert_eq!(chosen(&own, "http://deb.lab/"), "http://own:1 of http_proxy");
    }
}
