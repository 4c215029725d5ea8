//! Recognizes file systems and other contents of partitions by their signatures: enough to leave them alone.

/// How many bytes [`kind`] needs from the start of a device: btrfs has its superblock at 64 KiB.
pub const NEEDED: usize = 0x1_0048;

/// Signatures and their offsets (the same that wipefs(8) knows).
const SIGNATURES: [(usize, &[u8], &str); 18] = [
    (0, b"LUKS\xba\xbe", "LUKS"),
    (0, b"XFSB", "XFS"),
    (3, b"EXFAT   ", "exFAT"),
    (3, b"NTFS    ", "NTFS"),
    (3, b"-FVE-FS-", "BitLocker"),
    (54, b"FAT1", "FAT"),
    (82, b"FAT32", "FAT"),
    (0x18, b"LVM2 001", "LVM"),
    (512 + 0x18, b"LVM2 001", "LVM"),
    (1024, b"\x10\x20\xf5\xf2", "F2FS"),
    (1024, b"H+\x00\x04", "HFS+"),
    (1024, b"HX\x00\x05", "HFS+"),
    (32, b"NXSB", "APFS"),
    (0, b"\xfc\x4e\x2b\xa9", "a RAID of md"),
    (4096, b"\xfc\x4e\x2b\xa9", "a RAID of md"),
    (4096 - 10, b"SWAPSPACE2", "swap space"),
    (0x8001, b"CD001", "ISO 9660"),
    (0x1_0040, b"_BHRfS_M", "btrfs"),
];

/// bcachefs: `BCACHE_SB` UUIDs, 24 bytes into its superblock at 4 KiB.
const BCACHEFS: (usize, [u8; 16]) =
    (4096 + 24, [0xc6, 0x85, 0x73, 0xf6, 0x66, 0xce, 0x90, 0xa9, 0xd9, 0x6a, 0x60, 0xcf, 0x80, 0x3d, 0xf7, 0xef]);

/// A short name for the content; `None` if it is not known.
pub fn kind(start: &[u8]) -> Option<&'static str> {
    let is_at = |at: usize, magic: &[u8]| start.get(at..).is_some_and(|rest| rest.starts_with(magic));
    if is_at(BCACHEFS.0, &BCACHEFS.1) {
        return Some("bcachefs");
    }
    SIGNATURES.iter().find(|(at, magic, _)| is_at(*at, magic)).map(|(_, _, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    #[test]
    fn each_signature_is_known_and_emptiness_is_not() {
        assert_eq!(kind(&vec![0; NEEDED]), None);
        for (at, magic, name) in SIGNATURES {
            let mut start = vec![0; NEEDED];
            start[at..at + magic.len()].copy_from_slice(magic);
            assert_eq!(kind(&start), Some(name));
            assert_eq!(kind(&start[..at + magic.len() - 1]), None, "{name}, cut short");
        }
    }

    #[test]
    fn what_the_tools_of_this_machine_make_is_known() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(64 << 20).unwrap();
        for (program, arguments, name) in [
            ("mkfs.fat", ["-F", "32"], "FAT"),
            ("mkfs.fat", ["-F", "16"], "FAT"),
            ("mkswap", ["-p", "4096"], "swap space"),
        ] {
            let mut made = Command::new(program);
            made.args(arguments).arg(file.path()).env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin");
            let output = made.output().unwrap_or_else(|error| panic!("{program}: {error}"));
            assert!(output.status.success(), "{program}: {output:?}");
            let start = std::fs::read(file.path()).unwrap();
            assert_eq!(kind(&start[..NEEDED]), Some(name), "{program} {arguments:?}");
            file.as_file().set_len(0).unwrap();
            file.as_file().set_len(64 << 20).unwrap();
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(start: Vec<u8>) {
            let _ = kind(&start);
        }
    }
}
