//! Values of recipe keys that are more than text: checked while they are read, so that errors carry line and column.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

/// Declares a string-like recipe value that is checked while it is read, so that errors carry line and column.
macro_rules! checked_string {
    ($(#[$doc:meta])* $name:ident($inner:ty), $expected:literal, $parse:expr, $schema:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name(pub $inner);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                        f.write_str($expected)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        let parse: fn(&str) -> Result<$inner, String> = $parse;
                        parse(text).map($name).map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                $schema
            }
        }
    };
}

checked_string!(
    /// A package relation as in a Depends field (Debian Policy 7.1).
    PackageRelation(String),
    "a package in quotes, such as \"hello (>= 2.10)\"",
    |text| {
        debian::relation::parse_request(text).map_err(|error| format!("{text:?} is not a package relation: {error}"))?;
        Ok(text.to_owned())
    },
    schemars::json_schema!({"type": "string", "examples": ["hello", "hello (>= 2.10)", "mawk | gawk"]})
);

checked_string!(
    /// One word of the kernel command line; not `root=`, which the build adds.
    CmdlineWord(String),
    "one word in quotes, such as \"quiet\"",
    |text| {
        let (name, _) = text.split_once('=').unwrap_or((text, ""));
        if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(format!("{text:?} is not one word of a kernel command line: give a list of words"));
        }
        if matches!(name.replace('_', "-").as_str(), "root" | "rocbed.root-uuid") {
            return Err(format!("{text:?} would name another root: the build adds root= for the one that it makes"));
        }
        Ok(text.to_owned())
    },
    schemars::json_schema!({"type": "string", "pattern": "^\\S+$"})
);

checked_string!(
    /// What takes inherited words off the kernel command line: a word, or a name with `=` at its end for all its values.
    CmdlineRemoval(String),
    "one word in quotes, such as \"quiet\" or \"console=\"",
    |text| {
        if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(format!("{text:?} is not one word of a kernel command line: give a list of words"));
        }
        Ok(text.to_owned())
    },
    schemars::json_schema!({"type": "string", "pattern": "^\\S+$"})
);

impl CmdlineRemoval {
    /// Whether it means this word.
    pub fn means(&self, word: &str) -> bool {
        word == self.0 || self.0.ends_with('=') && word.starts_with(&self.0)
    }
}

checked_string!(
    /// An absolute path, kept without its leading slash.
    AbsolutePath(String),
    "an absolute path in quotes",
    absolute_path,
    schemars::json_schema!({"type": "string", "pattern": "^/"})
);

checked_string!(
    /// An absolute path in the user database, leading slash included.
    AccountPath(String),
    "an absolute path in quotes",
    |text| {
        if text.contains(':') {
            return Err(format!("{text:?} has a colon, which separates the fields of the user database"));
        }
        absolute_path(text).map(|path| format!("/{path}"))
    },
    schemars::json_schema!({"type": "string", "pattern": "^/[^:]+$"})
);

/// Checks an absolute path for the root file system and takes its leading slash away.
fn absolute_path(text: &str) -> Result<String, String> {
    const LONGEST_NAME: usize = 255;
    const LONGEST_PATH: usize = 4095;
    let plain = |part: &str| !matches!(part, "" | "." | "..") && part.len() <= LONGEST_NAME;
    match text.strip_prefix('/') {
        Some(_) if text.contains(char::is_control) => Err(format!("{text:?} has a control character")),
        Some(path) if text.len() <= LONGEST_PATH && path.split('/').all(plain) => Ok(path.to_owned()),
        Some(_) => Err(format!(
            "{text:?} is not a plain path: it has `.`, `..`, a doubled slash, one at its end, or a name of more than 255 bytes"
        )),
        None => Err(format!("{text:?} is not absolute: paths in the root file system begin with a slash")),
    }
}

checked_string!(
    /// The name of a user or group, as useradd(8) takes it.
    AccountName(String),
    "a name in quotes, such as \"tester\"",
    account_name,
    schemars::json_schema!({"type": "string", "pattern": "^[a-z_][a-z0-9_-]{0,31}$"})
);

fn account_name(text: &str) -> Result<String, String> {
    let first = text.starts_with(|first: char| first.is_ascii_lowercase() || first == '_');
    let rest = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte));
    if first && rest && text.len() <= 32 {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is not a name for a user or group: at most 32 of a-z, 0-9, _ and -, no digit or - first"))
}

checked_string!(
    /// A user or group, by name or number.
    Owner(String),
    "a name or a number in quotes",
    |text| match text.parse::<u32>() {
        Ok(u32::MAX) => Err(format!("{text:?} is not an id: the system uses that number for \"none\"")),
        Ok(number) => Ok(number.to_string()),
        Err(_) => account_name(text),
    },
    schemars::json_schema!({"type": "string", "pattern": "^([0-9]+|[a-z_][a-z0-9_-]{0,31})$"})
);

