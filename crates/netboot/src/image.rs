//! Opens an image directory and compresses its root.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use chunked::{Header, Index, WriteError};
use sha256::{Digest, sums};

use crate::error::NetbootError;

/// The compressed root's name, in the image directory and on the server.
pub const ROOT: &str = "root.img.zst";

/// The name of the root's index, in the same places.
pub const INDEX: &str = "root.index";

/// Bytes of the root that are compressed together: with more, a start fetches more that it does not read; with fewer, it
/// asks more often and compresses less.
const CHUNK: u32 = 128 << 10;

/// An image that can be served.
#[derive(Debug, Clone)]
pub struct Image {
    /// The directory with its files.
    pub directory: PathBuf,
    /// The kernel's command line, which names the root by its UUID.
    pub cmdline: String,
    /// SHA-256 of the uncompressed root.
    pub sha256: Digest,
    /// Path of the compressed root, a chunk file (crate `chunked`).
    pub root: PathBuf,
    /// The index of its chunks, as a file.
    pub index: Vec<u8>,
}

impl Image {
    /// Opens an image directory; compresses its root unless that was done since it was built. `spare` is the
    /// directory for the compressed root if the image's cannot be written to. `progress` gets numbers of bytes done.
    ///
    /// # Errors
    /// If the image is not complete, or the root does not match its digest.
    pub fn open(directory: &Path, spare: &Path, progress: &mut dyn FnMut(u64)) -> Result<Self, NetbootError> {
        let missing = |name| NetbootError::Incomplete { directory: directory.to_owned(), name };
        for name in ["SHA256SUMS", "vmlinuz", "initrd.img", "netboot.img", "root.img"] {
            if !directory.join(name).is_file() {
                return Err(missing(name));
            }
        }
        let read = |name: &str| {
            let path = directory.join(name);
            fs::read_to_string(&path).map_err(NetbootError::io("reading", path))
        };
        let sha256 = sums::find(&read("SHA256SUMS")?, "root.img").ok_or_else(|| missing("digest of root.img"))?;
        let mut image = Self {
            directory: directory.to_owned(),
            cmdline: read("cmdline")?.trim().to_owned(),
            sha256,
            root: directory.join(ROOT),
            index: Vec::new(),
        };
        if let Some(index) = image.present() {
            image.index = index;
            return Ok(image);
        }
        image.index = match image.compress(progress) {
            Err(NetbootError::Io { action: "writing", .. }) => {
                image.root = spare.join(ROOT);
                image.compress(progress)?
            }
            other => other?,
        };
        Ok(image)
    }

    /// SHA-256 of the index.
    pub fn index_sha256(&self) -> Digest {
        Digest::of(&self.index)
    }

