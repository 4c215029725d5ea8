//! Recipes: TOML files, written by people, that say what goes into an image.
//!
//! [`load`] finds a recipe by name or path, follows `inherits` and resolves everything into a [`Recipe`], in which
//! nothing is optional that the build needs. The keys are documented in [`model`], from which the JSON Schema and the
//! reference page are generated.

mod archives;
mod layer;
mod merge;
pub mod model;
mod name;
mod read;
mod selector;
mod settings;
mod shipped;
mod value;

use std::path::PathBuf;

use archive::policy::Pin;
use diskimage::SectorSize;

pub use archives::{Archive, ExtraArchive};
pub use layer::RecipeError;
pub(crate) use merge::check_esp_size;
pub use model::AptSourceEntry;
pub use read::{load, load_shipped, parse_file, schema};
pub use selector::{Selector, SelectorError};
pub use settings::SettingsTable;
pub use shipped::{lock_text as shipped_lock, names as shipped_names, recipe_text as shipped_text};
pub use value::{SizeError, parse_size};

/// What the packages of `packages.local` are called where others have the name of their archive.
pub const LOCAL: &str = "local";

/// A recipe with inheritance and defaults resolved.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Name by which it was asked for: a shipped recipe's name or the file's stem. Image directories are named after
    /// it; where only some characters are allowed, [`Recipe::key`] is used instead.
    pub name: String,
    /// Path of the recipe file; `None` for the copy embedded in the program.
    pub path: Option<PathBuf>,
    /// One line about the purpose of the image.
    pub description: String,
    /// Archive that packages come from.
    pub archive: Archive,
    /// Archives beside it, by name.
    pub extra_archives: Vec<ExtraArchive>,
    /// Request to the solver.
    pub packages: Packages,
    /// Kernel and modules.
    pub kernel: Kernel,
    /// Extra files, in the order of their paths.
    pub files: Vec<ExtraFile>,
    /// Groups, in the order written.
    pub groups: Vec<Group>,
    /// Users, in the order written.
    pub users: Vec<User>,
    /// apt sources in the appliance.
    pub apt_sources: Vec<AptSourceEntry>,
    /// The appliance's settings.
    pub settings: SettingsTable,
    /// Sizes of the image's parts.
    pub image: Image,
}

/// Request to the solver.
#[derive(Debug, Clone)]
pub struct Packages {
    /// Package relations to satisfy.
    pub install: Vec<String>,
    /// Names of packages never to install.
    pub exclude: Vec<String>,
    /// Whether to follow Recommends.
    pub recommends: bool,
    /// debconf answers.
    pub preseed: Vec<String>,
    /// Paths of local packages; the last part may be a pattern.
    pub local: Vec<PathBuf>,
    /// Exact versions.
    pub versions: Vec<Pin>,
}

/// Which kernel an image has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelChoice {
    /// None: the root is for tests on another kernel.
    None,
    /// The newest of a flavour, by the archive's name for it.
    Flavour(String),
    /// That of a package.
    Package(String),
}

/// Kernel and modules.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// Which kernel.
    pub choice: KernelChoice,
    /// Words of the kernel command line, without `root=`.
    pub cmdline: Vec<String>,
    /// Modules kept in the root; `*` for all.
    pub modules: Vec<String>,
    /// Modules in the initramfs in addition to the default ones.
    pub initramfs_modules: Vec<String>,
}

/// An extra file, with its content already read.
#[derive(Debug, Clone)]
pub struct ExtraFile {
    /// Path relative to the root.
    pub path: String,
    /// Type and content.
    pub kind: ExtraKind,
    /// Permission bits.
    pub mode: u16,
    /// Owner by name or number.
    pub owner: String,
    /// Group by name or number.
    pub group: String,
}

/// Type and content of an extra file.
#[derive(Debug, Clone)]
pub enum ExtraKind {
    /// A regular file with this content.
    File(Vec<u8>),
    /// A symbolic link with this target.
    Symlink(String),
    /// An empty directory.
    Directory,
}

/// A group.
#[derive(Debug, Clone)]
pub struct Group {
    /// Group name.
    pub name: String,
    /// Group id.
    pub gid: u32,
}

/// A user, with all defaults filled in.
#[derive(Debug, Clone)]
pub struct User {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<String>,
    /// Home directory, absolute.
    pub home: String,
    /// Login shell.
    pub shell: String,
}

/// Sizes of the image's parts.
#[derive(Debug, Clone)]
pub struct Image {
    /// Logical sector size of the disk.
    pub sector_size: SectorSize,
    /// Size of the EFI system partition in bytes; `None` for the size that its files need.
    pub esp_size: Option<u64>,
    /// Size of the data partition in bytes.
    pub data_size: u64,
    /// Free space in the root file system in bytes.
    pub root_free: u64,
    /// Name of the package with the UKI stub.
    pub stub_package: String,
    /// Whether the disk starts by signed programs, for Secure Boot.
    pub secure_boot: bool,
}
