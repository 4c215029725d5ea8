//! What the caller wants.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use crate::ip;

/// How the machine's network is to be. [`Default`] is DHCP on every wired link.
#[derive(Debug, Clone)]
pub struct Settings {
    /// One for each `ip=`. With none, every wired link asks DHCP; with some, a link that none of them is for stays down.
    /// Of several for one link the first counts. Fixed settings for no link in particular go to the first that has a
    /// carrier.
    pub links: Vec<ip::Word>,
    /// Virtual links to use besides the wired ones, by name. A link that an `ip=` names needs no mention.
    pub also: Vec<String>,
    /// The machine's name. It beats the one of an `ip=`, that beats DHCP's, and that beats one made of the first link's
    /// address.
    pub hostname: Option<String>,
    /// Whether to set the machine's name at all.
    pub set_hostname: bool,
    /// Name servers that come before all others.
    pub dns: Vec<IpAddr>,
    /// Domains to search that come before all others.
    pub search: Vec<String>,
    /// Where name servers are written to; `None` for nowhere. A symbolic link there is replaced.
    pub resolv_conf: Option<PathBuf>,
    /// Addresses that links got from DHCP under the program that ran before, by link: they are asked for again, which takes
    /// one exchange instead of two. A link keeps its address meanwhile.
    pub before: BTreeMap<String, Ipv4Addr>,
    /// After how long without an answer from any DHCP server there is an [`Event::NoAnswer`](crate::Event::NoAnswer).
    pub silence: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            links: Vec::new(),
            also: Vec::new(),
            hostname: None,
            set_hostname: true,
            dns: Vec::new(),
            search: Vec::new(),
            resolv_conf: Some(PathBuf::from("/etc/resolv.conf")),
            before: BTreeMap::new(),
            silence: Duration::from_secs(10),
        }
    }
}
