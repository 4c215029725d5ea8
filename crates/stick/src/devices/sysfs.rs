//! Reads small files of `/sys/class/block`.

use std::fs;
use std::path::{Path, PathBuf};

use super::Transport;

/// A block device's directory in sysfs.
pub(super) struct Directory {
    /// The real path, below `devices`.
    path: PathBuf,
    uevent: String,
}

impl Directory {
    /// Opens it; `None` if the device is gone.
    pub(super) fn open(path: &Path) -> Option<Self> {
        let path = path.canonicalize().ok()?;
        let uevent = fs::read_to_string(path.join("uevent")).ok()?;
        Some(Self { path, uevent })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A value of `uevent`.
    pub(super) fn field(&self, key: &str) -> Option<String> {
        self.uevent.lines().find_map(|line| Some(line.strip_prefix(key)?.strip_prefix('=')?.to_owned()))
    }

    /// A file's text, without surrounding blanks and control characters; `None` if it is empty.
    pub(super) fn text(&self, file: &str) -> Option<String> {
        clean(&fs::read(self.path.join(file)).ok()?)
    }

    pub(super) fn number(&self, file: &str) -> Option<u64> {
        self.text(file)?.parse().ok()
    }

    /// Names in a directory such as `holders`, sorted.
    pub(super) fn names(&self, directory: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path.join(directory)) else { return Vec::new() };
        let mut names: Vec<_> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// The first of these files, here or in the directory of the USB device above.
    pub(super) fn first_text(&self, files: &[&str], usb_file: &str) -> Option<String> {
        let usb = || clean(&fs::read(self.usb_device()?.join(usb_file)).ok()?);
        files.iter().find_map(|file| self.text(file)).or_else(usb)
    }

    fn usb_device(&self) -> Option<PathBuf> {
        self.path.ancestors().find(|path| path.join("idVendor").exists()).map(Path::to_path_buf)
    }

    /// SCSI's unit serial number page (SPC-4, section 7.8.18): four bytes, then text.
    pub(super) fn serial_page(&self) -> Option<String> {
        clean(fs::read(self.path.join("device/vpd_pg80")).ok()?.get(4..)?)
    }

    /// The transport, derived from the device's path.
    pub(super) fn transport(&self, name: &str) -> Transport {
        let has = |part: &str| self.path.components().any(|component| starts(component, part));
        let named = |kinds: &[&str]| kinds.iter().any(|kind| name.starts_with(kind));
        if named(&["dm-", "md", "bcache"]) {
            Transport::Mapped
        } else if named(&["loop", "nbd", "ram", "zram"]) {
            Transport::Virtual
        } else if has("usb") {
            Transport::Usb
        } else if named(&["mmcblk"]) {
            Transport::Mmc
        } else if named(&["nvme"]) {
            Transport::Nvme
        } else if has("virtio") {
            Transport::Virtio
        } else if has("ata") {
            Transport::Ata
        } else if self.path.join("device/scsi_level").exists() {
            Transport::Scsi
        } else {
            Transport::Other
        }
    }
}

/// Whether a path component is that of a bus: `usb1`, `ata3`, `virtio0`.
fn starts(component: std::path::Component<'_>, bus: &str) -> bool {
    let name = component.as_os_str().to_string_lossy();
    let number = name.strip_prefix(bus).filter(|rest| !rest.is_empty());
    number.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
}

fn clean(bytes: &[u8]) -> Option<String> {
    let text: String = String::from_utf8_lossy(bytes).chars().filter(|char| !char.is_control()).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
