//! Compares a root directory with one that another tool made from the same packages.

use std::io::{self, Read};

use fsimage::{Content, Difference, FileTree, Metadata, NodeKind, compare};

/// An expected difference, with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Paths it applies to; `*` stands for any text, slashes included.
    pub path: &'static str,
    /// What may differ there.
    pub what: Allowed,
    /// Reason why it is right.
    pub reason: &'static str,
}

/// Kind of difference that is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// Anything, including presence.
    Everything,
    /// The first bytes of a file's content.
    FirstBytes(usize),
    /// The time of a directory.
    DirectoryTime,
    /// The order of the lines of a file.
    LineOrder,
    /// User and group ids from the range that is assigned on installation, 100 to 999: as owners, and in the lines of
    /// a file, whose order may then differ.
    DynamicIds,
    /// Whether a link's target begins with `/usr`.
    MergedUsr,
}

/// Result of a comparison.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Differences that are not accepted.
    pub unexplained: Vec<Difference>,
    /// Accepted differences with their reasons.
    pub explained: Vec<(Difference, &'static str)>,
}

/// Accepted differences between our root directory and mmdebstrap's, both after [`crate::finish::normalise`].
pub const MMDEBSTRAP: &[Accepted] = &[
    Accepted {
        path: "etc/apt/apt.conf.d/99mmdebstrap",
        what: Allowed::Everything,
        reason: "mmdebstrap's own options for apt, given with --aptopt",
    },
    Accepted {
        path: "etc/apt/sources.list",
        what: Allowed::Everything,
        reason: "a recipe decides where an image's apt looks, not the build",
    },
    Accepted { path: "etc/fstab", what: Allowed::Everything, reason: "mmdebstrap's placeholder; no package has it" },
    Accepted {
        path: "var/lib/apt/extended_states",
        what: Allowed::Everything,
        reason: "apt's notes on which packages it chose itself; apt was not run",
    },
    Accepted {
        path: "*/partial",
        what: Allowed::Everything,
        reason: "apt took its download directories for its own user when it ran; apt was not run",
    },
    Accepted {
        path: "*",
        what: Allowed::DirectoryTime,
        reason: "a directory's time: the package's own, where mmdebstrap's is that of the last change during its run",
    },
    Accepted {
        path: "usr/local/share/*",
        what: Allowed::Everything,
        reason: "dh_usrlocal's scripts make a directory there only if base-files, which makes its parent, came before",
    },
    Accepted {
        path: "etc/systemd/system/*",
        what: Allowed::MergedUsr,
        reason: "deb-systemd-helper names /lib or /usr/lib, which are the same, by what is there when it runs",
    },
    Accepted {
        path: "var/lib/dpkg/triggers/File",
        what: Allowed::LineOrder,
        reason: "dpkg notes trigger interests in the order of unpacking, and reads them in any order",
    },
    Accepted {
        path: "*.pyc",
        what: Allowed::FirstBytes(16),
        reason: "with SOURCE_DATE_EPOCH Python notes a hash of the source instead of its time; the code is the same",
    },
    Accepted {
        path: "*",
        what: Allowed::DynamicIds,
        reason: "scripts take the next free number for a new user, so it depends on the order of configuration",
    },
];

/// Compares two trees, the second being the reference.
///
/// # Errors
/// If a file cannot be read.
pub fn against(ours: &FileTree, oracle: &FileTree, accepted: &[Accepted]) -> io::Result<Comparison> {
    let mut comparison = Comparison::default();
    for difference in compare(ours, oracle)? {
        let mut reason = None;
        for rule in accepted.iter().filter(|rule| matches(rule.path.as_bytes(), &difference.path)) {
            let allowed = match rule.what {
                Allowed::Everything => true,
                Allowed::FirstBytes(count) => same_behind(ours, oracle, &difference.path, count)?,
                Allowed::DirectoryTime => same_but_time(ours, oracle, &difference.path),
                Allowed::LineOrder => same_lines(ours, oracle, &difference.path, <[u8]>::to_vec)?,
                Allowed::DynamicIds => {
                    same_but_ids(ours, oracle, &difference.path)
                        || same_lines(ours, oracle, &difference.path, without_dynamic_ids)?
                }
                Allowed::MergedUsr => same_link(ours, oracle, &difference.path),
            };
            if allowed {
                reason = Some(rule.reason);
                break;
            }
        }
        match reason {
            Some(reason) => comparison.explained.push((difference, reason)),
            None => comparison.unexplained.push(difference),
        }
    }
    Ok(comparison)
}

