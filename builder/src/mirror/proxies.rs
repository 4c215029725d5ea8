//! The proxies to download through: from the environment, else those that this machine's own apt uses.

use std::process::{Command, Stdio};

use store::fetch::proxy::{BadProxy, Proxies, Scheme};

/// The proxies of this machine.
#[derive(Debug, Clone)]
pub struct Found {
    /// Proxies by protocol.
    pub proxies: Proxies,
    /// Program that apt would ask for a proxy if no other setting names one. It is not run.
    pub auto_detect: Option<String>,
}

/// The proxies named by the environment; for a protocol without one, those of apt's configuration
/// (apt-transport-http(1)).
pub fn proxies() -> Found {
    let environment = Proxies::from_environment();
    let text = apt_configuration();
    let (apt, auto_detect) = parse(&text);
    let proxies = environment.or(apt);
    let is_named = !matches!(proxies.for_url("http://deb.debian.org/"), Ok(None));
    Found { proxies, auto_detect: auto_detect.filter(|_| !is_named) }
}

/// apt configuration (apt.conf(5)) with the proxies for these sources; empty if there are none.
///
/// # Errors
/// If a configured proxy cannot be used.
pub fn configuration_for<'a>(proxies: &Proxies, uris: impl Iterator<Item = &'a str>) -> Result<String, BadProxy> {
    let mut lines = std::collections::BTreeSet::new();
    for uri in uris {
        let Some((scheme, _)) = uri.split_once("://").filter(|(scheme, _)| ["http", "https"].contains(scheme)) else {
            continue;
        };
        let host = transfer::server_of(uri).split(':').next().unwrap_or_default();
        // For each host separately: apt's exceptions do not support networks and ports.
        if let Some(chosen) = proxies.for_url(uri)? {
            let address = chosen.proxy.url_with_password();
            lines.insert(format!("Acquire::{scheme}::Proxy::{host} \"{address}\";\n"));
        }
    }
    Ok(lines.into_iter().collect())
}

/// apt's settings in `Acquire::http` and `Acquire::https`, one per line; empty where there is no apt.
fn apt_configuration() -> String {
    let mut command = Command::new("apt-config");
    command.args(["dump", "--format", "%f=%v%n", "Acquire::http", "Acquire::https"]);
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

/// Reads `Acquire::http::Proxy=http://host:port` and the like.
fn parse(text: &str) -> (Proxies, Option<String>) {
    let mut proxies = Proxies::none();
    let settings: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once('=')).collect();
    let find = |wanted: &str| {
        let found = settings.iter().find(|(name, value)| name.eq_ignore_ascii_case(wanted) && !value.is_empty());
        found.map(|(_, value)| *value)
    };
    // Settings for http apply to https too, if that has none of its own.
    for (scheme, trees) in [(Scheme::Http, &["http"][..]), (Scheme::Https, &["https", "http"])] {
        let names = trees.iter().map(|tree| format!("Acquire::{tree}::Proxy"));
        let general = names.clone().find_map(|name| find(&name).map(|value| (name, value)));
        if let Some((name, value)) = general.filter(|(_, value)| !value.eq_ignore_ascii_case("DIRECT")) {
            proxies.set(scheme, &format!("{name} of apt's configuration"), value);
        }
        for name in names {
            let below = format!("{name}::").to_ascii_lowercase();
            for (name, value) in settings.iter().filter(|(_, value)| !value.is_empty()) {
                if name.to_ascii_lowercase().starts_with(&below) {
                    let host = name.get(below.len()..).unwrap_or_default();
                    let address = Some(*value).filter(|value| !value.eq_ignore_ascii_case("DIRECT"));
                    proxies.set_for_host(scheme, host, &format!("{name} of apt's configuration"), address);
                }
            }
        }
    }
    let auto_detect =
        ["Proxy-Auto-Detect", "ProxyAutoDetect"].iter().find_map(|name| find(&format!("Acquire::http::{name}")));
    (proxies, auto_detect.map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxies_of_apts_configuration() {
        let text = "Acquire::http=\nAcquire::http::Proxy=http://proxy.lab:3128/\nAcquire::http::proxy::deb.lab=DIRECT\n\
            Acquire::http::Proxy::far.example=http://other.lab:1\nAcquire::http::Dl-Limit=7\n";
        let (proxies, auto_detect) = parse(text);
        let chosen =
            |url: &str| proxies.for_url(url).unwrap().map(|chosen| format!("{} {}", chosen.proxy, chosen.origin));
        let general = "http://proxy.lab:3128 Acquire::http::Proxy of apt's configuration";
        assert_eq!(chosen("http://deb.example/").as_deref(), Some(general));
        assert_eq!(chosen("https://deb.example/").as_deref(), Some(general));
        assert_eq!(chosen("http://deb.lab/"), None);
        assert!(chosen("https://far.example/").is_some_and(|text| text.starts_with("http://other.lab:1 ")));
        assert_eq!(auto_detect, None);
    }

    #[test]
    fn another_apt_is_told_of_the_proxy_for_each_host() {
        let (proxies, _) =
            parse("Acquire::http::Proxy=http://me:p%40ss@proxy.lab:3128\nAcquire::http::Proxy::deb.lab=DIRECT\n");
        let uris = ["http://deb.example/debian", "http://deb.lab/debian", "https://x.example:8443/y", "file:///srv"];
        let text = configuration_for(&proxies, uris.into_iter()).unwrap();
        let expected = "Acquire::http::Proxy::deb.example \"http://me:p%40ss@proxy.lab:3128\";\n\
            Acquire::https::Proxy::x.example \"http://me:p%40ss@proxy.lab:3128\";\n";
        assert_eq!(text, expected);
        assert_eq!(configuration_for(&Proxies::none(), uris.into_iter()).as_deref(), Ok(""));
    }

    #[test]
    fn direct_is_no_proxy_and_a_program_is_named() {
        let (proxies, auto_detect) =
            parse("Acquire::http::Proxy=DIRECT\nAcquire::http::Proxy-Auto-Detect=/usr/bin/find-proxy\n");
        assert_eq!(proxies.for_url("http://deb.example/"), Ok(None));
        assert_eq!(auto_detect.as_deref(), Some("/usr/bin/find-proxy"));
        assert_eq!(parse("").0.for_url("http://deb.example/"), Ok(None));
    }
}
