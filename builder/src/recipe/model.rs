//! The recipe file, key by key, as serde and the published JSON Schema see it.
//!
//! Every key is optional here, because a recipe inherits what it does not say. [`super::Recipe`] is what remains
//! when all of that is resolved.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::settings::SettingsTable;
use super::value::{
    AbsolutePath, AccountName, AccountPath, ArchiveName, ByteSize, CmdlineRemoval, CmdlineWord, LocalPackages, Mode,
    ModuleRequest, Owner, PackageName, PackageRelation, PackageSelector, PackageVersion, Preseed, SectorSize, Suite,
    UserId, Word,
};

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
    /// Archives beside that of `[archive]`, with what comes from each. Keys that one does not have are as in `[archive]`.
    #[serde(default, rename = "extra-archive")]
    pub extra_archives: Vec<ExtraArchiveEntry>,
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
    /// The suite: `sid` (which is `unstable`), or one of an archive of your own. A flat archive is named by the directory of its Release file, with a slash
    /// at its end (`./`), as in sources.list(5).
    pub suite: Option<Suite>,
    /// The components to take packages from; a recipe's list replaces an inherited one. A flat archive has none.
    #[schemars(with = "Option<Vec<Word>>")]
    pub components: Option<Spanned<Vec<Word>>>,
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

/// An archive beside the main one. Keys that it does not have are as in `[archive]`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ExtraArchiveEntry {
    /// Its name in the lock, in messages and in the image: `experimental`, `mine`. One of the same name replaces an inherited one.
    #[schemars(with = "ArchiveName")]
    pub name: Spanned<ArchiveName>,
    /// The suite, or the directory of a flat archive, as in `[archive]`. Unset: its name.
    pub suite: Option<Suite>,
    /// The components to take packages from.
    #[schemars(with = "Option<Vec<Word>>")]
    pub components: Option<Spanned<Vec<Word>>>,
    /// Base address of its mirror (`http`, `https` or `file`). Unset: the same as that of `[archive]`, wherever that comes from.
    pub mirror: Option<String>,
    /// Base address of its snapshot service; `""` for none, which is the default where it has a mirror of its own.
    pub snapshot: Option<String>,
    /// Whether a Release file whose `Valid-Until` has passed is refused.
    pub check_valid_until: Option<bool>,
    /// OpenPGP keyrings, armored or not, relative to the recipe, that may sign it.
    pub keyrings: Option<Vec<String>>,
    /// The packages that come from it, whatever version `[archive]` has: names, `src:NAME` for all packages of a source package, patterns
    /// (`librocm*`), `*` for all. Of its other packages only what these need comes along, where no other archive can give it.
    /// Unset: all of it counts as `[archive]` does, and the highest version is taken; an archive that says `NotAutomatic` (experimental,
    /// backports) has to have them.
    #[schemars(with = "Option<Vec<PackageSelector>>")]
    pub packages: Option<Spanned<Vec<PackageSelector>>>,
    /// Whether apt in the image has it too, with its keyrings and with priorities that agree with `packages` (`true` unless said
    /// otherwise; never for a mirror of `file`).
    pub apt: Option<bool>,
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
    #[schemars(with = "Vec<PackageName>")]
    pub remove: Vec<Spanned<PackageName>>,
    /// Packages that must never be installed, by name, even where something depends on them or recommends them.
    /// dpkg cannot be left out: it configures the others.
    #[serde(default)]
    #[schemars(with = "Vec<PackageName>")]
    pub exclude: Vec<Spanned<PackageName>>,
    /// Whether Recommends are installed where possible (`false` unless said otherwise).
    pub recommends: Option<bool>,
    /// Answers for debconf, a line each as in debconf-set-selections(1).
    #[serde(default)]
    pub preseed: Vec<Preseed>,
    /// Packages that are files here: paths relative to the recipe, of `.deb` files, of a `.changes` file for all packages that it names,
    /// or with a pattern as their last part (`../rocr/*.deb`). They come before those of all archives, where something asks for
    /// them: they are not installed for being here. The lock has their digests.
    #[serde(default)]
    pub local: Vec<LocalPackages>,
    /// Exact versions, by package (`rocminfo = "7.1-2"`) or source package (`"src:rocr-runtime" = "7.1-2"`). No other version
    /// is installed, from whichever archive. They do not install anything by themselves.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, PackageVersion>")]
    pub versions: BTreeMap<String, Spanned<PackageVersion>>,
}

