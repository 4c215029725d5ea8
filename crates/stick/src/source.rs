//! Opens an image: a file, compressed or not, with its expected digest.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use advice::{Advise, Help};
use diskimage::blockmap::BlockMap;
use diskimage::sparse::SparseReader;
use sha256::{Digest, Hasher, sums};

use crate::refuse::Node;

/// Names of images in an image directory, the better one first: of a sparse file only the data is read.
const NAMES: [&str; 2] = ["disk.img", "disk.img.zst"];

/// The file with the digests of all others.
const SUMS: &str = "SHA256SUMS";

/// The most bytes of `SHA256SUMS` or of a block map that are read.
const MOST: u64 = 64 << 20;

/// The start of a Zstandard frame (RFC 8878, section 3.1.1), and of a skippable one without its lowest four bits.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The reason why an image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Reading failed.
    #[error("reading {path}: {source}")]
    Io {
        /// The path.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// The directory has no image.
    #[error("{0} holds neither disk.img nor disk.img.zst")]
    NoImage(PathBuf),
    /// The file is neither a disk nor compressed with zstd.
    #[error("{path} is {what}, and not a disk image (raw, or compressed by zstd)")]
    Format {
        /// The path.
        path: PathBuf,
        /// The kind of file that it is.
        what: &'static str,
    },
    /// `SHA256SUMS` exists and does not name the image.
    #[error("{sums} does not name {name}: they do not belong together")]
    NotInSums {
        /// Path of the sums.
        sums: PathBuf,
        /// Name of the image.
        name: String,
    },
    /// The block map belongs to another image, or is not valid.
    #[error("the block map {path} cannot be used: {what}")]
    BlockMap {
        /// Path of the block map.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

impl Advise for SourceError {
    fn help(&self) -> Help {
        match self {
            Self::NoImage(_) => "`rocbed build` makes an image".into(),
            Self::NotInSums { .. } => format!("give the digest with --sha256, or remove a stale {SUMS}").into(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "`rocbed build NAME` makes images/NAME; or give a path that exists".into()
            }
            Self::Io { source, .. } => Help::of_path(source),
            Self::Format { .. } | Self::BlockMap { .. } => Help::none(),
        }
    }
}

/// An image file.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    file: File,
    compressed: bool,
    /// Expected SHA-256 of the file as it is, compressed or not; `None` if it is not known.
    pub sha256: Option<Digest>,
    /// The block map, which says which blocks have to be written, if there is one.
    pub map: Option<BlockMap>,
}

impl Source {
    /// Opens an image: a directory that `rocbed build` has filled, or one file. Its expected digest is `sha256`, or
    /// the one in `SHA256SUMS` beside it.
    ///
    /// # Errors
    /// See [`SourceError`].
    pub fn open(path: &Path, sha256: Option<Digest>) -> Result<Self, SourceError> {
        let path = if path.is_dir() {
            let there = NAMES.into_iter().map(|name| path.join(name)).find(|path| path.is_file());
            there.ok_or_else(|| SourceError::NoImage(path.to_owned()))?
        } else {
            path.to_owned()
        };
        let failed = |source| SourceError::Io { path: path.clone(), source };
        let file = File::open(&path).map_err(failed)?;
        let mut start = Vec::new();
        (&file).take(1024).read_to_end(&mut start).map_err(failed)?;
        rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).map_err(|error| failed(error.into()))?;
        let compressed = compressed(&path, &start)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let sums_file = path.with_file_name(SUMS);
        let listed = read_beside(&sums_file)?.map(|text| String::from_utf8_lossy(&text).into_owned());
        let digest_of = |name: &str| sums::find(listed.as_ref()?, name);
        let from_sums = digest_of(&name);
        if listed.is_some() && from_sums.is_none() && sha256.is_none() {
            return Err(SourceError::NotInSums { sums: sums_file, name });
        }
        let sha256 = sha256.or(from_sums);
        let map_name = format!("{}.bmap", name.strip_suffix(".zst").unwrap_or(&name));
        // A map without a digest is not used: blocks that it omits are not written.
        let map = match digest_of(&map_name) {
            Some(digest) => map(&path.with_file_name(map_name), digest)?,
            None => None,
        };
        Ok(Self { path, file, compressed, sha256, map })
    }

    /// The path of the image file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Identifies the image's file, to compare it with the target.
    ///
    /// # Errors
    /// If the file cannot be examined.
    pub fn node(&self) -> io::Result<Node> {
        let metadata = self.file.metadata()?;
        Ok(Node::of(metadata.file_type(), &metadata))
    }

    /// Reads the disk's bytes from first to last. Reading fails at the very end, with `InvalidData`, if the digest is
    /// not the expected one: the digest is only checked by reading to the end.
    ///
    /// # Errors
    /// If the decompressor cannot be started.
    pub fn reader(&self) -> io::Result<Box<dyn Read + Send + '_>> {
        let checked = Checked {
            inner: SparseReader::new(&self.file)?,
            expected: self.sha256,
            hash: Hasher::new(),
            name: self.path.display().to_string(),
        };
        if self.compressed {
            return Ok(Box::new(zstd::Decoder::new(checked)?));
        }
        Ok(Box::new(checked))
    }
}

fn compressed(path: &Path, start: &[u8]) -> Result<bool, SourceError> {
    let format = |what| Err(SourceError::Format { path: path.to_owned(), what });
    match start {
        [] => format("empty"),
        [b'M', b'Z', ..] => format("an EFI program"),
        [0x1f, 0x8b, ..] => format("compressed by gzip"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => format("compressed by xz"),
        [b'B', b'Z', b'h', ..] => format("compressed by bzip2"),
        [b'P', b'K', 3, 4, ..] => format("a zip archive"),
        [b'Q', b'F', b'I', 0xfb, ..] => format("in QEMU's qcow2 format"),
        [b'0', b'7', b'0', b'7', ..] => format("an initramfs"),
        _ if start.starts_with(&ZSTD) => Ok(true),
        [low, 0x2a, 0x4d, 0x18, ..] if low & 0xf0 == 0x50 => Ok(true),
        _ if start.get(510..512) == Some(&[0x55, 0xaa]) => Ok(false),
        _ => format("something without a partition table"),
    }
}

fn read_beside(path: &Path) -> Result<Option<Vec<u8>>, SourceError> {
    let failed = |source| SourceError::Io { path: path.to_owned(), source };
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(failed)?,
    };
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}

fn map(path: &Path, digest: Digest) -> Result<Option<BlockMap>, SourceError> {
    let bad = |what: String| SourceError::BlockMap { path: path.to_owned(), what };
    let Some(bytes) = read_beside(path)? else { return Ok(None) };
    if Digest::of(&bytes) != digest {
        return Err(bad(format!("its digest is not the one in {SUMS}")));
    }
    BlockMap::parse(&bytes).map(Some).map_err(|error| bad(error.to_string()))
}

/// A reader that compares the digest at the end.
struct Checked<R> {
    inner: R,
    expected: Option<Digest>,
    hash: Hasher,
    name: String,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let Some(expected) = self.expected else { return Ok(count) };
        self.hash.update(buffer.get(..count).unwrap_or_default());
        if count == 0 && !buffer.is_empty() && self.hash.clone().finish() != expected {
            let text =
                format!("{} is damaged or was changed: its digest is not the one that it should have", self.name);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(count)
    }
}
