//! Boot loader entries: the text files from which systemd-boot and GRUB learn about a kernel (UAPI Boot Loader
//! Specification, "Type #1 Boot Loader Specification Entries").

use std::fmt::Write as _;

/// A kernel, its initramfs and its command line. Paths are relative to the root of the partition and have no slash in
/// front.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BootEntry {
    /// Name for menus, `title`.
    pub title: String,
    /// Version for menus, `version`.
    pub version: String,
    /// Path of the kernel, `linux`.
    pub kernel: String,
    /// Path of the initramfs, `initrd`; empty for none.
    pub initrd: String,
    /// Kernel command line, `options`.
    pub cmdline: String,
}

/// An entry that cannot be written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BootEntryError {
    /// A value would not be read back as it is.
    #[error("{value:?} cannot be the {key} of a boot loader entry: it has line breaks, or blanks around it")]
    Value {
        /// Key in the file.
        key: &'static str,
        /// The value.
        value: String,
    },
    /// There is no kernel to start.
    #[error("the boot loader entry names no kernel")]
    NoKernel,
    /// The file is too large.
    #[error("a boot loader entry has at most {max} bytes, and this one has {0}", max = BootEntry::MAX_SIZE)]
    TooLarge(usize),
}

impl BootEntry {
    /// Size limit of an entry that is read, in bytes.
    pub const MAX_SIZE: usize = 64 << 10;

    /// The entry as a file.
    ///
    /// # Errors
    /// If a value has line breaks or blanks around it, or if no kernel is named.
    pub fn to_text(&self) -> Result<String, BootEntryError> {
        if self.kernel.is_empty() {
            return Err(BootEntryError::NoKernel);
        }
        let mut text = String::new();
        for (key, root, value) in [
            ("title", "", &self.title),
            ("version", "", &self.version),
            ("linux", "/", &self.kernel),
            ("initrd", "/", &self.initrd),
            ("options", "", &self.cmdline),
        ] {
            if value.trim() != value || value.contains(['\n', '\r', '\0']) || root == "/" && value.starts_with('/') {
                return Err(BootEntryError::Value { key, value: value.clone() });
            }
            if !value.is_empty() {
                // Into a string: this cannot fail.
                let _written = writeln!(text, "{key} {root}{value}");
            }
        }
        Ok(text)
    }

    /// Reads an entry. Unknown keys are ignored, as the specification asks; several `options` are joined, and of
    /// other keys the last one counts.
    ///
    /// # Errors
    /// If the file is too large or names no kernel.
    pub fn parse(bytes: &[u8]) -> Result<Self, BootEntryError> {
        if bytes.len() > Self::MAX_SIZE {
            return Err(BootEntryError::TooLarge(bytes.len()));
        }
        let mut entry = Self::default();
        for line in String::from_utf8_lossy(bytes).split(['\n', '\r']).map(str::trim) {
            let Some((key, value)) = line.split_once(char::is_whitespace) else { continue };
            let value = value.trim();
            let path = || value.trim_start_matches('/').to_owned();
            match key {
                "title" => value.clone_into(&mut entry.title),
                "version" => value.clone_into(&mut entry.version),
                "linux" => entry.kernel = path(),
                "initrd" => entry.initrd = path(),
                "options" if entry.cmdline.is_empty() => value.clone_into(&mut entry.cmdline),
                "options" => entry.cmdline.extend([" ", value]),
                _ => {}
            }
        }
        if entry.kernel.is_empty() { Err(BootEntryError::NoKernel) } else { Ok(entry) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry() -> BootEntry {
        BootEntry {
            title: "Debian GNU/Linux forky/sid".into(),
            version: "7.2.13+deb14-amd64".into(),
            kernel: "rocbed/vmlinuz".into(),
            initrd: "rocbed/initrd.img".into(),
            cmdline: "root=PARTUUID=1 quiet".into(),
        }
    }

    #[test]
    fn an_entry_is_a_key_and_a_value_on_each_line() {
        let expected = "title Debian GNU/Linux forky/sid\nversion 7.2.13+deb14-amd64\nlinux /rocbed/vmlinuz\n\
            initrd /rocbed/initrd.img\noptions root=PARTUUID=1 quiet\n";
        assert_eq!(entry().to_text().as_deref(), Ok(expected));
    }

    const TOO_MUCH: usize = BootEntry::MAX_SIZE + 1;

    #[test]
    fn entries_of_other_programs_are_read() {
        let text = "# comment\ntitle\tFedora\r\nmachine-id 1\n linux  /k\noptions a=1\noptions b=2\nsort-key x";
        let expected =
            BootEntry { title: "Fedora".into(), kernel: "k".into(), cmdline: "a=1 b=2".into(), ..BootEntry::default() };
        assert_eq!(BootEntry::parse(text.as_bytes()), Ok(expected));
        assert_eq!(BootEntry::parse(b"title x\nefi /shell.efi\n"), Err(BootEntryError::NoKernel));
        assert_eq!(BootEntry::parse(&vec![b'#'; TOO_MUCH]), Err(BootEntryError::TooLarge(TOO_MUCH)));
    }

    #[test]
    fn a_value_adds_no_lines() {
        for bad in ["a\noptions init=/bin/sh", "a\rb", " a", "a ", "a\0"] {
            let entry = BootEntry { cmdline: bad.into(), ..entry() };
            assert!(matches!(entry.to_text(), Err(BootEntryError::Value { key: "options", .. })), "{bad:?}");
        }
        assert_eq!(BootEntry { kernel: String::new(), ..entry() }.to_text(), Err(BootEntryError::NoKernel));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(title in ".{0,9}", version in ".{0,9}", kernel in "[ -~]{0,9}", cmdline in ".{0,20}") {
            let entry = BootEntry { title, version, kernel, initrd: String::new(), cmdline };
            if let Ok(text) = entry.to_text() {
                prop_assert_eq!(BootEntry::parse(text.as_bytes()), Ok(entry));
            }
        }
    }
}
