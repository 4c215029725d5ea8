//! Pure changes to a file tree: what makes it the same every time, and what a recipe adds or leaves out.
//!
//! [`normalise`] removes or fixes what differs from build to build. The other functions are independent of it and of
//! each other; call [`normalise`] last, so that it sees everything.

mod files;
mod modules;
mod passwords;
mod text;
mod volatile;

pub use files::{NewFile, add_directory, add_file, add_symlink, resolve};
use fsimage::{FileTree, Timestamp};
pub use modules::{keep_modules, module_name};
pub use passwords::{Group, User, add_group, add_user};

use crate::Error;

/// Makes the tree independent of when, where and by whom it was built. `epoch` is the newest time it may have, in
/// seconds since 1970: the date of the archive.
pub fn normalise(tree: &mut FileTree, epoch: i64) -> Result<(), Error> {
    volatile::remove(tree)?;
    passwords::fix_dates(tree, epoch)?;
    clamp_times(tree, epoch);
    Ok(())
}

/// Sets the time of everything that was made during the build to `epoch`.
///
/// Packages' own files have times in whole seconds, before the archive's date. What a build makes has its clock's time,
/// with a fraction: so it is recognised even where that clock is wrong.
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
