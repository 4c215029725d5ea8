//! USB sticks (and cards, and virtual disks) with an image on them: which there are, which may be written, how one is
//! written, and what is put onto it and taken off it later.
//!
//! In the order of `rocbed flash`:
//!
//! 1. [`devices`] lists what is plugged in, and [`refuse`] says why one of them is not to be written.
//! 2. [`target`] opens the device exclusively and looks again at what it has opened.
//! 3. [`source`] reads an image and checks its digest, [`image`] knows its partitions, [`check`](mod@check) reads all of it
//!    while the device is still what it was.
//! 4. [`fit`] adapts the layout to the device's size and sectors, and gives it GUIDs of its own.
//! 5. [`write`](mod@write) writes, reads everything back, and writes what makes it bootable last.
//!
//! [`settings`] edits `rocbed.toml` on the EFI system partition, [`collect`](mod@collect) takes results off.

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
