//! Removes files that belong to a running machine or to the build, not to an image.

use fsimage::{Content, FileTree, NodeKind};

use crate::Error;

/// Directories whose contents are mounted over or created at boot; the directories stay.
const EMPTIED: &[&str] = &["dev", "proc", "run", "sys", "tmp", "var/tmp", "var/log/apt", "var/cache/fontconfig"];

/// Directories whose files are removed at any depth; subdirectories stay, because they belong to packages.
const FILES_GO: &[&str] = &["var/cache/apt", "var/cache/man", "var/lib/apt/lists", "var/backups"];

/// Single files to remove; a `*` stands for any text without a slash.
const FILES: &[&str] = &[
    // Host name and name servers of the build machine.
    "etc/hostname",
    "etc/resolv.conf",
    // Secrets and identities: sharing them between machines would be worse than having none.
    "etc/ssh/ssh_host_*",
    "etc/ssl/certs/ssl-cert-snakeoil.pem",
    "etc/ssl/private/ssl-cert-snakeoil.key",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/credential.secret",
    "var/lib/systemd/random-seed",
    "var/lib/urandom/random-seed",
    // Logs of the build; other logs are emptied instead, because their owners and modes matter.
    "var/log/alternatives.log",
    "var/log/bootstrap.log",
    "var/log/dpkg.log",
    "var/log/fontconfig.log",
    // Contains inode numbers and times of the build's file system; ldconfig recreates it.
    "var/cache/ldconfig/aux-cache",
    // Backups of files that changed during the build.
    "etc/group-",
    "etc/gshadow-",
    "etc/passwd-",
    "etc/shadow-",
    "etc/subgid-",
    "etc/subuid-",
    "var/cache/debconf/*-old",
    "var/lib/dpkg/*-old",
    "var/lib/dpkg/available",
    // Locks.
    "etc/.pwd.lock",
    "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/triggers/Lock",
];

/// Suffixes of files that dpkg may leave beside a configuration file.
const LEFTOVERS: &[&[u8]] = &[b".dpkg-new", b".dpkg-old", b".dpkg-dist", b".dpkg-tmp"];

/// `systemd-machine-id-setup`'s file: empty means that a machine gets an id at boot, mounted over it if the root is
/// read-only. "uninitialized" would also make systemd run its first-boot setup at each boot of an appliance without
/// persistent storage.
const MACHINE_ID: &str = "etc/machine-id";

/// Treatment of a file of the root directory in an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Included unchanged.
    Stays,
    /// Included without its content.
    IsEmptied,
    /// Not included.
    Goes,
}

/// Treatment of the file at this path, which has no leading slash.
pub fn fate(path: &[u8], kind: &NodeKind) -> Fate {
    let directory = matches!(kind, NodeKind::Directory);
    let below = |parents: &[&str]| parents.iter().any(|parent| is_below(path, parent.as_bytes()));
    let listed = || FILES.iter().any(|pattern| matches(pattern.as_bytes(), path));
    let leftover = || LEFTOVERS.iter().any(|suffix| path.ends_with(suffix));
    // A link named after the hash of a removed certificate.
    let snakeoil = || *kind == NodeKind::Symlink(b"ssl-cert-snakeoil.pem".to_vec());
    if snakeoil() || below(EMPTIED) || !directory && (below(FILES_GO) || listed() || leftover()) {
        Fate::Goes
    } else if matches!(kind, NodeKind::File(_)) && (is_below(path, b"var/log") || path == MACHINE_ID.as_bytes()) {
        Fate::IsEmptied
    } else {
        Fate::Stays
    }
}

pub(super) fn remove(tree: &mut FileTree) -> Result<(), Error> {
    let mut gone: Vec<Vec<u8>> = Vec::new();
    let mut emptied: Vec<Vec<u8>> = Vec::new();
    for (path, id) in tree.iter() {
        match fate(path, &tree.node(id).kind) {
            Fate::Stays => {}
            Fate::IsEmptied => emptied.push(path.to_vec()),
            Fate::Goes => gone.push(path.to_vec()),
        }
    }
    for path in gone {
        // Its directory may have been removed before.
        if tree.get(&path).is_some() {
            tree.remove(&path)?;
        }
    }
    for path in emptied {
        if let Some(node) = tree.get_mut(&path) {
            node.kind = NodeKind::File(Content::Bytes([].into()));
            if path == MACHINE_ID.as_bytes() {
                node.metadata.mode = 0o444; // as systemd gives it
            }
        }
    }
    Ok(())
}

fn is_below(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.first() == Some(&b'/'))
}

/// Whether a path matches a pattern with at most one `*`, which does not match a slash.
fn matches(pattern: &[u8], path: &[u8]) -> bool {
    match pattern.iter().position(|byte| *byte == b'*') {
        None => pattern == path,
        Some(star) => path
            .strip_prefix(&pattern[..star])
            .and_then(|rest| rest.strip_suffix(&pattern[star + 1..]))
            .is_some_and(|rest| !rest.contains(&b'/')),
    }
}

#[cfg(test)]
mod tests {
    use fsimage::{Metadata, Node, Timestamp};

    use super::*;

    fn tree(paths: &[&str]) -> FileTree {
        let metadata = Metadata::root(0o755, Timestamp::from_seconds(0));
        let mut tree = FileTree::new(metadata.clone());
        for path in paths {
            if let Some((directory, _)) = path.rsplit_once('/') {
                tree.create_directories(directory, &metadata).unwrap();
            }
            tree.insert(path, Node { kind: NodeKind::File("text".into()), metadata: metadata.clone() }).unwrap();
        }
        tree
    }

    #[test]
    fn removes_what_belongs_to_a_machine_and_keeps_the_rest() {
        let mut tree = tree(&[
            "dev/pts/0",
            "etc/hostname",
            "etc/hosts",
            "etc/ssh/ssh_host_rsa_key",
            "etc/ssh/sshd_config",
            "run/lock/x",
            "var/cache/apt/archives/partial/x.deb",
            "var/cache/debconf/config.dat",
            "var/cache/debconf/config.dat-old",
            "etc/default/x.dpkg-dist",
            "runner",
        ]);
        remove(&mut tree).unwrap();
        let left: Vec<_> = tree
            .iter()
            .filter(|(_, id)| !tree.node(*id).is_directory())
            .map(|(path, _)| String::from_utf8_lossy(path).into_owned())
            .collect();
        assert_eq!(left, ["etc/hosts", "etc/ssh/sshd_config", "runner", "var/cache/debconf/config.dat"]);
        assert!(tree.get("dev").is_some() && tree.get("dev/pts").is_none(), "the mount point stays, empty");
        assert!(tree.get("var/cache/apt/archives/partial").is_some(), "apt needs its directories");
    }

    #[test]
    fn empties_logs_and_the_machine_id() {
        let mut tree = tree(&["var/log/btmp", "var/log/dpkg.log", "etc/machine-id"]);
        remove(&mut tree).unwrap();
        for path in ["var/log/btmp", "etc/machine-id"] {
            assert_eq!(tree.get(path).unwrap().kind, NodeKind::File(Content::Bytes([].into())), "{path}");
        }
        assert!(tree.get("var/log/dpkg.log").is_none());
    }
}
