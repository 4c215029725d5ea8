//! PID 1 of the rocbed appliance, as a library so that its parsers can be fuzzed.
//!
//! The same program runs twice. As `/init` of the initramfs it reaches the root file system ([`initramfs`]); from there
//! it starts its own copy with the argument `second-stage` ([`second_stage`]). What it expects around it is in the
//! README beside this crate.

pub mod block;
pub mod cmdline;
pub mod console;
pub mod detect;
pub mod devices;
pub mod fatal;
pub mod initramfs;
mod ioctl;
pub mod linux;
pub mod root;
pub mod second_stage;
pub mod superblock;
pub mod switch_root;
pub mod system;
pub mod uevent;
pub mod virt;
