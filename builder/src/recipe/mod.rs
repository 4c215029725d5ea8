//! Recipes: what goes into an image, written in TOML by people.
//!
//! [`load`] finds a recipe by name or path, follows `inherits` and resolves everything into a [`Recipe`], in which
//! nothing is optional that the build needs. The keys are documented in [`model`], from which the JSON Schema and
//! the reference page are made too.

mod merge;
pub mod model;
mod name;
mod read;
mod settings;
mod shipped;
mod value;

use std::path::PathBuf;

use serde::Serialize;

pub(crate) use merge::minimum_esp;
pub use model::AptSourceEntry;
pub use read::{RecipeError, load, load_shipped, parse_file, schema};
pub use settings::SettingsTable;
pub use shipped::{lock_text as shipped_lock, names as shipped_names, recipe_text as shipped_text};
pub use value::parse_size;

/// A recipe with everything inherited and defaulted.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// The name it was asked for by: a shipped recipe's name or the file's stem. Image directories are named after it, and
    /// nothing else that does not take any name: see [`Recipe::key`].
    pub name: String,
    /// Where it was read from; `None` for the copy inside the program.
    pub path: Option<PathBuf>,
    /// One line that says what the image is for.
    pub description: String,
    /// Where packages come from.
    pub archive: Archive,
    /// What the solver is asked for.
    pub packages: Packages,
    /// The kernel.
    pub kernel: Kernel,
    /// Extra files, in the order of their paths.
    pub files: Vec<ExtraFile>,
    /// Groups, in the order written.
    pub groups: Vec<Group>,
    /// Users, in the order written.
    pub users: Vec<User>,
    /// Sources for apt in the appliance.
    pub apt_sources: Vec<AptSourceEntry>,
    /// The appliance's settings.
    pub settings: SettingsTable,
    /// Sizes.
    pub image: Image,
}

/// Where packages come from.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Archive {
    /// Suite.
    pub suite: String,
    /// Components.
    pub components: Vec<String>,
    /// The recipe's own mirror, if it names one.
    pub mirror: Option<String>,
    /// Snapshot service, empty for none.
    pub snapshot: String,
    /// Refuse an archive past its `Valid-Until`.
    pub check_valid_until: bool,
    /// Keyring files; empty for the keyring that rocbed carries.
    pub keyrings: Vec<PathBuf>,
}

/// What the solver is asked for.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Packages {
    /// Relations to satisfy.
    pub install: Vec<String>,
    /// Names never to install.
    pub exclude: Vec<String>,
    /// Follow Recommends.
    pub recommends: bool,
    /// debconf answers.
    pub preseed: Vec<String>,
}

/// The kernel.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// Debian's flavour name.
    pub flavour: String,
    /// Command line words, `root=` not among them.
    pub cmdline: Vec<String>,
    /// Modules kept in the root; `*` for all.
    pub modules: Vec<String>,
    /// Modules in the initramfs beyond the default ones.
    pub initramfs_modules: Vec<String>,
}

/// An extra file, its source read.
#[derive(Debug, Clone)]
pub struct ExtraFile {
    /// Path relative to the root.
    pub path: String,
    /// What it is.
    pub kind: ExtraKind,
    /// Permission bits.
    pub mode: u16,
    /// Owner by name or number.
    pub owner: String,
    /// Group by name or number.
    pub group: String,
}

/// What an extra file is.
#[derive(Debug, Clone)]
pub enum ExtraKind {
    /// A regular file with these bytes.
    File(Vec<u8>),
    /// A symbolic link.
    Symlink(String),
    /// An empty directory.
    Directory,
}

/// A group.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its id.
    pub gid: u32,
}

/// A user with nothing left open.
#[derive(Debug, Clone)]
pub struct User {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<String>,
    /// Home directory, absolute.
    pub home: String,
    /// Login shell.
    pub shell: String,
}

/// Sizes of the image's parts.
#[derive(Debug, Clone)]
pub struct Image {
    /// Logical sector size in bytes.
    pub sector_size: u32,
    /// EFI system partition in bytes; `None` for what it needs.
    pub esp_size: Option<u64>,
    /// Data partition in bytes.
    pub data_size: u64,
    /// Free space in the root file system in bytes.
    pub root_free: u64,
    /// Package of the UKI stub.
    pub stub_package: String,
}
