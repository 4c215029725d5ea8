//! Opens images, disks and sticks that the user named, with errors that say how one gets an image.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use advice::{Advice, Help, WithHelp as _};
use anyhow::{Context as _, Result};

/// Opens it for reading.
pub fn open(path: &Path) -> Result<File> {
    open_with(File::options().read(true), path)
}

/// Opens it.
pub fn open_with(options: &OpenOptions, path: &Path) -> Result<File> {
    let opened = options.open(path);
    let help = opened.as_ref().err().map(|error| help(error, path)).unwrap_or_default();
    opened.with_context(|| format!("opening {}", path.display())).help(help)
}

/// The error that there is nothing at this path.
pub fn missing(path: &Path) -> Advice {
    Advice::new(format!("there is no {}", path.display()), how(path))
}

fn help(error: &io::Error, path: &Path) -> Help {
    match error.kind() {
        ErrorKind::NotFound => how(path),
        ErrorKind::PermissionDenied if is_disk(path) => "a whole disk needs root: sudo".into(),
        _ => Help::of_path(error),
    }
}

/// How one gets what should be at a path: a disk, or an image.
fn how(path: &Path) -> Help {
    if path.starts_with("/dev") {
        "`rocbed flash --list` shows the disks that there are".into()
    } else {
        "`rocbed build NAME` makes images/NAME; or give a path that exists".into()
    }
}

fn is_disk(path: &Path) -> bool {
    path.metadata().is_ok_and(|about| about.file_type().is_block_device())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_says_how_to_make_an_image_or_to_find_a_disk() {
        let told = |path: &str| crate::error::report(&open(Path::new(path)).unwrap_err()).to_string();
        let image = told("images/nowhere");
        assert!(image.starts_with("opening images/nowhere\n  caused by: No such file"), "{image}");
        assert!(image.contains("help: `rocbed build NAME` makes images/NAME"), "{image}");
        assert!(told("/dev/nowhere").contains("help: `rocbed flash --list`"));
    }
}
