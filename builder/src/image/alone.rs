//! Asks the kernel whether this is the only open handle to a file.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;

/// Whether this handle is the only one to the file on this machine: the kernel grants a write lease only then
/// (fcntl(2), `F_SETLEASE`). `false` also where it cannot tell, as on network file systems.
///
/// While a lease is held, other openers wait and this process gets a signal, so it is given back at once. Ask when no
/// new opener can appear, such as after the file's only name was removed.
pub(super) fn is_only_handle(file: &File) -> bool {
    // SAFETY: takes two numbers beside the descriptor, which is open for as long as `file` is borrowed.
    let set = |kind: libc::c_int| unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) } == 0;
    let alone = set(libc::F_WRLCK);
    if alone {
        // The lease was just granted, so it can be given back; closing the file ends it in any case.
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
