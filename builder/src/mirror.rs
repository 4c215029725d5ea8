//! Which mirror to use when nobody said: the one that this machine's own apt uses for Debian.

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
        return text.split("\n\n").flat_map(stanza_addresses).collect();
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

/// The addresses of one stanza in deb822 style, unless it is switched off or for sources only.
fn stanza_addresses(stanza: &str) -> Vec<String> {
    let field = |name: &str| {
        let lines = stanza.lines().filter(|line| !line.starts_with('#'));
        let mut values =
            lines.filter_map(|line| line.split_once(':')).filter(|(key, _)| key.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value.trim())
    };
    let enabled = field("Enabled").is_none_or(|value| value != "no");
    let binary = field("Types").is_none_or(|types| types.split_whitespace().any(|kind| kind == "deb"));
    let addresses = field("URIs").filter(|_| enabled && binary).unwrap_or_default();
    addresses.split_whitespace().map(str::to_owned).collect()
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
    fn nothing_found_is_nothing() {
        assert_eq!(mirror_of(&[]), None);
    }
}
