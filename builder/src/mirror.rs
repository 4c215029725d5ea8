//! Which mirror to use when nobody said: the one that this machine's own apt uses for Debian.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Where Debian can be had from anywhere.
pub const PUBLIC_MIRROR: &str = "http://ftp.debian.org/debian";

/// The first Debian archive in the apt sources below `/etc/apt`, else [`PUBLIC_MIRROR`].
pub fn host_mirror() -> String {
    find_in(Path::new("/etc/apt")).unwrap_or_else(|| PUBLIC_MIRROR.to_owned())
}

/// Looks through `sources.list` and `sources.list.d` of an apt configuration directory (sources.list(5)). Files that
/// cannot be read are passed over: apt's configuration is a hint here, and a wrong one can be overridden.
fn find_in(apt: &Path) -> Option<String> {
    let mut files = vec![apt.join("sources.list")];
    let mut parts: Vec<PathBuf> = fs::read_dir(apt.join("sources.list.d"))
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
        .unwrap_or_default();
    parts.sort();
    files.extend(parts);
    files.iter().find_map(|path| {
        let text = fs::read_to_string(path).ok()?;
        let deb822 = path.extension().is_some_and(|end| end == "sources");
        addresses(&text, deb822).into_iter().find(|address| is_debian(address))
    })
}

/// The addresses of binary packages' sources in one file, in order.
fn addresses(text: &str, deb822: bool) -> Vec<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    if deb822 {
        return stanzas(text).iter().flat_map(stanza_addresses).collect();
    }
    lines
        .filter_map(|line| line.strip_prefix("deb "))
        .filter_map(|rest| {
            let rest = rest.trim_start();
            let after_options = if rest.starts_with('[') { rest.split_once(']')?.1 } else { rest };
            after_options.split_whitespace().next().map(str::to_owned)
        })
        .collect()
}

/// A stanza's fields, by their names in lower case; lines that go on belong to the value.
type Stanza = BTreeMap<String, String>;

/// The stanzas of a file in deb822 style (deb822(5)). What is not understood is passed over, as whole files are.
fn stanzas(text: &str) -> Vec<Stanza> {
    let (mut all, mut last) = (vec![Stanza::new()], None);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (Some(stanza), goes_on) = (all.last_mut(), line.starts_with([' ', '\t'])) else { break };
        if line.trim().is_empty() {
            all.push(Stanza::new());
            last = None;
        } else if goes_on {
            if let Some(value) = last.as_ref().and_then(|name| stanza.get_mut(name)) {
                value.extend([" ", line.trim()]);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            let name = name.to_ascii_lowercase();
            stanza.entry(name.clone()).or_insert_with(|| value.trim().to_owned());
            last = Some(name);
        }
    }
    all
}

/// The addresses of one stanza, unless it is switched off or for sources only.
fn stanza_addresses(stanza: &Stanza) -> Vec<String> {
    // All that apt takes for no.
    let is_off = |value: &String| {
        ["no", "false", "without", "off", "disable", "0"].iter().any(|no| value.eq_ignore_ascii_case(no))
    };
    let enabled = !stanza.get("enabled").is_some_and(is_off);
    let binary = stanza.get("types").is_none_or(|types| types.split_whitespace().any(|kind| kind == "deb"));
    let addresses = stanza.get("uris").filter(|_| enabled && binary);
    addresses.into_iter().flat_map(|addresses| addresses.split_whitespace()).map(str::to_owned).collect()
}

/// Whether an address is a mirror of the Debian archive itself, as far as its path tells: `…/debian`.
fn is_debian(address: &str) -> bool {
    let address = address.trim_end_matches('/');
    let fetchable = ["http://", "https://", "file:/"].iter().any(|scheme| address.starts_with(scheme));
    fetchable && address.rsplit('/').next() == Some("debian")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirror_of(files: &[(&str, &str)]) -> Option<String> {
        let apt = tempfile::tempdir().unwrap();
        fs::create_dir(apt.path().join("sources.list.d")).unwrap();
        for (name, text) in files {
            fs::write(apt.path().join(name), text).unwrap();
        }
        find_in(apt.path())
    }

    #[test]
    fn reads_one_line_sources_with_options() {
        let text = "# deb http://commented.example/debian sid main\ndeb [arch=amd64 signed-by=/k] http://mirror.example/debian sid main\n";
        assert_eq!(mirror_of(&[("sources.list", text)]).as_deref(), Some("http://mirror.example/debian"));
    }

    #[test]
    fn reads_deb822_sources_and_passes_over_other_archives() {
        let other = "Types: deb\nURIs: https://vendor.example/apt\nSuites: stable\n";
        let debian =
            "Types: deb\nURIs: http://mirror.example/debian-security http://mirror.example/debian/\nSuites: sid\n";
        let files = [("sources.list.d/a.sources", other), ("sources.list.d/b.sources", debian)];
        assert_eq!(mirror_of(&files).as_deref(), Some("http://mirror.example/debian/"));
    }

    #[test]
    fn stanzas_that_are_off_or_for_sources_do_not_count() {
        let text = "Types: deb-src\nURIs: http://a.example/debian\n\nEnabled: no\nTypes: deb\nURIs: http://b.example/debian\n\nTypes: deb deb-src\nURIs: http://c.example/debian\n";
        assert_eq!(mirror_of(&[("sources.list.d/x.sources", text)]).as_deref(), Some("http://c.example/debian"));
    }

    #[test]
    fn stanzas_are_read_as_apt_reads_them() {
        let text = "Types: deb\nURIs: http://off.example/debian\nenabled: False\n \nTypes: deb\nURIs:\n https://vendor.example/apt\n\
            # a mirror nearby\n\thttp://near.example/debian\nSuites: sid\n";
        assert_eq!(mirror_of(&[("sources.list.d/x.sources", text)]).as_deref(), Some("http://near.example/debian"));
    }

    #[test]
    fn nothing_found_is_nothing() {
        assert_eq!(mirror_of(&[]), None);
    }
}
