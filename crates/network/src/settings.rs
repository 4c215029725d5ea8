//! [`NetworkSettings`]: how the machine's links are to be set up.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use crate::ip;

/// Settings for the machine's network. [`Default`] is DHCP on every wired link.
#[derive(Debug, Clone)]
pub struct NetworkSettings {
    /// One for each `ip=`. Without any, every wired link uses DHCP; with some, a link to which none applies stays
    /// down. If several name one link the first counts. Fixed settings for no particular link go to the first link
    /// that has a carrier.
    pub links: Vec<ip::IpParameter>,
    /// Virtual links to use in addition to the wired ones, by name. A link that an `ip=` names need not be listed.
    pub also: Vec<String>,
    /// The machine's host name. It takes precedence over the one of an `ip=`, that one over DHCP's, and that one over
    /// a name made of the first link's address.
    pub hostname: Option<String>,
    /// Whether to set the host name at all.
    pub set_hostname: bool,
    /// Name servers that take precedence over all others.
    pub dns: Vec<IpAddr>,
    /// Search domains that take precedence over all others.
    pub search: Vec<String>,
    /// The path of `resolv.conf`; `None` not to write it. A symbolic link there is replaced.
    pub resolv_conf: Option<PathBuf>,
    /// Addresses that links got from DHCP under the previous program, by link: they are requested again, which takes
    /// one exchange instead of two. A link keeps its address in the meantime.
    pub before: BTreeMap<String, Ipv4Addr>,
    /// The time without an answer from any DHCP server after which there is an
    /// [`NetworkEvent::NoAnswer`](crate::NetworkEvent::NoAnswer).
    pub silence: Duration,
}

impl Default for NetworkSettings {
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
