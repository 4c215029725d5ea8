//! The mirror that packages come from, and its origin: the command line, the recipe, or this machine's own apt.

mod debian;
mod proxies;
mod sources;

use std::cmp::Reverse;
use std::fmt;
use std::fs;
use std::path::Path;

pub use proxies::{Found, configuration_for, proxies};
pub use sources::SourceLocation;

use debian::evidence;

/// Debian's mirror for use from anywhere.
pub const PUBLIC_MIRROR: &str = "http://ftp.debian.org/debian";

/// A mirror, and the origin of its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Base address, without a slash at the end.
    pub url: String,
    /// Origin of the address.
    pub origin: Origin,
}

/// Origin of a mirror's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The option `--mirror`.
    Option,
    /// The environment variable `ROCBED_MIRROR`.
    Environment,
    /// `archive.mirror` of the recipe.
    Recipe,
    /// `mirror` of an extra archive of the recipe, by its name.
    ExtraArchive(String),
    /// A line of apt's sources.
    Apt(SourceLocation),
    /// The default, [`PUBLIC_MIRROR`].
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option => f.write_str("from --mirror"),
            Self::Environment => f.write_str("from ROCBED_MIRROR"),
            Self::Recipe => f.write_str("from the recipe's archive.mirror"),
            Self::ExtraArchive(name) => write!(f, "from the recipe's extra archive {name}"),
            Self::Apt(location) => write!(f, "from {location}"),
            Self::Default => f.write_str("the default, as apt has no mirror of Debian here"),
        }
    }
}

impl fmt::Display for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", safetext::without_password(&self.url), self.origin)
    }
}

impl Mirror {
    /// A mirror named by `origin`. `file:/path`, `copy:/path` and `mirror+file:/path` are understood as apt does.
    pub fn new(url: &str, origin: Origin) -> Self {
        let url = usable(url).unwrap_or_else(|| url.trim().to_owned());
        Self { url: url.trim_end_matches('/').to_owned(), origin }
    }

    /// The mirror named by `--mirror` or `ROCBED_MIRROR`: the command line parser returns both as the option.
    pub fn given(url: &str) -> Self {
        let variable = std::env::var("ROCBED_MIRROR").is_ok_and(|value| value == url);
        // An option with the variable's value is the same mirror, and changing either has the same effect.
        Self::new(url, if variable { Origin::Environment } else { Origin::Option })
    }

    /// The Debian mirror that this machine's own apt uses, else [`PUBLIC_MIRROR`]; if there are several, one that has
    /// `suite`.
    pub fn of_this_machine(suite: &str) -> Self {
        find_in(Path::new("/etc/apt"), Path::new("/var/lib/apt/lists"), suite)
            .unwrap_or_else(|| Self { url: PUBLIC_MIRROR.to_owned(), origin: Origin::Default })
    }
}

/// Help for when a file cannot be fetched from the mirror.
pub const NAME_ANOTHER: &str = "--mirror (or ROCBED_MIRROR, or archive.mirror in the recipe) names another";

/// The best of apt's sources: first by the evidence that they are Debian's, then those that have the suite, then in
/// order.
fn find_in(apt: &Path, lists: &Path, suite: &str) -> Option<Mirror> {
    let candidates = sources::read(apt).into_iter().filter_map(|source| {
        let (evidence, url) = (evidence(&source, lists)?, usable(&source.uri)?);
        let sure = evidence > debian::Evidence::Address;
        let has_suite = source.suites.iter().any(|known| known == suite);
        Some(((Reverse(sure), Reverse(has_suite), Reverse(evidence)), Mirror::new(&url, Origin::Apt(source.location))))
    });
    candidates.min_by_key(|(rank, _)| *rank).map(|(_, mirror)| mirror)
}

/// The address to fetch files from for one of apt's (sources.list(5), "URI specification"); `None` for methods that
/// only apt has.
fn usable(uri: &str) -> Option<String> {
    let (method, rest) = uri.trim().split_once(':')?;
    let path = || {
        let path = rest.strip_prefix("//localhost").or_else(|| rest.strip_prefix("//")).unwrap_or(rest);
        path.starts_with('/').then_some(path)
    };
    match method.to_ascii_lowercase().as_str() {
        "http" | "https" => Some(uri.trim().to_owned()),
        "file" | "copy" => Some(format!("file://{}", path()?)),
        "mirror+file" => {
            let list = fs::read_to_string(path()?).ok()?;
            listed(&list).into_iter().find(|uri| !uri.starts_with("mirror")).and_then(|uri| usable(&uri))
        }
        _ => None,
    }
}

