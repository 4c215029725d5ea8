//! The image that virtual machines start from.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use fsimage::ext4::{ReadError, Reader};

use crate::Error;
use crate::testbed::suggested_user;

/// Files of an image that a machine is started from. `SHA256SUMS` is written last, so an image with it is complete.
const FILES: [&str; 5] = ["vmlinuz", "initrd.img", "cmdline", "root.img", "SHA256SUMS"];

/// systemd, in images that have it.
const SYSTEMD: &str = "usr/lib/systemd/systemd";

/// Most bytes that are read of the image's `/etc/passwd`.
const PASSWD: u64 = 1 << 20;

/// An image.
#[derive(Debug)]
pub(crate) struct Image {
    directory: PathBuf,
    /// Its kernel command line.
    pub(crate) cmdline: String,
    /// Whether it has systemd, which is the machine's init then.
    pub(crate) has_systemd: bool,
    /// The user to suggest for tests.
    pub(crate) user: Option<String>,
}

impl Image {
    /// Looks at an image. `user` is the user to suggest, if that was said.
    ///
    /// # Errors
    /// If it is not a complete image, or has no such user.
    pub(crate) fn open(directory: &Path, user: Option<&str>) -> Result<Self, Error> {
        let wrong = |reason: String| Error::Image { image: directory.to_owned(), reason };
        let found = directory.canonicalize().map_err(|error| wrong(error.to_string()))?;
        if found.is_file() {
            return Err(wrong("it is a file; a machine is started from the directory that it is in".into()));
        }
        if let Some(missing) = FILES.into_iter().find(|name| !found.join(name).is_file()) {
            return Err(wrong(format!("there is no {missing} in it")));
        }
        let cmdline = fs::read_to_string(found.join("cmdline")).map_err(|error| wrong(format!("cmdline: {error}")))?;
        let root = File::open(found.join("root.img")).map_err(|error| wrong(format!("root.img: {error}")))?;
        let unreadable = |error: ReadError| wrong(format!("root.img: {error}"));
        let mut root = Reader::open(root, 0).map_err(unreadable)?;
        let has_systemd = match root.open_file(SYSTEMD) {
            Ok(_) => true,
            Err(ReadError::NotFound(_)) => false,
            Err(error) => return Err(unreadable(error)),
        };
        let mut passwd = String::new();
        let file = root.open_file("etc/passwd").map_err(unreadable)?;
        let read = file.take(PASSWD).read_to_string(&mut passwd);
        read.map_err(|error: io::Error| wrong(format!("/etc/passwd in root.img: {error}")))?;
        let user = suggested_user(&passwd, user)?;
        Ok(Self { directory: found, cmdline: cmdline.trim().to_owned(), has_systemd, user })
    }

    /// Path of one of its files.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_an_image_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let tell = |path: &Path| Image::open(path, None).unwrap_err().in_one_line();
        let said = tell(&directory.path().join("none"));
        assert!(said.contains("is not an image that a machine can be started from: No such file"), "{said}");
        assert!(said.ends_with("make one with `rocbed build RECIPE`, and name its directory: images/RECIPE"), "{said}");
        assert!(tell(directory.path()).contains("there is no vmlinuz in it"));
        for name in FILES {
            fs::write(directory.path().join(name), "").unwrap();
        }
        assert!(tell(&directory.path().join("root.img")).contains("the directory that it is in"));
        assert!(tell(directory.path()).contains("root.img: "));
    }
}
