//! Finds out which block devices of a machine are in use by mounts and swap.

use std::path::PathBuf;

/// All mounts and swap areas.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uses {
    /// Mounts of block devices.
    pub mounts: Vec<Mount>,
    /// Paths of swap devices and files.
    pub swaps: Vec<PathBuf>,
}

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// `MAJOR:MINOR`; not that of a device if a file system has several (btrfs).
    pub number: String,
    /// The mount point.
    pub at: String,
    /// The source: `/dev/sda1`.
    pub source: String,
}

impl Uses {
    /// Parses `/proc/self/mountinfo` (`proc_pid_mountinfo(5)`) and `/proc/swaps` (`proc_swaps(5)`).
    pub fn parse(mountinfo: &str, swaps: &str) -> Self {
        let mounts = mountinfo.lines().filter_map(mount).collect();
        let swaps = swaps.lines().skip(1).filter_map(|line| line.split_ascii_whitespace().next());
        Self { mounts, swaps: swaps.map(|path| unescape(path).into()).collect() }
    }
}

fn mount(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ');
    let number = fields.nth(2)?.to_owned();
    let at = unescape(fields.nth(1)?);
    let source = unescape(after.split(' ').nth(1)?);
    Some(Mount { number, at, source })
}

/// Decodes blanks and backslashes, which are written as three octal digits.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(byte) = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            bytes.push(byte);
            rest = after.get(3..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let mountinfo = "30 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw\n\
            35 30 8:17 / /media/my\\040stick rw - vfat /dev/sdb1 rw\nbroken\n";
        let swaps = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/dev/dm-1    partition\t1000\t0\t-2\n";
        let uses = Uses::parse(mountinfo, swaps);
        let at: Vec<_> = uses.mounts.iter().map(|mount| (mount.number.as_str(), mount.at.as_str())).collect();
        assert_eq!(at, [("8:2", "/"), ("8:17", "/media/my stick")]);
        assert_eq!(uses.mounts[1].source, "/dev/sdb1");
        assert_eq!(uses.swaps, [PathBuf::from("/dev/dm-1")]);
    }

    proptest! {
        #[test]
        fn any_text_is_read(mounts: String, swaps in "[ -~\n\\\\]{0,60}") {
            Uses::parse(&mounts, &swaps);
            Uses::parse(&swaps, &mounts);
        }
    }
}
