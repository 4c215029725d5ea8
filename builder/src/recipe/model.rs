//! The recipe file, key by key, as serde and the published JSON Schema see it.
//!
//! Every key is optional here, because a recipe inherits what it does not say. [`super::Recipe`] is what remains
//! when all of that is resolved.

use std::fmt;

use schemars::JsonSchema;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

/// A rocbed recipe: what goes into an appliance image.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RecipeFile {
    /// One line that says what the image is for.
    pub description: Option<String>,
    /// The recipe this one builds on: a shipped recipe's name, or a path relative to this file. Its values hold where
    /// this recipe says nothing; its lists come before this recipe's.
    pub inherits: Option<String>,
    /// Where packages come from.
    #[serde(default)]
    pub archive: ArchiveTable,
    /// Which packages are installed, and how.
    #[serde(default)]
    pub packages: PackagesTable,
    /// The kernel, its command line and its modules.
    #[serde(default)]
    pub kernel: KernelTable,
    /// Extra files for the root file system; a file replaces an inherited one with the same path.
    #[serde(default, rename = "file")]
    pub files: Vec<FileEntry>,
    /// Groups that the root file system has; an existing group of that name only gets the id checked.
    #[serde(default, rename = "group")]
    pub groups: Vec<GroupEntry>,
    /// Users that the root file system has.
    #[serde(default, rename = "user")]
    pub users: Vec<UserEntry>,
    /// Package sources for apt in the running appliance, written to `/etc/apt/sources.list.d/rocbed.sources`.
    #[serde(default, rename = "apt-source")]
    pub apt_sources: Vec<AptSourceEntry>,
    /// Settings of the appliance itself. They travel in the initramfs, so changing them leaves the root alone.
    #[serde(default)]
    pub settings: SettingsTable,
    /// Sizes and layout of the image files.
    #[serde(default)]
    pub image: ImageTable,
}

/// Where packages come from.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ArchiveTable {
    /// The suite: `sid`, `trixie`, `unstable`.
    pub suite: Option<String>,
    /// The components to take packages from; a recipe's list replaces an inherited one.
    pub components: Option<Vec<String>>,
    /// Base address of the mirror (`http`, `https` or `file`). Unset: the one this machine's apt uses for Debian, else
    /// `http://ftp.debian.org/debian`. `--mirror` and `ROCBED_MIRROR` win over both.
    pub mirror: Option<String>,
    /// Base address of the snapshot service, asked for locked files that the mirror has dropped; `""` for none.
    pub snapshot: Option<String>,
    /// Whether a Release file whose `Valid-Until` has passed is refused (`true` unless said otherwise). A frozen
    /// mirror needs `false`; signatures are checked all the same.
    pub check_valid_until: Option<bool>,
    /// OpenPGP keyrings, armored or not, relative to the recipe, that may sign the archive. Unset: the Debian archive
    /// keyring that rocbed carries.
    pub keyrings: Option<Vec<String>>,
}

/// Which packages are installed, and how.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PackagesTable {
    /// Packages to install, as in a Depends field: `hello`, `hello (>= 2.10)`, `mawk | gawk`. Added to inherited ones.
    #[serde(default)]
    pub install: Vec<PackageRelation>,
    /// Inherited entries of `install` to leave out, by package name.
    #[serde(default)]
    pub remove: Vec<String>,
    /// Packages that must never be installed, by name, even where something depends on them or recommends them.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Whether Recommends are installed where possible (`false` unless said otherwise).
    pub recommends: Option<bool>,
    /// Answers for debconf, a line each as in debconf-set-selections(1).
    #[serde(default)]
    pub preseed: Vec<String>,
}

/// The kernel, its command line and its modules.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KernelTable {
    /// Which of Debian's kernels: `amd64`, `cloud-amd64`, `rt-amd64`. The newest version in the archive is locked.
    pub flavour: Option<String>,
    /// The kernel command line, word by word; added to inherited words. `root=` is added by the build.
    #[serde(default)]
    pub cmdline: Vec<CmdlineWord>,
    /// Kernel modules kept in the root file system, with those they depend on: names (`amdgpu`) or directories below
    /// the kernel's module directory, with a slash at the end (`kernel/drivers/net/`). `["*"]` keeps all. Added to
    /// inherited ones.
    #[serde(default)]
    pub modules: Vec<String>,
    /// Kernel modules in the initramfs beyond those that rocbed puts there to reach any root, written the same way.
    #[serde(default)]
    pub initramfs_modules: Vec<String>,
}

/// An extra file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FileEntry {
    /// Absolute path in the root file system.
    pub path: AbsolutePath,
    /// The file's text. One of `content`, `source`, `symlink` or `directory = true`.
    pub content: Option<String>,
    /// A file beside the recipe whose bytes to take, relative to the recipe.
    pub source: Option<String>,
    /// Makes a symbolic link to this.
    pub symlink: Option<String>,
    /// Makes an empty directory.
    #[serde(default)]
    pub directory: bool,
    /// Permission bits in octal; unset `0644`, for a directory `0755`.
    pub mode: Option<Mode>,
    /// Owner, by name or number (default `root`).
    pub owner: Option<String>,
    /// Group, by name or number (default `root`).
    pub group: Option<String>,
}