/// The kernel, its command line and its modules.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KernelTable {
    /// Which of the archive's kernels, by the end of its metapackage's name (`linux-image-amd64`): `amd64`, `cloud-amd64`, `rt-amd64`;
    /// Ubuntu's are `generic` and `virtual`. The newest version is locked. `none` is for a root directory in which tests run on
    /// another kernel (`rocbed test`); no image can be built of it.
    pub flavour: Option<Word>,
    /// The package of the kernel, instead of a flavour: one of an archive (`linux-image-7.2.13+deb14-amd64`), or of one's own
    /// (`make bindeb-pkg`) that `packages.local` has. Modules that it does not have are left out with a warning.
    #[schemars(with = "Option<PackageName>")]
    pub package: Option<Spanned<PackageName>>,
    /// The kernel command line, word by word; added to inherited words. `root=` is added by the build.
    #[serde(default)]
    pub cmdline: Vec<CmdlineWord>,
    /// Inherited words of the kernel command line to leave out: a whole word (`console=tty0`), or a name with the `=` at its
    /// end (`console=`) for every value of it.
    #[serde(default)]
    #[schemars(with = "Vec<CmdlineRemoval>")]
    pub cmdline_remove: Vec<Spanned<CmdlineRemoval>>,
    /// Kernel modules kept in the root file system, with those they depend on: names (`amdgpu`) or directories below
    /// the kernel's module directory, with a slash at the end (`kernel/drivers/net/`). `["*"]` keeps all. Added to
    /// inherited ones.
    #[serde(default)]
    pub modules: Vec<ModuleRequest>,
    /// Kernel modules in the initramfs beyond those that rocbed puts there to reach any root, written the same way.
    #[serde(default)]
    pub initramfs_modules: Vec<ModuleRequest>,
}

/// An extra file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FileEntry {
    /// Absolute path in the root file system.
    #[schemars(with = "AbsolutePath")]
    pub path: Spanned<AbsolutePath>,
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
    pub owner: Option<Owner>,
    /// Group, by name or number (default `root`).
    pub group: Option<Owner>,
}

/// A group.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GroupEntry {
    /// Its name.
    pub name: AccountName,
    /// Its id. Required, so that every build has the same.
    #[schemars(with = "u32")]
    pub gid: Spanned<u32>,
}

/// A user.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct UserEntry {
    /// Its name.
    pub name: AccountName,
    /// Its id. Required, so that every build has the same.
    #[schemars(with = "u32")]
    pub uid: Spanned<UserId>,
    /// Its own group's id; a group of the user's name is made if there is none. Unset: the same number as `uid`.
    pub gid: Option<u32>,
    /// Further groups, by name.
    #[serde(default)]
    pub groups: Vec<AccountName>,
    /// Home directory (default `/home/NAME`), made with mode 0755 if missing.
    pub home: Option<AccountPath>,
    /// Login shell (default `/bin/sh`). The account has no password and cannot log in with one.
    pub shell: Option<AccountPath>,
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
    /// The keyring that has to have signed it, a path in the image (default Debian's, of debian-archive-keyring). Another one is put there by a `[[file]]`. Where the appliance has the setting `mirror`, it replaces the addresses of Debian's sources only.
    #[serde(default = "debian_keyring", deserialize_with = "keyring_path")]
    pub signed_by: String,
}

/// Sizes and layout of the image files.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ImageTable {
    /// Logical sector size of `disk.img`: 512 (default) or 4096.
    pub sector_size: Option<SectorSize>,
    /// Size of the EFI system partition; unset: what the kernel image needs and some room for settings.
    #[schemars(with = "Option<ByteSize>")]
    pub esp_size: Option<Spanned<ByteSize>>,
    /// Size of the data partition before the appliance grows it (default `64MiB`).
    pub data_size: Option<ByteSize>,
    /// Free space in the root file system (default none: the root is mounted read-only).
    pub root_free: Option<ByteSize>,
    /// The package whose `linuxx64.efi.stub` starts the unified kernel image.
    pub stub_package: Option<PackageName>,
    /// Whether `disk.img` starts where Secure Boot is on (default `false`; `base` and all shipped recipes say `true`): by Debian's signed programs, of the packages shim-signed and systemd-boot-efi-amd64-signed, and the kernel, which has to be signed too. Otherwise the firmware starts the unified kernel image, which nobody has signed.
    pub secure_boot: Option<bool>,
}

pub(super) fn both_types() -> Vec<String> {
    vec!["deb".into(), "deb-src".into()]
}

pub(super) fn debian_keyring() -> String {
    "/usr/share/keyrings/debian-archive-keyring.pgp".into()
}

fn keyring_path<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let path = String::deserialize(deserializer)?;
    if path.starts_with('/') && !path.contains(|char: char| char.is_whitespace() || char.is_control()) {
        return Ok(path);
    }
    Err(serde::de::Error::custom(format!(
        "{path:?} is not the path of a keyring: give one in the image, from / on, without blanks"
    )))
}

fn public_mirror() -> Vec<String> {
    vec![crate::mirror::PUBLIC_MIRROR.into()]
}

fn yes() -> bool {
    true
}
