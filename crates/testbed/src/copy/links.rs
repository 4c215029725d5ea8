//! Symbolic links that would lead out of the copied directory on the host.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// Whether a link can only lead to something below the directory that its path is relative to.
///
/// All `..` must come first, and there must be no more of them than directories above the link: the rest may pass
/// through other links, each of which stays below too.
pub(crate) fn stays_below(path: &Path, target: &Path) -> bool {
    let above = path.parent().map_or(0, |parent| parent.components().count());
    let ups = target.components().take_while(|part| *part == Component::ParentDir).count();
    // The standard library removes `.`, except at the start.
    let rest = target.components().skip(ups);
    ups <= above && rest.into_iter().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// A link: its path and its target.
pub(crate) type Link = (Vec<u8>, Vec<u8>);

/// Links that were not copied to the host, by directory. They are restored when the directory is copied back to a
/// testbed, as when a tree is built in one testbed and tested in another.
#[derive(Debug, Default)]
pub(crate) struct Withheld {
    links: HashMap<PathBuf, Vec<Link>>,
    /// Bytes of all paths and targets.
    bytes: usize,
}

/// Most bytes of paths and targets that are recorded for a session; further links are not restored.
const MOST_BYTES: usize = 64 << 20;

impl Withheld {
    /// Records the links of a directory.
    pub(crate) fn keep(&mut self, directory: &Path, links: Vec<Link>) {
        let kept = self.links.entry(plain(directory)).or_default();
        for (path, target) in links {
            let bytes = self.bytes + path.len() + target.len();
            if bytes > MOST_BYTES {
                return;
            }
            self.bytes = bytes;
            kept.push((path, target));
        }
    }

    /// The links of a directory and everything below it, with paths relative to it.
    pub(crate) fn of(&self, directory: &Path) -> Vec<Link> {
        let directory = plain(directory);
        let below = self.links.iter().filter_map(|(kept, links)| Some((kept.strip_prefix(&directory).ok()?, links)));
        let relative = |prefix: &Path, (path, target): &Link| {
            (prefix.join(OsStr::from_bytes(path)).into_os_string().into_encoded_bytes(), target.clone())
        };
        below.flat_map(|(prefix, links)| links.iter().map(move |link| relative(prefix, link))).collect()
    }
}

/// The path without a trailing slash.
fn plain(directory: &Path) -> PathBuf {
    directory.components().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_lead_out_are_told() {
        for (path, target, stays) in [
            ("link", "file", true),
            ("link", "a/b", true),
            ("link", "./a/./b", true),
            ("a/link", "../file", true),
            ("a/b/link", "../../file", true),
            ("link", "/etc/shadow", false),
            ("link", "..", false),
            ("a/link", "../../file", false),
            // If d is a link to `.`, each `..` after it leads further up.
            ("link", "d/../file", false),
            ("a/link", "../d/d/../../file", false),
        ] {
            assert_eq!(stays_below(Path::new(path), Path::new(target)), stays, "{path} -> {target}");
        }
    }

    #[test]
    fn what_was_withheld_comes_back_below_any_directory_above() {
        let mut withheld = Withheld::default();
        withheld.keep(Path::new("/out/tree/"), vec![(b"a/link".to_vec(), b"/usr".to_vec())]);
        assert_eq!(withheld.of(Path::new("/out/tree")), [(b"a/link".to_vec(), b"/usr".to_vec())]);
        assert_eq!(withheld.of(Path::new("/out/")), [(b"tree/a/link".to_vec(), b"/usr".to_vec())]);
        assert!(withheld.of(Path::new("/out/tree2")).is_empty());
    }

    #[test]
    fn what_is_kept_for_a_session_has_a_limit() {
        let mut withheld = Withheld::default();
        let link = || (b"link".to_vec(), vec![b'x'; MOST_BYTES / 2 - 4]);
        for directory in ["/a", "/b", "/c"] {
            withheld.keep(Path::new(directory), vec![link()]);
        }
        let kept = ["/a", "/b", "/c"].map(|directory| withheld.of(Path::new(directory)).len());
        assert_eq!(kept, [1, 1, 0]);
    }
}