    /// Both archives of the initramfs, concatenated, as the kernel accepts them.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn initramfs(&self) -> Result<Vec<u8>, NetbootError> {
        let mut bytes = Vec::new();
        for name in ["initrd.img", "netboot.img"] {
            let path = self.directory.join(name);
            bytes.extend(fs::read(&path).map_err(NetbootError::io("reading", path))?);
        }
        Ok(bytes)
    }

    /// The index of the compressed root, if both exist and are of this root. All of it is read: machines trust the index.
    fn present(&self) -> Option<Vec<u8>> {
        let bytes = fs::read(self.root.with_file_name(INDEX)).ok()?;
        let index = Index::parse(&bytes).ok()?;
        let file = File::open(&self.root).ok()?;
        let mut start = [0; Header::LENGTH];
        file.read_exact_at(&mut start, 0).ok()?;
        let header = Header { size: index.size(), sha256: self.sha256 };
        if Header::parse(&start) != Some(header) || file.metadata().ok()?.len() != index.file_length() {
            return None;
        }
        (chunked::verify(&index, &file).ok()? == self.sha256).then_some(bytes)
    }

    /// Compresses the root, in chunks; returns the index.
    fn compress(&self, progress: &mut dyn FnMut(u64)) -> Result<Vec<u8>, NetbootError> {
        let source = self.directory.join("root.img");
        let mut input = File::open(&source).map_err(NetbootError::io("opening", &source))?;
        let directory = self.root.parent().unwrap_or(Path::new("."));
        let writing = || NetbootError::io("writing", &self.root);
        let temporary = || tempfile::Builder::new().prefix(".part-").tempfile_in(directory).map_err(writing());
        let (mut output, mut index_file) = (temporary()?, temporary()?);
        let index = chunked::write(&mut input, output.as_file_mut(), CHUNK, progress).map_err(|error| match error {
            WriteError::Read(error) => NetbootError::io("reading", &source)(error),
            WriteError::Write(error) | WriteError::Compress(error) => writing()(error),
            WriteError::Index(error) => writing()(io::Error::other(error)),
        })?;
        if index.sha256() != &self.sha256 {
            return Err(NetbootError::Changed { path: source });
        }
        let index = index.to_bytes();
        index_file.write_all(&index).map_err(writing())?;
        // The root last: an index without its root counts for nothing.
        for (file, name) in [(index_file, INDEX), (output, ROOT)] {
            // Any user who may read the image may read this, which is also served to every client.
            let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
            file.as_file().set_permissions(readable).map_err(writing())?;
            file.persist(self.root.with_file_name(name)).map_err(|error| writing()(error.error))?;
        }
        Ok(index)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An image directory with this root.
    pub(crate) fn directory(root: &[u8]) -> io::Result<tempfile::TempDir> {
        let directory = tempfile::tempdir()?;
        let write = |name: &str, bytes: &[u8]| fs::write(directory.path().join(name), bytes);
        write("vmlinuz", b"kernel")?;
        write("initrd.img", b"one")?;
        write("netboot.img", b"two")?;
        write("cmdline", b"root=UUID=1-2 quiet\n")?;
        write("root.img", root)?;
        let digest = Digest::of(root);
        write("SHA256SUMS", format!("{}  cmdline\n{digest}  root.img\n", "0".repeat(64)).as_bytes())?;
        Ok(directory)
    }

    #[test]
    fn the_root_is_compressed_once() -> Result<(), Box<dyn std::error::Error>> {
        let root = vec![7; 3 << 20];
        let directory = directory(&root)?;
        let mut done = 0;
        let image = Image::open(directory.path(), directory.path(), &mut |count| done += count)?;
        assert_eq!(done, root.len() as u64);
        assert!(zstd::decode_all(File::open(&image.root)?)? == root, "decoders pass over the header");
        assert_eq!(Index::parse(&image.index)?.size(), root.len() as u64);
        assert_eq!(image.initramfs()?, b"onetwo");
        let again = Image::open(directory.path(), directory.path(), &mut |_| panic!("compressed again"))?;
        assert_eq!(again.index, image.index);
        // Cut, as by a full disk.
        File::options().write(true).open(&image.root)?.set_len(100)?;
        let image = Image::open(directory.path(), directory.path(), &mut |_| {})?;
        assert!(zstd::decode_all(File::open(&image.root)?)? == root);
        // Another root in its place, with an index that names it as the right one.
        let other = vec![8; 3 << 20];
        let forged = tests::directory(&other)?;
        let forged = Image::open(forged.path(), forged.path(), &mut |_| {})?;
        let mut index = forged.index.clone();
        index[24..56].copy_from_slice(image.sha256.as_bytes());
        let mut file = fs::read(&forged.root)?;
        file[16..48].copy_from_slice(image.sha256.as_bytes());
        fs::write(directory.path().join(INDEX), index)?;
        fs::write(directory.path().join(ROOT), file)?;
        let image = Image::open(directory.path(), directory.path(), &mut |_| {})?;
        assert!(zstd::decode_all(File::open(&image.root)?)? == root);
        // Another root with the old one's compressed file.
        let other = tests::directory(b"other")?;
        for name in [ROOT, INDEX] {
            fs::copy(directory.path().join(name), other.path().join(name))?;
        }
        let image = Image::open(other.path(), other.path(), &mut |_| {})?;
        assert_eq!(zstd::decode_all(File::open(&image.root)?)?, b"other");
        Ok(())
    }

    #[test]
    fn what_is_wrong_with_an_image_is_said() -> Result<(), Box<dyn std::error::Error>> {
        let directory = directory(b"root")?;
        fs::write(directory.path().join("root.img"), "ruin")?;
        let error = Image::open(directory.path(), directory.path(), &mut |_| {}).unwrap_err();
        assert!(matches!(error, NetbootError::Changed { .. }), "{error}");
        assert!(!directory.path().join(ROOT).exists());
        fs::remove_file(directory.path().join("netboot.img"))?;
        let error = Image::open(directory.path(), directory.path(), &mut |_| {}).unwrap_err().to_string();
        assert!(error.contains("has no netboot.img"), "{error}");
        Ok(())
    }
}
