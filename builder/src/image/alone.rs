//! Whether a file is open anywhere else, of the kernel that knows.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;

/// Whether this handle is the only one to the file on this machine: the kernel grants a write lease only then
/// (fcntl(2), `F_SETLEASE`). `false` also where it cannot say, as on network file systems.
///
/// A lease that is kept makes others wait and this process be sent a signal, so it is given back at once; ask when nobody
/// can come along any more, as after the file's only name was taken away.
pub(super) fn is_only_handle(file: &File) -> bool {
    // SAFETY: takes two numbers beside the descriptor, which is open for as long as `file` is borrowed.
    let set = |kind: libc::c_int| unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) } == 0;
    let alone = set(libc::F_WRLCK);
    if alone {
        // It was just granted, so it can be given back; at the latest it ends with the file.
        set(libc::F_UNLCK);
    }
    alone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_handle_is_noticed() -> std::io::Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        assert!(is_only_handle(file.as_file()));
        let reader = File::open(file.path())?;
        assert!(!is_only_handle(file.as_file()));
        drop(reader);
        assert!(is_only_handle(file.as_file()));
        Ok(())
    }
}
