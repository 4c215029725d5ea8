//! [`WriteError`]: reasons why writing an image fails.

use std::io;

use advice::{Advise, Help};

use crate::fit::FitError;
use crate::image::ImageError;

/// The reason why a device was not written, or is not bootable now.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Reading the image failed, or its digest is wrong.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Preparing the tables failed.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// Writing to the device failed.
    #[error("writing at byte {at}: {source}")]
    Write {
        /// The offset in bytes.
        at: u64,
        /// The device's error.
        source: io::Error,
    },
    /// Reading back failed.
    #[error("reading back at byte {at}: {source}")]
    Read {
        /// The offset in bytes.
        at: u64,
        /// The device's error.
        source: io::Error,
    },
    /// The device returned other data than was written.
    #[error("the device does not keep what is written to it: at byte {at} it returns other data")]
    Differs {
        /// The offset in bytes.
        at: u64,
    },
    /// The device is smaller than it says.
    #[error("the device says that it has {size} bytes ({} GiB), but what is written beyond byte {real} ({:.1} GiB) is lost: it is a counterfeit", size >> 30, *real as f64 / (1u64 << 30) as f64)]
    Counterfeit {
        /// The size that it reports, in bytes.
        size: u64,
        /// The offset from which on, at the latest, it has no memory.
        real: u64,
    },
    /// Writing was interrupted by Ctrl-C or a signal.
    #[error("interrupted")]
    Interrupted,
}

impl Advise for WriteError {
    fn help(&self) -> Help {
        match self {
            Self::Image(error) => error.help(),
            Self::Fit(error) => error.help(),
            Self::Write { .. } => {
                "a stick that fails so is worn out, was pulled out, or has a bad contact; try another port or another stick"
                    .into()
            }
            Self::Read { .. } => "a stick that fails so is worn out or was pulled out; take another one".into(),
            Self::Differs { .. } => "it is broken; take another one".into(),
            Self::Counterfeit { .. } => "take another one, and ask for your money back".into(),
            Self::Interrupted => Help::none(),
        }
    }
}