checked_string!(
    /// A package's name (Debian Policy 5.6.7).
    PackageName(String),
    "a package's name in quotes",
    |text| {
        if debian::relation::is_package_name(text) {
            return Ok(text.to_owned());
        }
        Err(format!("{text:?} is not a package name: give the name alone, without version or architecture"))
    },
    schemars::json_schema!({"type": "string", "pattern": "^[a-z0-9][a-z0-9+.-]+$"})
);

checked_string!(
    /// A word that becomes part of a path or name: a suite, a component, a kernel flavour.
    Word(String),
    "a word in quotes",
    |text| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+~/".contains(c);
        let escapes = text.split('/').any(|part| matches!(part, "" | "." | ".."));
        if text.chars().all(plain) && !escapes {
            return Ok(text.to_owned());
        }
        Err(format!("{text:?} is not one word of letters, digits and -_.+~/"))
    },
    schemars::json_schema!({"type": "string", "pattern": "^[A-Za-z0-9._+~/-]+$"})
);

checked_string!(
    /// A suite, or the directory of a flat archive, which ends in a slash (sources.list(5)).
    Suite(String),
    "a suite in quotes, such as \"sid\", or the directory of a flat archive, such as \"./\"",
    |text| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+~/".contains(c);
        let path = text.strip_suffix('/').unwrap_or(text);
        let path = if text.ends_with('/') { path.strip_prefix("./").unwrap_or(path) } else { path };
        let escapes = path.split('/').any(|part| matches!(part, "" | "." | ".."));
        if text.chars().all(plain) && (!escapes || matches!(text, "/" | "./")) {
            return Ok(text.to_owned());
        }
        Err(format!("{text:?} is not a suite: one word of letters, digits and -_.+~/, or a directory that ends in a slash"))
    },
    schemars::json_schema!({"type": "string", "pattern": "^[A-Za-z0-9._+~/-]+$"})
);

checked_string!(
    /// The name of an extra archive, which names files in the image.
    ArchiveName(String),
    "a name in quotes, such as \"experimental\"",
    |text| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if text == super::LOCAL {
            return Err(format!("{text:?} is what the packages of packages.local are called: name the archive otherwise"));
        }
        if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(plain) && text.len() <= 64 {
            return Ok(text.to_owned());
        }
        Err(format!("{text:?} is not a name for an archive: at most 64 letters, digits, -, _ and ., a letter or digit first"))
    },
    schemars::json_schema!({"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"})
);

checked_string!(
    /// Packages of an archive: a name, a source package's name behind `src:`, or a pattern of either.
    PackageSelector(super::Selector),
    "a package in quotes, such as \"rocminfo\", \"src:rocr-runtime\" or \"librocm*\"",
    |text| super::Selector::parse(text).map_err(|error| error.to_string()),
    schemars::json_schema!({"type": "string", "pattern": "^(src:)?[a-z0-9+.*?-]+$", "examples": ["rocminfo", "src:rocr-runtime", "librocm*", "*"]})
);

checked_string!(
    /// A version (deb-version(7)).
    PackageVersion(String),
    "a version in quotes, such as \"7.1-2\"",
    |text| match debian::version::Version::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{text:?} is not a version: {error}")),
    },
    schemars::json_schema!({"type": "string", "pattern": "^([0-9]+:)?[0-9A-Za-z.+~-]+$"})
);

checked_string!(
    /// Files of packages beside the recipe: a path, whose last part may be a pattern.
    LocalPackages(String),
    "a path in quotes, such as \"../rocr/*.deb\" or \"rocr-runtime_7.2-1_amd64.changes\"",
    |text| {
        let (directory, name) = text.rsplit_once('/').unwrap_or(("", text));
        if directory.contains(['*', '?']) {
            return Err(format!("{text:?}: only the last part of the path may be a pattern"));
        }
        if [".deb", ".changes"].iter().any(|end| name.ends_with(end)) {
            return Ok(text.to_owned());
        }
        Err(format!("{text:?} names no package: give .deb files (\"{text}/*.deb\" for those of a directory) or a .changes file"))
    },
    schemars::json_schema!({"type": "string", "pattern": "\\.(deb|changes)$"})
);

checked_string!(
    /// Kernel modules: a name, a directory with a slash at its end, or `*`.
    ModuleRequest(String),
    "a module's name or directory in quotes",
    |text| {
        if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(format!("{text:?} is not the name of a kernel module"));
        }
        if text.starts_with('/') {
            return Err(format!("{text:?}: directories of modules are relative, such as \"kernel/drivers/net/\""));
        }
        if text.contains('/') && !text.ends_with('/') {
            return Err(format!("{text:?}: a directory of modules has a slash at its end; a module is named without one"));
        }
        Ok(text.to_owned())
    },
    schemars::json_schema!({"type": "string", "pattern": "^\\S+$"})
);