/// The addresses of a list of mirrors (apt-transport-mirror(1)), best first.
fn listed(text: &str) -> Vec<String> {
    let mut all: Vec<(u64, &str)> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        let Some(uri) = words.next() else { continue };
        let priority = words.find_map(|word| word.strip_prefix("priority:")?.parse().ok());
        all.push((priority.unwrap_or(u64::MAX), uri));
    }
    all.sort_by_key(|(priority, _)| *priority);
    all.into_iter().map(|(_, uri)| uri.to_owned()).collect()
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
        let mirror = find_in(apt.path(), Path::new("/nowhere"), "sid")?;
        let Origin::Apt(location) = mirror.origin else { panic!("{mirror:?}") };
        let name = location.path.file_name().unwrap().to_str().unwrap();
        Some(format!("{name}:{} {}", location.line, mirror.url))
    }

    #[test]
    fn the_first_mirror_of_debian_is_taken_and_its_place_known() {
        let ubuntu = "deb http://archive.ubuntu.com/ubuntu noble main\n";
        let virtualbox =
            "Types: deb\nURIs: https://download.virtualbox.org/virtualbox/debian\nSuites: noble\nComponents: contrib\n";
        let files = [("sources.list", ubuntu), ("sources.list.d/virtualbox.sources", virtualbox)];
        assert_eq!(mirror_of(&files), None);
        let debian = "Types: deb\nURIs: http://m.example/debian-security http://m.example/debian/\nSuites: sid\nComponents: main\n";
        let files = [("sources.list", ubuntu), ("sources.list.d/b.sources", debian)];
        assert_eq!(mirror_of(&files).as_deref(), Some("b.sources:2 http://m.example/debian"));
        assert_eq!(mirror_of(&[]), None);
    }

    #[test]
    fn one_with_the_suite_comes_before_one_without() {
        let text = "deb http://a.example/debian trixie main\ndeb http://b.example/debian sid main\n";
        assert_eq!(mirror_of(&[("sources.list", text)]).as_deref(), Some("sources.list:2 http://b.example/debian"));
    }

    #[test]
    fn local_archives_are_addresses_of_files() {
        for (uri, expected) in [
            ("file:/srv/debian", Some("file:///srv/debian")),
            ("file:///srv/debian", Some("file:///srv/debian")),
            ("file://localhost/srv/debian", Some("file:///srv/debian")),
            ("copy:/srv/debian", Some("file:///srv/debian")),
            ("file:srv/debian", None),
            ("cdrom:[Debian]/", None),
            ("tor+http://deb.example/debian", None),
            ("mirror://deb.example/list", None),
        ] {
            assert_eq!(usable(uri).as_deref(), expected, "{uri}");
        }
        let text = "deb file:/srv/debian sid main\n";
        assert_eq!(mirror_of(&[("sources.list", text)]).as_deref(), Some("sources.list:1 file:///srv/debian"));
    }

    #[test]
    fn a_list_of_mirrors_is_looked_into() {
        let directory = tempfile::tempdir().unwrap();
        let list = directory.path().join("debian");
        fs::write(&list, "# ours\nhttp://far.example/debian\tpriority:2\nhttp://near.example/debian priority:1\n")
            .unwrap();
        let text = format!("deb mirror+file:{} sid main\n", list.display());
        assert_eq!(mirror_of(&[("sources.list", &text)]).as_deref(), Some("sources.list:1 http://near.example/debian"));
    }

    #[test]
    fn who_named_it_is_said_without_a_password() {
        let mirror = Mirror::new("http://me:secret@m.example/debian/", Origin::Recipe);
        assert_eq!(mirror.url, "http://me:secret@m.example/debian");
        assert_eq!(mirror.to_string(), "http://m.example/debian (from the recipe's archive.mirror)");
    }
}
