//! Tries to open `/dev/kfd`.

use std::fs::OpenOptions;
use std::io;

/// Opens `/dev/kfd` and closes it again; tests use a double.
pub trait KfdProbe {
    /// `Ok` if programs can use KFD. The kernel returns `EINVAL` without a GPU, and `EAGAIN` during a reset.
    fn open(&self) -> io::Result<()>;
}

/// The real `/dev/kfd`.
#[derive(Debug, Clone, Copy, Default)]
pub struct DevKfd;

impl KfdProbe for DevKfd {
    fn open(&self) -> io::Result<()> {
        OpenOptions::new().read(true).write(true).open("/dev/kfd").map(drop)
    }
}

/// Explains a failure to people, if there is something to explain. `gpus` says whether there are usable GPUs.
pub(crate) fn explain(error: &io::Error, gpus: bool) -> Option<String> {
    let text = match (error.kind(), gpus) {
        // Without a GPU the failure is expected, and each GPU has its own reasons.
        (_, false) => return None,
        (io::ErrorKind::NotFound, true) => {
            "there is no /dev/kfd, although KFD is there: mount devtmpfs on /dev, or give the container the device"
        }
        (io::ErrorKind::PermissionDenied, true) => {
            "this user may not open /dev/kfd: add the user to the group render and log in again"
        }
        (io::ErrorKind::WouldBlock, true) => "/dev/kfd is locked while a GPU is being reset or asleep: try again later",
        _ => return Some(format!("/dev/kfd can't be opened: {error}; programs will not find the GPUs")),
    };
    Some(text.to_owned())
}
