//! Finds a hub that is not configured, by its announcement on the network.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use advice::Advice;
use network::discovery::{Browse, Found, HUB, browse};

use super::tell;
use appliance::paths::ONLINE;
use appliance::report::Report;

/// How long to wait for a network, and for an answer on it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Looks for a hub. Returns the address of the first one that answers.
///
/// # Errors
/// If no hub answers.
pub fn hub(stop: &AtomicBool) -> Result<String, Advice> {
    let began = Instant::now();
    while !Path::new(ONLINE).exists() && began.elapsed() < PATIENCE && !stop.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(100));
    }
    let places = places(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default());
    let found = browse(HUB, &places, PATIENCE, &mut |found| !found.is_empty() || stop.load(Ordering::Relaxed));
    let failed = |what: String| {
        Advice::new(what, ["start `rocbed hub --announce` on this network", "set hub= in rocbed.toml on the stick"])
    };
    let found = found.map_err(|error| failed(format!("looking for a hub: {error}")))?;
    let first = found.first().ok_or_else(|| failed("no hub is set, and none answers on this network".into()))?;
    let address = address(first).ok_or_else(|| failed(format!("{:?} has no address", first.instance)))?;
    let text = format!("found the hub {:?} at {address}", first.instance);
    tell(&Report::Condition { of: "hub".into(), text, bad: false });
    Ok(address)
}

/// The name servers and the domain in a resolv.conf(5).
fn places(resolv_conf: &str) -> Browse {
    let words = |key: &str| {
        let lines = resolv_conf.lines().map(str::split_whitespace);
        lines
            .filter_map(|mut words| (words.next() == Some(key)).then(|| words.next()).flatten().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    let servers = words("nameserver").iter().filter_map(|word| word.parse::<IpAddr>().ok()).collect();
    Browse { servers, domain: words("search").into_iter().chain(words("domain")).next() }
}

/// The address of the hub's web server. With `tls=1` the certificate is for the host name, so the name is used,
/// unless it is one that only multicast DNS knows.
fn address(found: &Found) -> Option<String> {
    let ip = found.addresses.iter().find(|address| address.is_ipv4()).or(found.addresses.first())?;
    let tls = found.attributes.get("tls").is_some_and(|value| value == "1");
    let local = found.host.to_ascii_lowercase().ends_with(".local");
    let host = match ip {
        _ if tls && !local => found.host.clone(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    Some(format!("{}://{host}:{}", if tls { "https" } else { "http" }, found.port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn dhcp_says_where_to_ask() {
        let places = places("# comment\nsearch lab.example example\nnameserver 10.0.0.1\nnameserver x\n");
        assert_eq!((places.servers, places.domain.as_deref()), (vec![[10, 0, 0, 1].into()], Some("lab.example")));
        assert_eq!(super::places("").domain, None);
    }

    #[test]
    fn an_answer_becomes_an_address() {
        let found = |host: &str, addresses: &[&str], tls: &str| Found {
            instance: "hub".into(),
            host: host.into(),
            port: 8420,
            addresses: addresses.iter().filter_map(|text| text.parse().ok()).collect(),
            attributes: BTreeMap::from([("tls".to_owned(), tls.to_owned())]),
        };
        let of = |host, addresses, tls| address(&found(host, addresses, tls));
        assert_eq!(of("lab.local", &["fe80::1", "10.0.0.4"], "0").as_deref(), Some("http://10.0.0.4:8420"));
        assert_eq!(of("lab.local", &["10.0.0.4"], "1").as_deref(), Some("https://10.0.0.4:8420"));
        assert_eq!(of("hub.lab.example", &["10.0.0.4"], "1").as_deref(), Some("https://hub.lab.example:8420"));
        assert_eq!(of("x.local", &["2001:db8::1"], "0").as_deref(), Some("http://[2001:db8::1]:8420"));
        assert_eq!(of("x.local", &[], "0"), None);
    }
}
