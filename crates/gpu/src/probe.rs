//! Opening `/dev/kfd`.

use std::fs::OpenOptions;
use std::io;

/// Opens `/dev/kfd` and closes it again; a double stands in for it in tests.
pub trait KfdProbe {
    /// `Ok` where programs can use KFD. `EINVAL` is what the kernel says without a GPU, `EAGAIN` during a reset.
    fn open(&self) -> io::Result<()>;
}

/// The machine this runs on.
#[derive(Debug, Clone, Copy, Default)]
pub struct DevKfd;

impl KfdProbe for DevKfd {
    fn open(&self) -> io::Result<()> {
        OpenOptions::new().read(true).write(true).open("/dev/kfd").map(drop)
    }
}

/// What a failure says to whoever has the machine, if there is something to say. `gpus` is whether there are GPUs that
/// could be used.
pub(crate) fn explain(error: &io::Error, gpus: bool) -> Option<String> {
    let text = match (error.kind(), gpus) {
        // Without a GPU it is no wonder, and reasons are given for each.
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
