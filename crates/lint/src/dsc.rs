//! Opens a source package by its `.dsc`: unpacks the part with `debian/` in it, checked against the digest.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use bundle::{Rules, regular, source_rules};
use debian::compression::Compression;
use debian::dsc::{Dsc, DscFile};
use sha256::Digest;
use tempfile::TempDir;

use crate::directory::Directory;

/// Longest `.dsc`, in bytes.
const LONGEST_DSC: u64 = 1 << 20;
/// Most bytes of the part that is unpacked, packed and unpacked.
const LARGEST: u64 = 1 << 30;
/// What the part may unpack to.
const RULES: Rules = source_rules(LARGEST, 200_000, 64 << 20);

/// Why a source package cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("reading {path}")]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The `.dsc` is not one.
    #[error("{path}: {reason}")]
    Dsc {
        /// Path of the `.dsc`.
        path: PathBuf,
        /// What is wrong, in words.
        reason: String,
    },
    /// A file is not what the `.dsc` says.
    #[error("{path} is not the file that the .dsc names: its SHA-256 differs")]
    Digest {
        /// Path of the file.
        path: PathBuf,
    },
    /// A part cannot be unpacked.
    #[error("unpacking {path}: {reason}")]
    Unpack {
        /// Path of the part.
        path: PathBuf,
        /// What is wrong, in words.
        reason: String,
    },
}

/// A source package that was unpacked, as far as the checks need it.
#[derive(Debug)]
pub struct Opened {
    tree: Directory,
    _unpacked: TempDir,
}

impl Opened {
    /// The tree.
    pub fn tree(&self) -> &Directory {
        &self.tree
    }
}

/// Opens a source package of format 3.0 (quilt) or 3.0 (native), or a native one of 1.0. Signatures are not checked:
/// nothing of it is run.
///
/// # Errors
///
/// If a file is missing, damaged, too large, or of another format.
pub fn open(dsc: &Path) -> Result<Opened, Error> {
    let directory = dsc.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = Path::new(dsc.file_name().unwrap_or_default());
    let text = regular::read_beneath(directory, name, LONGEST_DSC)
        .map_err(|source| Error::Read { path: dsc.to_owned(), source })?;
    let wrong = |reason: String| Error::Dsc { path: dsc.to_owned(), reason };
    let part = part(&text).map_err(wrong)?;
    let path = directory.join(&part.name);
    let read = |source| Error::Read { path: path.clone(), source };
    let mut file = regular::open_beneath(directory, Path::new(&part.name)).map_err(read)?;
    if digest(&mut file).map_err(read)? != part.sha256 {
        return Err(Error::Digest { path });
    }
    let unpacked = tempfile::tempdir().map_err(read)?;
    let failed = |reason: String| Error::Unpack { path: path.clone(), reason };
    let reader = decompress(file).map_err(failed)?;
    bundle::unpack_source(reader, &RULES, unpacked.path()).map_err(|error| failed(error.to_string()))?;
    let tree = top(unpacked.path()).ok_or_else(|| failed("there is no debian/control in it".into()))?;
    Ok(Opened { tree, _unpacked: unpacked })
}

/// Name and SHA-256 of the file with `debian/` in it.
fn part(dsc: &[u8]) -> Result<DscFile, String> {
    let Dsc { format, files, .. } = Dsc::parse(dsc).map_err(|error| error.to_string())?;
    let wanted = |name: &str| {
        let is_tar = name.contains(".tar.") && !name.ends_with(".asc");
        is_tar && (name.contains(".debian.tar.") || !name.contains(".orig"))
    };
    files.into_iter().find(|file| wanted(&file.name)).ok_or_else(|| {
        format!("it names no tar file with debian/ in it, as the formats 3.0 (quilt) and 3.0 (native) do; it is of format {format}: unpack it with dpkg-source -x, and name the directory")
    })
}

fn digest(file: &mut File) -> io::Result<Digest> {
    let (digest, _) = Digest::of_reader(file.take(LARGEST))?;
    file.rewind()?;
    Ok(digest)
}

/// Decompresses a file by its first bytes.
fn decompress(mut file: File) -> Result<Box<dyn Read + Send>, String> {
    let mut start = Vec::new();
    (&mut file).take(6).read_to_end(&mut start).and_then(|_| file.rewind()).map_err(|error| error.to_string())?;
    if start.starts_with(b"BZh") {
        return Err("it is compressed with bzip2".into());
    }
    Compression::detect(&start).decoder(file).map_err(|error| error.to_string())
}

/// The tree in an unpacked part: itself, or the one directory in it.
fn top(unpacked: &Path) -> Option<Directory> {
    if let Ok(tree) = Directory::new(unpacked) {
        return Some(tree);
    }
    let entries = std::fs::read_dir(unpacked).ok()?;
    // Links are not followed: they could lead anywhere.
    let directories = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    directories.take(100).find_map(|entry| Directory::new(&entry.path()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_with_debian_in_it_is_found_in_signed_and_plain_files() {
        let (aa, bb, cc) = ("aa".repeat(32), "bb".repeat(32), "CC".repeat(32));
        let quilt = format!(
            "Format: 3.0 (quilt)\nChecksums-Sha256:\n {aa} 1 a_1.orig.tar.gz\n {bb} 2 a_1.orig.tar.gz.asc\n {cc} 3 a_1-1.debian.tar.xz\nFiles:\n x 1 y\n"
        );
        let signed = format!(
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{quilt}\n-----BEGIN PGP SIGNATURE-----\n\nx\n"
        );
        for text in [&quilt, &signed] {
            let found = DscFile { name: "a_1-1.debian.tar.xz".into(), sha256: Digest::from([0xcc; 32]), size: 3 };
            assert_eq!(part(text.as_bytes()), Ok(found));
        }
        let part_of = |text: String| part(text.as_bytes());
        assert_eq!(part_of(format!("Checksums-Sha256:\n {aa} 1 a_1.tar.xz\n")).unwrap().name, "a_1.tar.xz");
        let old = format!("Format: 1.0\nChecksums-Sha256:\n {aa} 1 a_1.orig.tar.gz\n {bb} 1 a.diff.gz\n");
        assert!(part_of(old).unwrap_err().contains("format 1.0"));
        assert!(part_of(format!("Checksums-Sha256:\n {aa} 1 ../a.debian.tar.xz\n")).is_err());
        assert!(part(b"").is_err());
    }
}
