//! Changes to a file tree that make it reproducible, and a recipe's additions and removals.
//!
//! [`normalise`] removes or fixes everything that differs from build to build. The other functions are independent of
//! it and of each other; call [`normalise`] last, so that it covers their results.

mod files;
mod modules;
mod passwords;
mod text;
mod volatile;

pub use files::{NewFile, add_directory, add_file, add_symlink, resolve};
use fsimage::{FileTree, Timestamp};
pub use modules::{keep_modules, module_name};
pub use passwords::{Group, User, add_group, add_user};
pub use volatile::{Fate, fate};

use crate::Error;

/// Makes the tree independent of when, where and by whom it was built. `epoch` is the latest time it may have, in
/// seconds since 1970: the date of the archive.
pub fn normalise(tree: &mut FileTree, epoch: i64) -> Result<(), Error> {
    volatile::remove(tree)?;
    passwords::fix_dates(tree, epoch)?;
    clamp_times(tree, epoch);
    Ok(())
}

/// Sets the time of everything that was created during the build to `epoch`.
///
/// Packages' own files have times in whole seconds, before the archive's date. Files created by a build have the time
/// of its clock, with a fraction of a second: so they are recognised even if that clock is wrong.
fn clamp_times(tree: &mut FileTree, epoch: i64) {
    let epoch = Timestamp::from_seconds(epoch);
    let paths: Vec<Vec<u8>> = tree.iter().map(|(path, _)| path.to_vec()).collect();
    for path in paths {
        if let Some(node) = tree.get_mut(&path) {
            let mtime = &mut node.metadata.mtime;
            if *mtime > epoch || mtime.nanoseconds != 0 {
                *mtime = epoch;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use fsimage::{Metadata, Node, NodeKind, dump};
    use proptest::prelude::*;

    use super::*;

    const EPOCH: i64 = 1_790_000_000;

    fn file(mtime: Timestamp) -> Node {
        Node { kind: NodeKind::File("text".into()), metadata: Metadata::root(0o644, mtime) }
    }

    #[test]
    fn times_of_the_build_become_the_epoch_and_those_of_packages_stay() {
        let mut tree = FileTree::new(Metadata::root(0o755, Timestamp { seconds: EPOCH + 9, nanoseconds: 5 }));
        let old_clock = Timestamp { seconds: 12, nanoseconds: 345 };
        tree.insert("packaged", file(Timestamp::from_seconds(1_000_000_000))).unwrap();
        tree.insert("made-with-a-wrong-clock", file(old_clock)).unwrap();
        tree.insert("made", file(Timestamp::from_seconds(EPOCH + 1))).unwrap();
        normalise(&mut tree, EPOCH).unwrap();
        let time = |path: &str| tree.get(path).unwrap().metadata.mtime;
        assert_eq!(time("packaged"), Timestamp::from_seconds(1_000_000_000));
        for path in ["", "made", "made-with-a-wrong-clock"] {
            assert_eq!(time(path), Timestamp::from_seconds(EPOCH), "{path}");
        }
    }

    proptest! {
        /// Normalising is idempotent for any tree.
        #[test]
        fn normalising_twice_changes_nothing(
            files in prop::collection::vec(("(var/log|run|etc|var/cache/apt)/[a-z.-]{1,6}", any::<u32>()), 0..12),
        ) {
            let directory = Metadata::root(0o755, Timestamp::from_seconds(0));
            let mut tree = FileTree::new(directory.clone());
            for (path, seconds) in files {
                let (parent, _) = path.rsplit_once('/').unwrap_or_default();
                tree.create_directories(parent, &directory).unwrap();
                // The same path may come twice.
                let _ = tree.insert(&path, file(Timestamp::from_seconds(seconds.into())));
            }
            normalise(&mut tree, EPOCH).unwrap();
            let once = dump(&tree, true).unwrap();
            normalise(&mut tree, EPOCH).unwrap();
            prop_assert_eq!(once, dump(&tree, true).unwrap());
        }
    }
}
