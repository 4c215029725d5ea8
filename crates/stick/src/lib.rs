//! Writes images to USB sticks (and cards, and virtual disks), edits the settings on them and collects results.
//!
//! In the order of `rocbed flash`:
//!
//! 1. [`devices`] lists the disks, and [`refuse`] says why one of them must not be written.
//! 2. [`target`] opens the device exclusively and checks again what it has opened.
//! 3. [`source`] reads an image and checks its digest, [`image`] knows its partitions, [`check`](mod@check) reads all
//!    of it while the device is still unchanged.
//! 4. [`fit`] adapts the layout to the device's size and sectors, and gives it GUIDs of its own.
//! 5. [`write`](mod@write) writes the image, reads everything back, and makes the device bootable last.
//!
//! [`settings`] edits `rocbed.toml` on the EFI system partition, [`collect`](mod@collect) copies results from
//! the stick.

mod buffer;
pub mod check;
pub mod collect;
pub mod contents;
pub mod devices;
pub mod disk;
pub mod fit;
pub mod image;
mod ioctl;
mod probe;
pub mod refuse;
pub mod settings;
pub mod source;
pub mod target;
pub mod uses;
pub mod write;
mod write_error;
