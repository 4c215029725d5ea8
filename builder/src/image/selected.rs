//! [`Selected`]: some packages' files of a root directory, for containers that run one program.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use fsimage::FileTree;

use super::content::read_file;

/// Which files of a root directory are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selected {
    /// All of them.
    All,
    /// Those of these packages, and these paths, which begin with a slash.
    These(Vec<String>),
}

impl Selected {
    /// Removes everything else from a tree. Directories above what is taken stay, others go unless a package has them.
    ///
    /// # Errors
    ///
    /// If a package is not installed, or a path is not there.
    pub fn apply(&self, tree: &mut FileTree) -> Result<()> {
        let Self::These(wanted) = self else { return Ok(()) };
        let mut kept: BTreeSet<Vec<u8>> = BTreeSet::new();
        for name in wanted {
            if let Some(path) = name.strip_prefix('/') {
                ensure!(tree.get(path).is_some(), "the root directory has no /{path}");
                kept.insert(path.as_bytes().to_vec());
            } else {
                kept.extend(files_of(tree, name)?);
            }
        }
        for path in kept.clone() {
            let above = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
            kept.extend(above.filter_map(|end| path.get(..end)).map(<[u8]>::to_vec));
        }
        let others: Vec<Vec<u8>> =
            tree.iter().map(|(path, _)| path.to_vec()).filter(|path| !kept.contains(path)).collect();
        // From the end, as what is below a directory comes after it.
        for path in others.iter().filter(|path| !path.is_empty()).rev() {
            tree.remove(path)?;
        }
        Ok(())
    }
}

/// The paths of an installed package, from dpkg's database.
fn files_of(tree: &FileTree, package: &str) -> Result<Vec<Vec<u8>>> {
    let info = "var/lib/dpkg/info";
    let names =
        [format!("{info}/{package}.list"), format!("{info}/{package}:{}.list", crate::architecture::ARCHITECTURE)];
    let list = names.iter().find(|name| tree.get(name).is_some());
    let list = list.with_context(|| format!("the package {package} is not in the root directory"))?;
    let text = read_file(tree, list)?;
    let paths = text.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"/"));
    // Packages may name a path through a link, such as /lib, of the merged /usr.
    let merged = |path: &[u8]| if tree.get(path).is_some() { path.to_vec() } else { [b"usr/", path].concat() };
    Ok(paths.filter(|path| !path.is_empty() && *path != b".").map(merged).collect())
}

#[cfg(test)]
mod tests {
    use fsimage::{Metadata, Node, NodeKind, Timestamp};

    use super::*;

    fn tree() -> FileTree {
        let directory = Metadata::root(0o755, Timestamp::default());
        let mut tree = FileTree::new(directory.clone());
        let lists = [
            (
                "var/lib/dpkg/info/libc6:amd64.list",
                "/.\n/lib\n/lib/libc.so.6\n/usr\n/usr/share/doc/libc6/copyright\n/srv\n",
            ),
            ("var/lib/dpkg/info/dash.list", "/.\n/usr/bin/sh\n"),
            ("usr/lib/libc.so.6", ""),
            ("usr/share/doc/libc6/copyright", ""),
            ("usr/bin/sh", ""),
            ("srv/empty", ""),
            ("etc/passwd", ""),
            ("etc/shadow", ""),
        ];
        for (path, text) in lists {
            tree.create_directories(path.rsplit_once('/').unwrap().0, &directory).unwrap();
            let metadata = Metadata::root(0o644, Timestamp::default());
            tree.insert(path, Node { kind: NodeKind::File(text.into()), metadata }).unwrap();
        }
        tree.insert("lib", Node { kind: NodeKind::Symlink(b"usr/lib".to_vec()), metadata: directory }).unwrap();
        tree
    }

    #[test]
    fn a_packages_files_and_single_ones_are_taken() {
        let mut tree = tree();
        Selected::These(vec!["libc6".into(), "/etc/passwd".into()]).apply(&mut tree).unwrap();
        let paths: Vec<_> = tree.iter().map(|(path, _)| String::from_utf8_lossy(path).into_owned()).collect();
        let expected = [
            "",
            "etc",
            "etc/passwd",
            "lib",
            "srv",
            "usr",
            "usr/lib",
            "usr/lib/libc.so.6",
            "usr/share",
            "usr/share/doc",
            "usr/share/doc/libc6",
            "usr/share/doc/libc6/copyright",
        ];
        assert_eq!(paths, expected);
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        for wanted in ["bash", "/etc/hosts"] {
            let error = Selected::These(vec![wanted.into()]).apply(&mut tree()).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
