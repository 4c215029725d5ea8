//! Opens an image directory and compresses its root.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha256::{Digest, Hasher, sums};

use crate::error::NetbootError;

/// The compressed root's name, in the image directory and on the server.
pub const ROOT: &str = "root.img.zst";

/// The compression level: most of the gain for a tenth of the time.
const LEVEL: i32 = 6;

/// A skippable frame (RFC 8878, section 3.1.2), which holds the digest of the uncompressed content.
const MARK: [u8; 8] = [0x5a, 0x2a, 0x4d, 0x18, 32, 0, 0, 0];

/// An image that can be served.
#[derive(Debug, Clone)]
pub struct Image {
    /// The directory with its files.
    pub directory: PathBuf,
    /// The kernel's command line, which names the root by its UUID.
    pub cmdline: String,
    /// SHA-256 of the uncompressed root.
    pub sha256: Digest,
    /// Path of the compressed root.
    pub root: PathBuf,
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
        };
        if !image.is_compressed() {
            match image.compress(progress) {
                Err(NetbootError::Io { action: "writing", .. }) => {
                    image.root = spare.join(ROOT);
                    image.compress(progress)?;
                }
                other => other?,
            }
        }
        Ok(image)
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

    /// Whether the compressed root exists and belongs to this root.
    fn is_compressed(&self) -> bool {
        let end = || -> io::Result<[u8; 40]> {
            let mut file = File::open(&self.root)?;
            file.seek(SeekFrom::End(-40))?;
            let mut end = [0; 40];
            file.read_exact(&mut end)?;
            Ok(end)
        };
        end().is_ok_and(|end| end[..8] == MARK && end[8..] == *self.sha256.as_bytes())
    }

    fn compress(&self, progress: &mut dyn FnMut(u64)) -> Result<(), NetbootError> {
        let source = self.directory.join("root.img");
        let mut input = File::open(&source).map_err(NetbootError::io("opening", &source))?;
        let length = input.metadata().map_err(NetbootError::io("examining", &source))?.len();
        let directory = self.root.parent().unwrap_or(Path::new("."));
        let writing = || NetbootError::io("writing", &self.root);
        let mut output = tempfile::Builder::new().prefix(".part-").tempfile_in(directory).map_err(writing())?;
        let mut encoder = zstd::Encoder::new(output.as_file_mut(), LEVEL).map_err(writing())?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let prepared = encoder
            .set_pledged_src_size(Some(length))
            .and_then(|()| encoder.include_contentsize(true))
            .and_then(|()| encoder.include_checksum(true))
            .and_then(|()| encoder.multithread(u32::try_from(threads).unwrap_or(1)));
        prepared.map_err(writing())?;
        let (mut hash, mut buffer) = (Hasher::new(), vec![0; 1 << 20]);
        loop {
            let count = input.read(&mut buffer).map_err(NetbootError::io("reading", &source))?;
            let bytes = buffer.get(..count).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            hash.update(bytes);
            encoder.write_all(bytes).map_err(writing())?;
            progress(count as u64);
        }
        encoder.finish().map_err(writing())?;
        let digest = hash.finish();
        if digest != self.sha256 {
            return Err(NetbootError::Changed { path: source });
        }
        output.write_all(&[&MARK[..], digest.as_bytes()].concat()).map_err(writing())?;
        // Any user who may read the image may read this, which is also served to every client.
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        output.as_file().set_permissions(readable).map_err(writing())?;
        output.persist(&self.root).map_err(|error| writing()(error.error))?;
        Ok(())
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
        assert!(zstd::decode_all(File::open(&image.root)?)? == root, "decoders pass over the mark");
        assert_eq!(image.initramfs()?, b"onetwo");
        Image::open(directory.path(), directory.path(), &mut |_| panic!("compressed again"))?;
        // Another root with the old one's compressed file.
        let other = tests::directory(b"other")?;
        fs::copy(&image.root, other.path().join(ROOT))?;
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
