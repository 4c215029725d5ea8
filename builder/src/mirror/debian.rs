//! Recognises mirrors of Debian's main archive among apt's sources.
//!
//! A mirror has all suites, so the one that provides a machine's own suite can provide another. Many other archives
//! publish packages for Debian, with addresses that end in `/debian`, with the names of Debian's suites, and with a
//! component `main`; and security updates and backports have addresses of their own.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::sources::AptSource;

/// Debian's suites and release code names that mirrors have: no updates, backports, security or debug symbols.
const SUITES: [&str; 14] = [
    "sid",
    "unstable",
    "testing",
    "stable",
    "oldstable",
    "oldoldstable",
    "duke",
    "forky",
    "trixie",
    "bookworm",
    "bullseye",
    "buster",
    "experimental",
    "rc-buggy",
];

/// Archives of Debian other than the main one, by the last part of their address.
const OTHERS: [&str; 5] = ["debian-security", "debian-backports", "debian-ports", "debian-debug", "debian-archive"];

/// Strength of the evidence, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evidence {
    /// The address and the suite look like Debian's.
    Address,
    /// The source is limited to Debian's keyring.
    Keyring,
    /// The Release file that apt has fetched names Debian.
    Release,
}

/// Evidence that a source is a mirror of Debian's main archive, as far as this machine can tell; `lists` is the
/// directory of apt's fetched lists.
pub fn evidence(source: &AptSource, lists: &Path) -> Option<Evidence> {
    let suites = source.suites.iter().filter(|suite| SUITES.contains(&suite.as_str()));
    let suites: Vec<&String> = suites.collect();
    if suites.is_empty() || !source.components.iter().any(|component| component == "main") {
        return None;
    }
    // A Release file that apt has fetched is better than any guess.
    if let Some(origin) = suites.iter().find_map(|suite| origin_and_label(lists, &source.uri, suite)) {
        return (origin == ("Debian".into(), "Debian".into())).then_some(Evidence::Release);
    }
    let last = source.uri.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    if OTHERS.contains(&last) {
        return None;
    }
    match &source.signed_by {
        Some(keys) if keys.contains("debian-archive-") => return Some(Evidence::Keyring),
        Some(_) => return None,
        None => {}
    }
    last.starts_with("debian").then_some(Evidence::Address)
}

/// `Origin` and `Label` of a Release file that apt has fetched.
fn origin_and_label(lists: &Path, uri: &str, suite: &str) -> Option<(String, String)> {
    let begin = file_name(&format!("{}/dists/{suite}/", uri.trim_end_matches('/')));
    let file =
        ["InRelease", "Release"].iter().find_map(|name| File::open(lists.join(format!("{begin}{name}"))).ok())?;
    let mut head = Vec::new();
    file.take(4096).read_to_end(&mut head).ok()?;
    let head = String::from_utf8_lossy(&head);
    let field = |name: &str| {
        let value = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.unwrap_or_default().trim().to_owned()
    };
    Some((field("Origin"), field("Label")))
}

/// Name of the file in which apt stores what it fetched from an address.
fn file_name(uri: &str) -> String {
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let quoted = |byte: u8| b"\\|{}[]<>\"^~_=!@#$%&*".contains(&byte) || !byte.is_ascii_graphic();
    [host, path].concat().bytes().fold(String::new(), |mut name, byte| {
        match byte {
            b'/' => name.push('_'),
            byte if quoted(byte) => name.push_str(&format!("%{byte:02x}")),
            byte => name.push(char::from(byte)),
        }
        name
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror::sources::parse;
    use std::fs;

    fn is_debian(line: &str) -> Option<Evidence> {
        let nowhere = Path::new("/nowhere");
        evidence(&parse(line, Path::new("s.list"))[0], nowhere)
    }

    #[test]
    fn mirrors_of_debian() {
        for line in [
            "deb http://deb.debian.org/debian sid main",
            "deb https://mirror.example/pub/linux/debian/ trixie main contrib non-free-firmware",
            "deb http://cache.lab:3142/ftp.debian.org/debian bookworm main",
            "deb https://nexus.lab/repository/debian-proxy testing main",
        ] {
            assert_eq!(is_debian(line), Some(Evidence::Address), "{line}");
        }
        let keyring = "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://nexus.lab/sid sid main";
        assert_eq!(is_debian(keyring), Some(Evidence::Keyring));
    }

    #[test]
    fn what_others_publish_for_debian() {
        for line in [
            "deb https://download.virtualbox.org/virtualbox/debian noble contrib",
            "deb https://download.virtualbox.org/virtualbox/debian trixie contrib",
            "deb https://download.docker.com/linux/debian trixie stable",
            "deb [signed-by=/usr/share/keyrings/tailscale-archive-keyring.gpg] https://pkgs.tailscale.com/stable/debian trixie main",
            "deb http://archive.ubuntu.com/ubuntu noble main",
            "deb http://dl.google.com/linux/chrome/deb/ stable main",
            "deb http://security.debian.org/debian-security trixie-security main",
            "deb http://security.debian.org/debian-security trixie main",
            "deb http://deb.debian.org/debian trixie-backports main",
            "deb http://deb.debian.org/debian trixie-updates main",
            "deb http://deb.debian.org/debian-debug sid main",
            "deb https://pkg.jenkins.io/debian binary/",
            "deb http://deb.debian.org/debian sid contrib",
        ] {
            assert_eq!(is_debian(line), None, "{line}");
        }
    }

    #[test]
    fn what_apt_has_fetched_decides() {
        let lists = tempfile::tempdir().unwrap();
        let write = |name: &str, origin: &str, label: &str| {
            let text = format!("-----BEGIN PGP SIGNED MESSAGE-----\n\nOrigin: {origin}\nLabel: {label}\nSuite: x\n");
            fs::write(lists.path().join(name), text).unwrap();
        };
        write("neuro.example_debian_dists_trixie_InRelease", "NeuroDebian", "NeuroDebian");
        write("apt.lab_a%5fb_dists_sid_Release", "Debian", "Debian");
        write("security.lab_debian_dists_trixie_InRelease", "Debian", "Debian-Security");
        let found = |line: &str| evidence(&parse(line, Path::new("s.list"))[0], lists.path());
        assert_eq!(found("deb http://neuro.example/debian trixie main"), None);
        assert_eq!(found("deb http://me:secret@apt.lab/a_b sid main"), Some(Evidence::Release));
        assert_eq!(found("deb http://security.lab/debian trixie main"), None);
        assert_eq!(found("deb http://other.lab/debian trixie main"), Some(Evidence::Address));
    }
}
