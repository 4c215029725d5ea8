//! [`Sysfs`]: reads the kernel's sysfs, or a copy of it.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The most that is read of an attribute, in bytes. Real attributes are at most a page; files in a copy may be
/// longer.
const MAX_ATTRIBUTE: u64 = 64 << 10;
/// The most directory entries that are read.
const MAX_ENTRIES: usize = 4096;

/// A sysfs tree.
#[derive(Debug, Clone)]
pub struct Sysfs {
    root: PathBuf,
}

impl Default for Sysfs {
    fn default() -> Self {
        Self::new("/sys")
    }
}

impl Sysfs {
    /// The tree below this directory: `/sys`, or a copy of it.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The tree's root directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether this file or directory exists.
    pub fn has(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// The bytes of an attribute, at most 64 KiB of them.
    ///
    /// Fails as the kernel does, and for anything but a regular file: opening a pipe or a device could block or have
    /// an effect.
    pub fn bytes(&self, path: &str) -> io::Result<Vec<u8>> {
        let path = self.root.join(path);
        if !path.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(MAX_ATTRIBUTE).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The text of an attribute; bytes that are not UTF-8 are replaced.
    pub fn text(&self, path: &str) -> io::Result<String> {
        self.bytes(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The text of an attribute without surrounding blanks and control characters; `None` if it is empty or can't be
    /// read. Most attributes of a GPU exist only for some chips and drivers, or fail to read on the others, so one
    /// that can't be read counts as missing.
    pub fn value(&self, path: &str) -> Option<String> {
        let text: String = self.text(path).ok()?.trim().chars().filter(|char| !char.is_control()).collect();
        (!text.is_empty()).then_some(text)
    }

    /// An attribute as a decimal number.
    pub fn decimal(&self, path: &str) -> Option<u64> {
        self.value(path)?.parse().ok()
    }

    /// An attribute as a hexadecimal number, with or without `0x`.
    pub fn hexadecimal(&self, path: &str) -> Option<u64> {
        let value = self.value(path)?;
        let digits = value.strip_prefix("0x").unwrap_or(&value);
        // `from_str_radix` would accept a sign.
        digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u64::from_str_radix(digits, 16).ok())?
    }

    /// Names in a directory, sorted; empty if it can't be read. Names that are not UTF-8 are ignored: the kernel has
    /// none.
    pub fn list(&self, path: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.root.join(path)) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.take(MAX_ENTRIES).filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Names in a directory that are numbers, sorted.
    pub fn numbered(&self, path: &str) -> Vec<u32> {
        let mut numbers: Vec<u32> = self.list(path).iter().filter_map(|name| name.parse().ok()).collect();
        numbers.sort_unstable();
        numbers
    }

    /// The last component of a symbolic link's target: the name of a device's driver. A copy without links may have
    /// the target as the text of a file.
    pub(crate) fn link_name(&self, path: &str) -> Option<String> {
        let link = std::fs::read_link(self.root.join(path)).ok();
        let target = link.or_else(|| self.value(path).filter(|text| text.contains('/')).map(PathBuf::from))?;
        Some(target.file_name()?.to_str()?.to_owned())
    }
}