/// A group.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GroupEntry {
    /// Its name.
    pub name: String,
    /// Its id. Required, so that every build has the same.
    pub gid: u32,
}

/// A user.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct UserEntry {
    /// Its name.
    pub name: String,
    /// Its id. Required, so that every build has the same.
    pub uid: u32,
    /// Its own group's id; a group of the user's name is made if there is none. Unset: the same number as `uid`.
    pub gid: Option<u32>,
    /// Further groups, by name.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Home directory (default `/home/NAME`), made with mode 0755 if missing.
    pub home: Option<AbsolutePath>,
    /// Login shell (default `/bin/sh`). The account has no password and cannot log in with one.
    pub shell: Option<String>,
}

/// One stanza of deb822-style sources (sources.list(5)).
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AptSourceEntry {
    /// `deb`, `deb-src` or both (the default).
    #[serde(default = "both_types")]
    pub types: Vec<String>,
    /// Base addresses (default `http://ftp.debian.org/debian`). The build machine's own mirror never gets in, so that the image does not depend on where it was built.
    #[serde(default = "public_mirror")]
    pub uris: Vec<String>,
    /// Suites (default: the recipe's).
    #[serde(default)]
    pub suites: Vec<String>,
    /// Components (default: the recipe's).
    #[serde(default)]
    pub components: Vec<String>,
    /// Whether apt in the appliance refuses a Release file past its `Valid-Until` (default `true`).
    #[serde(default = "yes")]
    pub check_valid_until: bool,
}

/// Settings of the appliance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SettingsTable {
    /// Host name of the appliance; a worker's name where nothing else is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Address of the hub to take jobs from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hub: Option<String>,
    /// Whether a root shell may be opened on the console for debugging (`false` unless said otherwise).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub debug_shell: Option<bool>,
}

/// Sizes and layout of the image files.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ImageTable {
    /// Logical sector size of `disk.img`: 512 (default) or 4096.
    pub sector_size: Option<SectorSize>,
    /// Size of the EFI system partition; unset: what the kernel image needs and some room for settings.
    pub esp_size: Option<ByteSize>,
    /// Size of the data partition before the appliance grows it (default `64MiB`).
    pub data_size: Option<ByteSize>,
    /// Free space in the root file system (default none: the root is mounted read-only).
    pub root_free: Option<ByteSize>,
    /// The package whose `linuxx64.efi.stub` starts the unified kernel image.
    pub stub_package: Option<String>,
}

fn both_types() -> Vec<String> {
    vec!["deb".into(), "deb-src".into()]
}

fn public_mirror() -> Vec<String> {
    vec![crate::mirror::PUBLIC_MIRROR.into()]
}

fn yes() -> bool {
    true
}

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
        debarchive::relation::parse_request(text).map_err(|error| format!("{text:?} is no package relation: {error}"))?;
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
    schemars::json_schema!({"type": "string", "pattern": "^\\\\S+$"})
);

checked_string!(
    /// An absolute path, kept without its leading slash.
    AbsolutePath(String),
    "an absolute path in quotes",
    |text| match text.strip_prefix('/') {
        Some(path) if !path.is_empty() && path.split('/').all(|part| !matches!(part, "" | "." | "..")) => {
            Ok(path.to_owned())
        }
        _ => Err(format!("{text:?} is not an absolute path without `.`, `..` or doubled slashes")),
    },
    schemars::json_schema!({"type": "string", "pattern": "^/"})
);

checked_string!(
    /// Permission bits.
    Mode(u16),
    "octal digits in quotes, such as \"0644\"",
    |text| match u16::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o7777 && text.len() <= 5 => Ok(mode),
        _ => Err(format!("{text:?} is no mode: give octal digits such as \"0644\"")),
    },
    schemars::json_schema!({"type": "string", "pattern": "^0?[0-7]{3,4}$"})
);

checked_string!(
    /// A size in bytes, written with a unit: `64MiB`, `2GiB`, `512KiB`, `1048576`.
    ByteSize(u64),
    "a size in quotes, such as \"64MiB\"",
    parse_size,
    schemars::json_schema!({"type": "string", "pattern": "^[0-9]+ *(B|[KMGT](iB)?)?$"})
);

/// Reads `64MiB`, `2 GiB`, `1048576`; bytes.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let complaint = || format!("{text:?} is no size: give a whole number with a unit such as \"64MiB\" or \"2GiB\"");
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
pub struct SectorSize(pub u32);

impl<'de> Deserialize<'de> for SectorSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Sizes;
        impl Visitor<'_> for Sizes {
            type Value = SectorSize;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("512 or 4096")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<SectorSize, E> {
                match value {
                    512 => Ok(SectorSize(512)),
                    4096 => Ok(SectorSize(4096)),
                    other => Err(E::invalid_value(de::Unexpected::Signed(other), &self)),
                }
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
    fn sizes_are_read_with_their_units() {
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size("2 GiB"), Ok(2 << 30));
        assert_eq!(parse_size("512"), Ok(512));
        for bad in ["", "MiB", "64MB", "-1", "99999999999TiB", "1.5GiB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
