//! Explains that a file system became full during unpacking: which one it is, and how much space is needed.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::Error;

/// Returns the error unchanged, unless the disk is full: then the file system and the space needed are added.
pub(crate) fn explained(error: Error, root: &Path, needed: u64) -> Error {
    match error {
        Error::Io { source, .. } if [ErrorKind::StorageFull, ErrorKind::QuotaExceeded].contains(&source.kind()) => {
            let size = rustix::fs::statvfs(root).map_or(0, |space| space.f_blocks.saturating_mul(space.f_frsize));
            let mount = mount_point(root);
            Error::NoSpace { root: root.to_owned(), mount, needed: needed >> 20, size: size >> 20, source }
        }
        other => other,
    }
}

/// The topmost directory above a path that is on the same file system.
fn mount_point(path: &Path) -> PathBuf {
    let device = |path: &Path| path.metadata().map(|metadata| metadata.dev()).ok();
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let own = device(&path);
    path.ancestors().take_while(|above| device(above) == own).last().unwrap_or(&path).to_owned()
}

#[cfg(test)]
mod tests {
    use advice::Advise as _;

    use super::*;

    #[test]
    fn a_full_disk_is_told_with_file_system_and_need() {
        let at = tempfile::tempdir().unwrap();
        let full = |kind: ErrorKind| Error::io("writing", "usr/bin/large")(std::io::Error::from(kind));
        let error = explained(full(ErrorKind::StorageFull), at.path(), 300 << 20);
        let text = error.to_string();
        assert!(text.contains("about 300 MiB") && error.help().to_string().contains("--cache"), "{text}");
        assert!(text.contains(&format!("{}: ", at.path().display())), "{text}");
        let other = explained(full(ErrorKind::NotFound), at.path(), 1).to_string();
        assert!(other.starts_with("writing usr/bin/large: "), "{other}");
    }

    #[test]
    fn a_file_system_is_named_by_where_it_is_mounted() {
        assert_eq!(mount_point(Path::new("/proc/self/net")), Path::new("/proc"));
        assert_eq!(mount_point(Path::new("/")), Path::new("/"));
    }
}
