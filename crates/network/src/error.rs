//! [`Error`]: a step of setting up the network that failed, and on what.

use std::io;

use advice::{Advise, Help};

/// An error: what failed, and on which object.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused a request.
    #[error("{step}: {source}")]
    System {
        /// What was tried, as a gerund.
        step: String,
        /// The kernel's error.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn system(step: impl Into<String>) -> impl FnOnce(rustix::io::Errno) -> Self {
        let step = step.into();
        move |errno| Self::System { step, source: errno.into() }
    }

    pub(crate) fn io(step: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let step = step.into();
        move |source| Self::System { step, source }
    }
}

impl Advise for Error {
    fn help(&self) -> Help {
        let Self::System { source, .. } = self;
        match source.kind() {
            io::ErrorKind::PermissionDenied => "this needs root, or CAP_NET_ADMIN and CAP_NET_RAW".into(),
            io::ErrorKind::ReadOnlyFilesystem => "give a path on a file system that can be written to".into(),
            _ if source.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
                "the kernel lacks this kind of socket: load af_packet, or use a kernel with CONFIG_PACKET".into()
            }
            _ => Help::none(),
        }
    }
}
