//! Disk images from partitions: GPT, the EFI system partition, what boots from it, block maps.
//!
//! Everything is made in user space by plain writes into a sparse file: no loop device, no mount, no root. The same
//! input gives the same bytes; nothing reads the clock or draws random numbers. Holes are space whose content does
//! not matter; zeros that matter are written. The parts, in the order in which an image is built:
//!
//! 1. [`uki`] joins a boot stub, kernel and initramfs into one EFI program; a [`BootEntry`] tells a boot loader where
//!    they are as files.
//! 2. [`layout`] gives each partition its place, [`sparse`] copies file system images there.
//! 3. [`fat`] writes the EFI system partition.
//! 4. [`gpt`] writes the partition table.
//! 5. [`blockmap`] and [`compress`] make the image quick to flash and small to ship.
//!
//! Without the feature `build` there is only what a booted image needs for its own disk: [`gpt::read()`] and
//! [`gpt::plan_growth`].

#[cfg(feature = "build")]
pub mod blockmap;
mod boot_entry;
#[cfg(feature = "build")]
pub mod compress;
#[cfg(feature = "build")]
pub mod fat;
pub mod gpt;
mod guid;
pub mod layout;
mod sector;
#[cfg(feature = "build")]
pub mod sparse;
#[cfg(feature = "build")]
pub mod uki;

pub use boot_entry::{BootEntry, BootEntryError};
pub use guid::{Guid, ParseGuidError};
pub use sector::SectorSize;
