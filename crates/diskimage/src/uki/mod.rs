//! Unified kernel images: one EFI program of a boot stub, a kernel, its initramfs and what they need to know (UAPI
//! Unified Kernel Image specification; systemd-stub(7); PE format of Microsoft).
//!
//! The stub is a finished program: systemd's `linuxx64.efi.stub` from the package systemd-boot-efi. We append
//! sections to it. Its code does not move, so nothing has to be linked or relocated: only headers grow.

mod bzimage;
mod headers;
mod read;
mod sbat;
mod write;

use std::io;

use fsimage::Content;

pub use bzimage::bzimage_version;
pub use read::{ReadError, SectionInfo, section, sections};
pub use write::{append_sections, write};

/// What a unified kernel image is made of, beside the stub.
#[derive(Debug, Clone)]
pub struct Parts {
    /// `os-release(5)` of the system, `.osrel`: boot menus show its `PRETTY_NAME`.
    pub os_release: Content,
    /// Kernel command line, `.cmdline`.
    pub cmdline: String,
    /// Kernel release, `.uname`; by default what the kernel says of itself ([`bzimage_version`]).
    pub uname: Option<String>,
    /// Picture in BMP to show while booting, `.splash`.
    pub splash: Option<Content>,
    /// Kernel, `.linux`: a bzImage, which is an EFI program itself.
    pub kernel: Content,
    /// Initramfs, `.initrd`.
    pub initrd: Content,
    /// Lines to add to `.sbat`, for an own generation number: `rocbed,1,rocbed,rocbed,1,https://example.org`.
    pub sbat: Option<String>,
}

/// One section to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSection {
    /// With its dot, at most 8 bytes: `.osrel`.
    pub name: String,
    /// Its bytes.
    pub content: Content,
    /// Whether it counts as code; else it is data. Never executable: the stub loads the kernel by itself.
    pub code: bool,
}

impl NewSection {
    /// A section of data.
    pub fn data(name: &str, content: impl Into<Content>) -> Self {
        Self { name: name.to_owned(), content: content.into(), code: false }
    }
}

/// Why there is no unified kernel image.
#[derive(Debug, thiserror::Error)]
pub enum UkiError {
    /// The stub is something else, or broken.
    #[error("the boot stub is no EFI program for a 64-bit machine: {0}")]
    Stub(&'static str),
    /// Appending would make the signature wrong.
    #[error(
        "the boot stub is signed, and appending would break its signature: take an unsigned one (linuxx64.efi.stub)"
    )]
    SignedStub,
    /// The header is full.
    #[error("the boot stub's header has room for {room} more sections, and {needed} are to be added")]
    HeaderFull {
        /// Sections that could be added.
        room: usize,
        /// Sections that were to be.
        needed: usize,
    },
    /// Bad section name.
    #[error("{0:?} is no section name: it has to start with a dot and be at most 8 ASCII characters long")]
    SectionName(String),
    /// Given twice, or in the stub already.
    #[error("there would be two sections {0:?}")]
    Duplicate(String),
    /// Addresses have 32 bits.
    #[error("section {0:?} would end over 4 GiB")]
    TooLarge(String),
    /// The stub's section is only that large.
    #[error(
        "the SBAT lines of stub, kernel and recipe have {needed} bytes, and the stub's section has room for {room}"
    )]
    SbatTooLarge {
        /// Bytes of the stub's section.
        room: usize,
        /// Bytes of all lines.
        needed: usize,
    },
    /// SBAT data is comma-separated text.
    #[error("the SBAT data of the {0} does not start with a line \"sbat,\"")]
    Sbat(&'static str),
    /// The kernel is no bzImage.
    #[error("the kernel does not say its release: it is no bzImage, or a broken one")]
    Kernel,
    /// Text for the firmware and the kernel ends at a zero.
    #[error("the kernel command line has a NUL byte")]
    Cmdline,
    /// The kernel would cut it.
    #[error(
        "the kernel command line has {length} bytes, and the kernel takes {most}: shorten it, or move settings into a file"
    )]
    CmdlineTooLong {
        /// Bytes that it has.
        length: usize,
        /// Bytes that the kernel takes.
        most: u32,
    },
    /// A file has another length than before.
    #[error("the content of section {name:?} has changed: it should have {expected} bytes; run the build again")]
    Changed {
        /// Name of the section.
        name: String,
        /// Bytes that it should have.
        expected: u64,
    },
    /// Reading a part failed.
    #[error("reading the content of section {name:?}")]
    Content {
        /// Name of the section.
        name: String,
        /// What failed.
        source: io::Error,
    },
    /// Writing the image failed.
    #[error("writing the unified kernel image")]
    Write(#[source] io::Error),
}
