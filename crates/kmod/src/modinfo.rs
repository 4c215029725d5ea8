//! `.modinfo`: the information section of a module file.

use object::{Object, ObjectSection, ObjectSymbol};

use crate::Softdep;
use crate::compression::{DecompressError, decompress};

/// Module information that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ModinfoError {
    /// Decompression failed.
    #[error(transparent)]
    Decompress(#[from] DecompressError),
    /// The file is not ELF, or is inconsistent.
    #[error("no usable ELF file: {0}")]
    Elf(#[from] object::read::Error),
    /// There is no `.modinfo` section: not a kernel module.
    #[error("no .modinfo section, so this is not a kernel module")]
    NoModinfo,
}

/// The `key=value` strings of a module's `.modinfo` section (linux/moduleinfo: `MODULE_INFO`), and its exports.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Modinfo {
    fields: Vec<(String, String)>,
    exports: Vec<String>,
}

impl Modinfo {
    /// Parses a module file: `.ko`, or compressed `.ko.xz`, `.ko.zst`, `.ko.gz`.
    pub fn parse(file: &[u8]) -> Result<Self, ModinfoError> {
        let plain = decompress(file)?;
        let elf = object::File::parse(&*plain)?;
        let section = elf.section_by_name(".modinfo").ok_or(ModinfoError::NoModinfo)?;
        let mut modinfo = Self::parse_section(section.data()?);
        let exported =
            |symbol: object::Symbol<'_, '_>| Some(symbol.name().ok()?.strip_prefix("__ksymtab_")?.to_owned());
        modinfo.exports = elf.symbols().filter_map(exported).collect();
        modinfo.exports.sort_unstable();
        Ok(modinfo)
    }

    /// Parses the bytes of a `.modinfo` section: NUL-terminated `key=value` strings, possibly with more NULs between
    /// them. Strings without `=` are skipped; bytes that are not UTF-8 become U+FFFD.
    pub fn parse_section(bytes: &[u8]) -> Self {
        let field = |string: &[u8]| {
            let (key, value) = string.split_at_checked(string.iter().position(|byte| *byte == b'=')?)?;
            let value = value.get(1..)?;
            Some((String::from_utf8_lossy(key).into_owned(), String::from_utf8_lossy(value).into_owned()))
        };
        Self { fields: bytes.split(|byte| *byte == 0).filter_map(field).collect(), exports: Vec::new() }
    }

    /// All values of a key, in the module's order.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The first value of a key.
    pub fn first(&self, key: &str) -> Option<&str> {
        self.fields.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Module name, as the kernel will know it.
    pub fn name(&self) -> Option<&str> {
        self.first("name")
    }

    /// Alias patterns of devices and others that it supports.
    pub fn aliases(&self) -> impl Iterator<Item = &str> {
        self.all("alias")
    }

    /// Names of modules whose symbols it uses.
    pub fn depends(&self) -> impl Iterator<Item = &str> {
        self.all("depends").flat_map(|list| list.split(',')).map(str::trim).filter(|name| !name.is_empty())
    }

    /// Soft dependencies.
    pub fn softdeps(&self) -> impl Iterator<Item = Softdep> {
        self.all("softdep").map(Softdep::parse)
    }

    /// Firmware files that it may request, relative to /lib/firmware; may hold wildcards.
    pub fn firmware(&self) -> impl Iterator<Item = &str> {
        self.all("firmware")
    }

    /// Kernel version and options that it was built for.
    pub fn vermagic(&self) -> Option<&str> {
        self.first("vermagic")
    }

    /// Licence as the kernel understands it.
    pub fn license(&self) -> Option<&str> {
        self.first("license")
    }

    /// Symbols that it exports to other modules, sorted.
    pub fn exports(&self) -> &[String] {
        &self.exports
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_modpost_writes() {
        let info = Modinfo::parse_section(
            b"license=GPL\0\0alias=fs-ext4\0alias=ext3\0depends=jbd2,crc16,\0softdep=pre: crypto-crc32c\0name=ext4\0\
              firmware=a/b.bin\0vermagic=7.2 SMP \0odd\0=\0",
        );
        assert_eq!(info.name(), Some("ext4"));
        assert_eq!(info.aliases().collect::<Vec<_>>(), ["fs-ext4", "ext3"]);
        assert_eq!(info.depends().collect::<Vec<_>>(), ["jbd2", "crc16"]);
        assert_eq!(info.softdeps().next().unwrap().pre, ["crypto-crc32c"]);
        assert_eq!(info.firmware().collect::<Vec<_>>(), ["a/b.bin"]);
        assert_eq!((info.vermagic(), info.license()), (Some("7.2 SMP "), Some("GPL")));
    }

    #[test]
    fn says_why_a_file_is_no_module() {
        assert!(matches!(Modinfo::parse(b"hello"), Err(ModinfoError::Elf(_))));
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(matches!(Modinfo::parse(&own), Err(ModinfoError::NoModinfo)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_error_or_a_module(mut bytes in prop::collection::vec(any::<u8>(), 0..300), elf: bool) {
            if elf {
                bytes.splice(0..0, *b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x01\0\x3e\0\x01\0\0\0");
            }
            prop_assert!(Modinfo::parse(&bytes).is_err());
        }

        #[test]
        fn fields_come_back(fields in prop::collection::vec(("[a-z]{1,8}", "[^\0]{0,12}"), 0..8)) {
            let bytes: Vec<u8> = fields.iter().flat_map(|(key, value)| format!("{key}={value}\0").into_bytes()).collect();
            prop_assert_eq!(Modinfo::parse_section(&bytes).fields, fields);
        }
    }
}
