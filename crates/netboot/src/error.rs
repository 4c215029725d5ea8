//! [`NetbootError`]: why an image cannot be served.

use std::io;
use std::path::PathBuf;

use advice::{Advise, Help};

/// An error: what failed, and on which object.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetbootError {
    /// The directory has no complete image, or one of an older rocbed.
    #[error("{} has no {name}: it is not a whole image, or one of an older rocbed", directory.display())]
    Incomplete {
        /// The directory.
        directory: PathBuf,
        /// What is missing.
        name: &'static str,
    },
    /// The root does not match the image's digests.
    #[error("{} is not what SHA256SUMS says", path.display())]
    Changed {
        /// Path of the root.
        path: PathBuf,
    },
    /// A word that the kernel command line cannot hold.
    #[error(
        "{word:?} cannot be a word of the kernel command line: it has a blank, a quotation mark or a control character in it"
    )]
    Word {
        /// The word.
        word: String,
    },
    /// dnsmasq is not installed.
    #[error("dnsmasq is not installed, which answers DHCP and TFTP")]
    NoDnsmasq,
    /// The operating system reported an error.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// The action, as a gerund.
        action: &'static str,
        /// The path that it was about.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl Advise for NetbootError {
    fn help(&self) -> Help {
        match self {
            Self::Incomplete { .. } => "`rocbed build` makes it anew".into(),
            Self::Changed { .. } => "it was changed after it was built; build the image again".into(),
            Self::NoDnsmasq => "apt install dnsmasq-base; or --no-dhcp, with a DHCP server of your own".into(),
            Self::Word { .. } | Self::Io { .. } => Help::none(),
        }
    }
}

impl NetbootError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
