//! Input of an inspection: a file, a block device or a pipe, zstd-compressed or not.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _};
use std::path::Path;

use advice::{Advice, WithHelp as _};
use anyhow::{Context as _, Result, bail, ensure};

use crate::image_path;

/// Path that stands for stdin.
pub(super) const STDIN: &str = "-";

/// The start of a Zstandard frame (RFC 8878, section 3.1.1).
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Limit on the size of an unpacked image, in bytes.
const LARGEST: u64 = 256 << 30;

/// Number of bytes needed to recognise the type of a file.
const START: u64 = 8192;

/// Opens the input as a seekable file.
pub(super) fn open(path: &Path) -> Result<File> {
    if path.as_os_str() == STDIN {
        ensure!(
            !io::stdin().is_terminal(),
            Advice::new("nothing comes from stdin", "`-` is for `… | rocbed inspect -`")
        );
        return unpacked(io::stdin().lock(), path);
    }
    let file = image_path::open(path)?;
    let kind = file.metadata().with_context(|| format!("examining {}", path.display()))?.file_type();
    if kind.is_fifo() {
        return unpacked(file, path);
    }
    if !kind.is_file() && !kind.is_block_device() {
        bail!("{} is neither a file nor a disk", path.display());
    }
    let first = start(&file).with_context(|| format!("reading {}", path.display()))?;
    if first.starts_with(&ZSTD) { unpacked(file, path) } else { Ok(file) }
}

/// Reads the first bytes, and seeks back to the start.
pub(super) fn start(mut file: &File) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    file.rewind()?;
    file.take(START).read_to_end(&mut start)?;
    file.rewind()?;
    Ok(start)
}

/// Length in bytes, also of a device, whose metadata has none.
pub(super) fn length(mut file: &File) -> io::Result<u64> {
    let length = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    Ok(length)
}

/// Copies a stream into a temporary file, which is seekable. It is decompressed if it is zstd-compressed.
fn unpacked(mut stream: impl Read, path: &Path) -> Result<File> {
    let name = if path.as_os_str() == STDIN { "stdin".to_owned() } else { path.display().to_string() };
    let mut first = Vec::new();
    let reading = || format!("reading {name}");
    stream.by_ref().take(ZSTD.len() as u64).read_to_end(&mut first).with_context(reading)?;
    let is_compressed = first == ZSTD;
    let stream = io::Cursor::new(first).chain(stream);
    let mut file = tempfile::tempfile().context("making a temporary file")?;
    let copied = if is_compressed {
        copy(zstd::Decoder::new(stream).with_context(reading)?, &mut file)
    } else {
        copy(stream, &mut file)
    };
    copied
        .with_context(|| format!("unpacking {name} into a temporary file in {}", std::env::temp_dir().display()))
        .help("TMPDIR names another directory, on a larger disk")?;
    Ok(file)
}

/// Copies, leaving holes for zeros.
fn copy(from: impl Read, to: &mut File) -> io::Result<()> {
    let mut from = from.take(LARGEST + 1);
    let (mut buffer, mut length) = (vec![0; 1 << 20], 0);
    loop {
        let count = from.read(&mut buffer)?;
        let bytes = buffer.get(..count).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        if bytes.iter().any(|byte| *byte != 0) {
            to.write_all_at(bytes, length)?;
        }
        length += count as u64;
        if length > LARGEST {
            return Err(io::Error::other(format!("it has over {LARGEST} bytes, more than any image")));
        }
    }
    to.set_len(length)?;
    to.rewind()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_is_unpacked_wherever_it_comes_from() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let mut bytes = vec![0; 3 << 20];
        bytes[2 << 20..(2 << 20) + 4].copy_from_slice(b"data");
        let (plain, compressed) = (directory.path().join("plain"), directory.path().join("compressed"));
        std::fs::write(&plain, &bytes)?;
        std::fs::write(&compressed, zstd::encode_all(&bytes[..], 1)?)?;
        let read = |mut file: File| -> Result<Vec<u8>> {
            let mut all = Vec::new();
            file.read_to_end(&mut all)?;
            Ok(all)
        };
        for path in [&plain, &compressed] {
            assert!(read(open(path)?)? == bytes, "{}", path.display());
            assert!(read(unpacked(File::open(path)?, Path::new(STDIN))?)? == bytes, "{}", path.display());
        }
        assert_eq!(length(&open(&compressed)?)?, 3 << 20);
        Ok(())
    }

    #[test]
    fn what_is_no_file_is_refused_and_a_damaged_one_is_told() -> Result<()> {
        assert!(
            open(Path::new("/dev/null")).is_err_and(|error| error.to_string().contains("neither a file nor a disk"))
        );
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("cut.zst");
        let whole = zstd::encode_all(&b"some text"[..], 1)?;
        std::fs::write(&path, &whole[..whole.len() - 3])?;
        let told = open(&path).map_err(|error| error.to_string()).unwrap_err();
        assert!(told.starts_with(&format!("unpacking {} into", path.display())), "{told}");
        Ok(())
    }
}
