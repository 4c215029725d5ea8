//! Writes trees as archives.

use std::collections::HashMap;
use std::io::{self, Read, Write};

use advice::{Advise, Help};

use super::{HEADER, RECORD, TRAILER, file_type};
use crate::tree::{Content, FileTree, NodeId, NodeKind};

/// An archive that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A file is too large for the size field, which has 32 bits.
    #[error("{path}: {length} bytes do not fit into a cpio archive, which takes files of less than 4 GiB")]
    FileTooLarge {
        /// Path in the tree.
        path: String,
        /// Length in bytes.
        length: u64,
    },
    /// A file has changed since the tree was made.
    #[error("{path}: it has changed while the archive was made, it is no longer {length} bytes long")]
    Changed {
        /// Path in the tree.
        path: String,
        /// Length in bytes in the tree.
        length: u64,
    },
    /// Reading a file's content failed.
    #[error("{path}: reading its content: {source}")]
    Read {
        /// Path in the tree.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// Writing the archive failed.
    #[error("writing the cpio archive: {0}")]
    Write(#[source] io::Error),
}

impl Advise for WriteError {
    fn help(&self) -> Help {
        match self {
            Self::Changed { .. } => "build again".into(),
            Self::FileTooLarge { .. } | Self::Read { .. } | Self::Write(_) => Help::none(),
        }
    }
}

/// Result of writing an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpioReport {
    /// Size of the archive in bytes.
    pub bytes: u64,
    /// Number of entries, without the trailer.
    pub entries: u64,
    /// Number of extended attributes that were left out: the format does not support them.
    pub lost_xattrs: u64,
}

/// Writes a tree as an archive; the same tree gives the same bytes.
///
/// The root is `.`; inode numbers count up from 1; times are whole seconds from 1970 to 2106, others are rounded to
/// the nearest. Of a file with several names the last one has the content, as with the kernel's `gen_init_cpio` and
/// GNU cpio.
///
/// # Errors
/// If a file is too large for the format, or reading or writing fails.
pub fn write(tree: &FileTree, to: impl Write) -> Result<CpioReport, WriteError> {
    let mut archive = Archive { to, report: CpioReport { bytes: 0, entries: 0, lost_xattrs: 0 } };
    let links = tree.link_counts();
    let mut left = links.clone();
    let mut numbers: HashMap<NodeId, u32> = HashMap::new();
    for (path, id) in tree.iter() {
        let node = tree.node(id);
        let metadata = &node.metadata;
        let next = numbers.len() as u32 + 1;
        let number = *numbers.entry(id).or_insert_with(|| next);
        let names = links.get(&id).copied().unwrap_or(1);
        let names_left = left.entry(id).or_insert(1);
        *names_left -= 1;
        let mut header = Header {
            inode: number,
            mode: u32::from(metadata.mode & 0o7777),
            uid: metadata.uid,
            gid: metadata.gid,
            links: if node.is_directory() { 2 } else { names },
            time: metadata.mtime.seconds.clamp(0, i64::from(u32::MAX)) as u32,
            ..Header::default()
        };
        let mut content = Content::Bytes([].into());
        header.mode |= match &node.kind {
            NodeKind::Directory => file_type::DIRECTORY,
            NodeKind::File(bytes) => {
                if *names_left == 0 {
                    content = bytes.clone();
                }
                file_type::FILE
            }
            NodeKind::Symlink(target) => {
                content = target.clone().into();
                file_type::SYMLINK
            }
            NodeKind::CharDevice { major, minor } => {
                header.device = [*major, *minor];
                file_type::CHAR_DEVICE
            }
            NodeKind::BlockDevice { major, minor } => {
                header.device = [*major, *minor];
                file_type::BLOCK_DEVICE
            }
            NodeKind::Fifo => file_type::FIFO,
            NodeKind::Socket => file_type::SOCKET,
        };
        if number == next {
            archive.report.lost_xattrs += metadata.xattrs.len() as u64;
        }
        archive.report.entries += 1;
        archive.entry(if path.is_empty() { b"." } else { path }, &header, &content)?;
    }
    archive.entry(TRAILER, &Header { links: 1, ..Header::default() }, &Content::Bytes([].into()))?;
    archive.pad(RECORD)?;
    archive.to.flush().map_err(WriteError::Write)?;
    Ok(archive.report)
}

/// The header's numbers that are not always zero, except the lengths.
#[derive(Default)]
struct Header {
    inode: u32,
    mode: u32,
    uid: u32,
    gid: u32,
    links: u32,
    time: u32,
    /// Major and minor number.
    device: [u32; 2],
}

struct Archive<W> {
    to: W,
    report: CpioReport,
}

impl<W: Write> Archive<W> {
    fn entry(&mut self, name: &[u8], header: &Header, content: &Content) -> Result<(), WriteError> {
        let path = || String::from_utf8_lossy(name).into_owned();
        let length = u32::try_from(content.len())
            .map_err(|_| WriteError::FileTooLarge { path: path(), length: content.len() })?;
        let [major, minor] = header.device;
        let name_length = name.len() as u32 + 1;
        let numbers = [
            header.inode,
            header.mode,
            header.uid,
            header.gid,
            header.links,
            header.time,
            length,
            0,
            0,
            major,
            minor,
            name_length,
            0,
        ];
        let mut text = Vec::with_capacity(HEADER + name.len() + 4);
        text.extend(b"070701");
        for number in numbers {
            text.extend(format!("{number:08x}").into_bytes());
        }
        text.extend(name);
        text.push(0);
        self.bytes(&text)?;
        self.pad(4)?;
        if let Content::Bytes(bytes) = content {
            self.bytes(bytes)?;
        } else {
            self.copy(content, u64::from(length), &path)?;
        }
        self.pad(4)
    }

    fn copy(&mut self, content: &Content, length: u64, path: &dyn Fn() -> String) -> Result<(), WriteError> {
        let failed = |source| WriteError::Read { path: path(), source };
        // An extra byte would show that the file has grown.
        let mut reader = content.open().map_err(failed)?.take(length + 1);
        let mut buffer = vec![0; 128 * 1024];
        let mut copied = 0;
        loop {
            let read = reader.read(&mut buffer).map_err(failed)?;
            copied += read as u64;
            if copied > length || (read == 0 && copied < length) {
                return Err(WriteError::Changed { path: path(), length });
            }
            if read == 0 {
                return Ok(());
            }
            self.bytes(&buffer[..read])?;
        }
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.report.bytes += bytes.len() as u64;
        self.to.write_all(bytes).map_err(WriteError::Write)
    }

    fn pad(&mut self, to: u64) -> Result<(), WriteError> {
        let missing = self.report.bytes.next_multiple_of(to) - self.report.bytes;
        self.bytes(&[0; RECORD as usize][..missing as usize])
    }
}