/// Whether both are directories that differ only in their times.
fn same_but_time(a: &FileTree, b: &FileTree, path: &[u8]) -> bool {
    let (Some(a), Some(b)) = (a.get(path), b.get(path)) else { return false };
    let metadata = Metadata { mtime: b.metadata.mtime, ..a.metadata.clone() };
    a.is_directory() && b.is_directory() && metadata == b.metadata
}

/// Whether an id is one that adduser and systemd-sysusers assign dynamically (Policy 9.2.2).
fn is_dynamic(id: u32) -> bool {
    (100..1000).contains(&id)
}

/// Whether two nodes differ only in owners from the dynamic range.
fn same_but_ids(a: &FileTree, b: &FileTree, path: &[u8]) -> bool {
    let (Some(a), Some(b)) = (a.get(path), b.get(path)) else { return false };
    let (left, right) = (&a.metadata, &b.metadata);
    let allowed = |left: u32, right: u32| left == right || is_dynamic(left) && is_dynamic(right);
    let metadata = Metadata { uid: right.uid, gid: right.gid, ..left.clone() };
    let same_content = match (&a.kind, &b.kind) {
        (NodeKind::File(a), NodeKind::File(b)) => bytes(a).ok() == bytes(b).ok(),
        (a, b) => a == b,
    };
    allowed(left.uid, right.uid) && allowed(left.gid, right.gid) && metadata == *right && same_content
}

fn without_dynamic_ids(line: &[u8]) -> Vec<u8> {
    let masked = line.split(|byte| *byte == b':').map(|field| {
        let number = std::str::from_utf8(field).ok().and_then(|text| text.parse().ok());
        if number.is_some_and(is_dynamic) { b"*" } else { field }
    });
    masked.collect::<Vec<_>>().join(&b':')
}

/// Whether two links lead to the same place with a merged /usr.
fn same_link(a: &FileTree, b: &FileTree, path: &[u8]) -> bool {
    let (Some(a), Some(b)) = (a.get(path), b.get(path)) else { return false };
    let (NodeKind::Symlink(target_a), NodeKind::Symlink(target_b)) = (&a.kind, &b.kind) else { return false };
    let short = |target: &[u8]| target.strip_prefix(b"/usr").unwrap_or(target).to_vec();
    a.metadata == b.metadata && short(target_a) == short(target_b)
}

/// Whether two files have the same metadata and the same lines, each changed by `view`, in some order.
fn same_lines(a: &FileTree, b: &FileTree, path: &[u8], view: fn(&[u8]) -> Vec<u8>) -> io::Result<bool> {
    let (Some(a), Some(b)) = (a.get(path), b.get(path)) else { return Ok(false) };
    let (NodeKind::File(content_a), NodeKind::File(content_b)) = (&a.kind, &b.kind) else { return Ok(false) };
    let sorted = |content| -> io::Result<Vec<Vec<u8>>> {
        let mut lines: Vec<Vec<u8>> = bytes(content)?.split(|byte| *byte == b'\n').map(view).collect();
        lines.sort();
        Ok(lines)
    };
    Ok(a.metadata == b.metadata && sorted(content_a)? == sorted(content_b)?)
}

