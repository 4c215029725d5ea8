//! Kernel modules without kmod: their `.modinfo`, dependencies, aliases and loading order.
//!
//! Two sides meet at the textual indexes of depmod(8) (modules.dep(5), `modules.alias`, `modules.softdep`):
//!
//! - An image builder reads module files ([`Modinfo`]), makes a [`ModuleIndex`] of them, asks it for the modules that
//!   an initramfs needs ([`ModuleIndex::closure`], [`DEFAULT_INITRAMFS`]), and writes the indexes. This is behind the
//!   `index` feature.
//! - PID 1 of the booted system reads the indexes into a [`ModuleSet`] and loads what the hardware asks for through a
//!   [`Kernel`].

#[cfg(feature = "index")]
mod builtin;
#[cfg(feature = "index")]
mod closure;
#[cfg(feature = "index")]
mod compression;
#[cfg(feature = "index")]
mod defaults;
mod glob;
#[cfg(feature = "index")]
mod index;
#[cfg(feature = "index")]
mod index_files;
mod loader;
#[cfg(feature = "index")]
mod modinfo;
mod name;
mod parameters;
mod set;
mod softdep;
#[cfg(feature = "index")]
mod trie;

#[cfg(feature = "index")]
pub use closure::{Closure, ClosureError};
#[cfg(feature = "index")]
pub use compression::{Compression, DecompressError, MAX_MODULE_SIZE, decompress};
#[cfg(feature = "index")]
pub use defaults::{DEFAULT_INITRAMFS, Group, NETWORK_INITRAMFS};
pub use glob::matches as alias_matches;
#[cfg(feature = "index")]
pub use index::{IndexError, KernelFiles, Module, ModuleFile, ModuleIndex, Source};
pub use loader::{Kernel, LoadError, LoadReport, Loader};
#[cfg(feature = "index")]
pub use modinfo::{Modinfo, ModinfoError};
pub use name::{module_name, normalize_alias, normalize_name};
pub use parameters::Parameters;
pub use set::{ModuleSet, ParseError};
pub use softdep::Softdep;
