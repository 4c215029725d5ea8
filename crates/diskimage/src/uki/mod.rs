//! Unified kernel images: one EFI program of a boot stub, a kernel, its initramfs and their configuration (UAPI
//! Unified Kernel Image specification; systemd-stub(7); PE format of Microsoft).
//!
//! The stub is a finished program: systemd's `linuxx64.efi.stub` from the package systemd-boot-efi. We append sections
//! to it. Its code does not move, so nothing has to be linked or relocated: only headers grow.

mod bzimage;
mod headers;
mod read;
mod sbat;
mod write;

use std::io;

use advice::{Advise, Help};
use fsimage::Content;

pub use bzimage::bzimage_version;
pub use read::{ReadError, SectionInfo, is_signed, section, sections};
pub use write::{append_sections, write};

/// Parts of a unified kernel image, besides the stub.
#[derive(Debug, Clone)]
pub struct Parts {
    /// `os-release(5)` of the system, `.osrel`: boot menus show its `PRETTY_NAME`.
    pub os_release: Content,
    /// Kernel command line, `.cmdline`.
    pub cmdline: String,
    /// Kernel release, `.uname`; by default as found in the kernel ([`bzimage_version`]).
    pub uname: Option<String>,
    /// Splash image in BMP format, `.splash`.
    pub splash: Option<Content>,
    /// Kernel, `.linux`: a bzImage, which is an EFI program itself.
    pub kernel: Content,
    /// Initramfs, `.initrd`.
    pub initrd: Content,
    /// Lines to add to `.sbat`, for a generation number of the image: `rocbed,1,rocbed,rocbed,1,https://example.org`.
    pub sbat: Option<String>,
}

/// A section to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSection {
    /// Name with its dot, at most 8 bytes: `.osrel`.
    pub name: String,
    /// Content of the section.
    pub content: Content,
    /// Whether it is marked as code; else as data. Never executable: the stub loads the kernel by itself.
    pub code: bool,
}

impl NewSection {
    /// A section of data.
    pub fn data(name: &str, content: impl Into<Content>) -> Self {
        Self { name: name.to_owned(), content: content.into(), code: false }
    }
}

/// A unified kernel image that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum UkiError {
    /// The stub is not a PE program, or is damaged.
    #[error("the boot stub is not an EFI program for a 64-bit machine: {0}")]
    Stub(&'static str),
    /// The stub is signed; appending would invalidate the signature.
    #[error(
        "the boot stub is signed, and appending would break its signature: take an unsigned one (linuxx64.efi.stub)"
    )]
    SignedStub,
    /// There is no room for more section headers.
    #[error("the boot stub's header has room for {room} more sections, and {needed} are to be added")]
    HeaderFull {
        /// Number of sections that could be added.
        room: usize,
        /// Number of sections to add.
        needed: usize,
    },
    /// A section name is not valid.
    #[error("{0:?} is not a section name: it has to start with a dot and be at most 8 ASCII characters long")]
    SectionName(String),
    /// A section was given twice, or is in the stub already.
    #[error("there would be two sections {0:?}")]
    Duplicate(String),
    /// The image does not fit into 32-bit addresses.
    #[error("section {0:?} would end over 4 GiB")]
    TooLarge(String),
    /// The stub's SBAT section is too small.
    #[error(
        "the SBAT lines of stub, kernel and recipe have {needed} bytes, and the stub's section has room for {room}"
    )]
    SbatTooLarge {
        /// Size of the stub's section in bytes.
        room: usize,
        /// Size of all lines in bytes.
        needed: usize,
    },
    /// The SBAT data is not valid comma-separated text.
    #[error("the SBAT data of the {0} does not start with a line \"sbat,\"")]
    Sbat(&'static str),
    /// The kernel is not a bzImage.
    #[error("the kernel does not say its release: it is not a bzImage, or a broken one")]
    Kernel,
    /// A text for the firmware or the kernel contains a zero byte, which would end it.
    #[error("the kernel command line has a NUL byte")]
    Cmdline,
    /// The command line is longer than the kernel supports.
    #[error("the kernel command line has {length} bytes, and the kernel takes {most}")]
    CmdlineTooLong {
        /// Length in bytes.
        length: usize,
        /// Maximum length in bytes.
        most: u32,
    },
    /// The length of a file has changed.
    #[error("the content of section {name:?} has changed: it should have {expected} bytes")]
    Changed {
        /// Section name.
        name: String,
        /// Expected length in bytes.
        expected: u64,
    },
    /// Reading a part failed.
    #[error("reading the content of section {name:?}")]
    Content {
        /// Section name.
        name: String,
        /// The cause.
        source: io::Error,
    },
    /// Writing the image failed.
    #[error("writing the unified kernel image")]
    Write(#[source] io::Error),
}

impl Advise for UkiError {
    fn help(&self) -> Help {
        match self {
            Self::CmdlineTooLong { .. } => "shorten it, or move settings from it into a file".into(),
            Self::Changed { .. } => "run the build again".into(),
            _ => Help::none(),
        }
    }
}