/// Whether two files have the same metadata, length, and content from byte `count` on.
fn same_behind(a: &FileTree, b: &FileTree, path: &[u8], count: usize) -> io::Result<bool> {
    let (Some(a), Some(b)) = (a.get(path), b.get(path)) else { return Ok(false) };
    let (NodeKind::File(content_a), NodeKind::File(content_b)) = (&a.kind, &b.kind) else { return Ok(false) };
    if a.metadata != b.metadata {
        return Ok(false);
    }
    Ok(content_a.len() == content_b.len() && bytes(content_a)?.get(count..) == bytes(content_b)?.get(count..))
}

fn bytes(content: &Content) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    content.open()?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether a path matches a pattern in which `*` stands for any text.
fn matches(pattern: &[u8], path: &[u8]) -> bool {
    match pattern.iter().position(|byte| *byte == b'*') {
        None => pattern == path,
        Some(star) => {
            let Some(rest) = path.strip_prefix(&pattern[..star]) else { return false };
            (0..=rest.len()).any(|skipped| matches(&pattern[star + 1..], &rest[skipped..]))
        }
    }
}

#[cfg(test)]
mod tests {
    use fsimage::{Metadata, Node, Timestamp};

    use super::*;

    fn tree(files: &[(&str, &str)]) -> FileTree {
        let metadata = Metadata::root(0o644, Timestamp::from_seconds(0));
        let mut tree = FileTree::new(metadata.clone());
        for (path, text) in files {
            tree.insert(path, Node { kind: NodeKind::File((*text).into()), metadata: metadata.clone() }).unwrap();
        }
        tree
    }

    #[test]
    fn dynamic_numbers_may_differ_and_static_ones_may_not() {
        let rules = [Accepted { path: "*", what: Allowed::DynamicIds, reason: "numbers" }];
        let unexplained = |ours: &str, oracle: &str| {
            against(&tree(&[("group", ours)]), &tree(&[("group", oracle)]), &rules).unwrap().unexplained.len()
        };
        assert_eq!(unexplained("a:x:998:\nb:x:997:\n", "b:x:998:\na:x:996:\n"), 0);
        assert_eq!(unexplained("a:x:42:\n", "a:x:43:\n"), 1);
        assert_eq!(unexplained("a:x:998:\n", "b:x:998:\n"), 1);
    }

    #[test]
    fn a_link_may_name_either_half_of_a_merged_usr() {
        let link = |target: &str| {
            let mut tree = tree(&[]);
            let metadata = Metadata::root(0o777, Timestamp::from_seconds(0));
            tree.insert("link", Node { kind: NodeKind::Symlink(target.into()), metadata }).unwrap();
            tree
        };
        let rules = [Accepted { path: "*", what: Allowed::MergedUsr, reason: "the same" }];
        let unexplained = |ours, oracle| against(&link(ours), &link(oracle), &rules).unwrap().unexplained.len();
        assert_eq!(unexplained("/lib/x", "/usr/lib/x"), 0);
        assert_eq!(unexplained("/lib/x", "/usr/lib/y"), 1);
    }

    #[test]
    fn tells_explained_differences_from_others() {
        let rules = [
            Accepted { path: "*.pyc", what: Allowed::FirstBytes(2), reason: "header" },
            Accepted { path: "fstab", what: Allowed::Everything, reason: "placeholder" },
        ];
        let ours = tree(&[("a.pyc", "xxsame"), ("b.pyc", "xxours"), ("same", "same")]);
        let oracle = tree(&[("a.pyc", "yysame"), ("b.pyc", "yytheirs"), ("same", "same"), ("fstab", "")]);
        let comparison = against(&ours, &oracle, &rules).unwrap();
        let unexplained: Vec<_> = comparison.unexplained.iter().map(|difference| difference.path.as_slice()).collect();
        assert_eq!(unexplained, [b"b.pyc"]);
        let reasons: Vec<_> = comparison.explained.iter().map(|(_, reason)| *reason).collect();
        assert_eq!(reasons, ["header", "placeholder"]);
    }
}