checked_string!(
    /// A line of debconf-set-selections(1): package, question, type, and maybe a value.
    Preseed(String),
    "a line for debconf-set-selections in quotes",
    |text| {
        let words = text.split_ascii_whitespace().count();
        if words < 3 || text.contains(['\n', '\r', '\0']) {
            return Err(format!("{text:?} is not an answer for debconf: give one line of package, question, type and value"));
        }
        Ok(text.to_owned())
    },
    schemars::json_schema!({"type": "string"})
);

/// A user's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u32")]
pub struct UserId(pub u32);

impl TryFrom<u32> for UserId {
    type Error = String;

    fn try_from(id: u32) -> Result<Self, String> {
        match id {
            0 => Err("user 0 is root, which every system has".into()),
            // nobody, and two that the system uses for "none" (systemd's list of reserved ids).
            65534 | 65535 | u32::MAX => Err(format!("user id {id} is reserved")),
            id => Ok(Self(id)),
        }
    }
}

checked_string!(
    /// Permission bits.
    Mode(u16),
    "octal digits in quotes, such as \"0644\"",
    |text| match u16::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o7777 && text.len() <= 5 => Ok(mode),
        _ => Err(format!("{text:?} is not a mode: give octal digits such as \"0644\"")),
    },
    schemars::json_schema!({"type": "string", "pattern": "^0?[0-7]{3,4}$"})
);

checked_string!(
    /// A size in bytes, written with a unit: `64MiB`, `2GiB`, `512KiB`, `1048576`.
    ByteSize(u64),
    "a size in quotes, such as \"64MiB\"",
    |text| parse_size(text).map_err(|error| error.to_string()),
    schemars::json_schema!({"type": "string", "pattern": "^[0-9]+ *(B|[KMGT](iB)?)?$"})
);

/// Text that is not a size in bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a size: give a whole number with a unit such as \"64MiB\" or \"2GiB\"")]
pub struct SizeError(String);

/// Reads `64MiB`, `2 GiB`, `1048576`; bytes.
pub fn parse_size(text: &str) -> Result<u64, SizeError> {
    let complaint = || SizeError(text.to_owned());
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number: u64 = text[..digits].parse().map_err(|_| complaint())?;
    let shift = match text[digits..].trim() {
        "" | "B" => 0,
        "KiB" | "K" => 10,
        "MiB" | "M" => 20,
        "GiB" | "G" => 30,
        "TiB" | "T" => 40,
        _ => return Err(complaint()),
    };
    number.checked_mul(1 << shift).ok_or_else(complaint)
}

/// Logical sector size of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectorSize(pub diskimage::SectorSize);

impl<'de> Deserialize<'de> for SectorSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Sizes;
        impl Visitor<'_> for Sizes {
            type Value = SectorSize;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("512 or 4096")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<SectorSize, E> {
                u64::try_from(value)
                    .ok()
                    .and_then(diskimage::SectorSize::of_bytes)
                    .map(SectorSize)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Signed(value), &self))
            }
        }
        deserializer.deserialize_i64(Sizes)
    }
}

impl JsonSchema for SectorSize {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SectorSize".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"enum": [512, 4096]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside_and_are_absolute() {
        assert_eq!(absolute_path("/etc/motd"), Ok("etc/motd".into()));
        for bad in ["etc/motd", "/", "", "/etc/../shadow", "/etc//motd", "/etc/", "/a\0b", "/a\nb"] {
            assert!(absolute_path(bad).is_err(), "{bad:?}");
        }
        assert!(absolute_path(&format!("/{}", "x".repeat(256))).is_err());
    }

    #[test]
    fn a_removal_means_a_word_or_all_values_of_a_name() {
        let removal = |text: &str| CmdlineRemoval(text.to_owned());
        assert!(removal("console=").means("console=ttyS0,115200n8"));
        assert!(removal("quiet").means("quiet"));
        assert!(!removal("console").means("console=tty0") && !removal("quiet").means("quieter"));
    }

    #[test]
    fn suites_are_words_or_directories() {
        let read = |text: &str| serde_json::from_value::<Suite>(text.into()).is_ok();
        for good in ["sid", "trixie-security", "trixie/updates", "./", "/", "amd64/", "./amd64/new/"] {
            assert!(read(good), "{good}");
        }
        for bad in ["", ".", "..", "../", "./..", "../x/", "a//", "./../", "a b", "sid/../x"] {
            assert!(!read(bad), "{bad}");
        }
    }

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size("2 GiB"), Ok(2 << 30));
        assert_eq!(parse_size("512"), Ok(512));
        for bad in ["", "MiB", "64MB", "-1", "99999999999TiB", "1.5GiB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
