//! Runs QEMU: picks a working accelerator, boots directly or by UEFI, logs the console, detects the end.
//!
//! ```no_run
//! use std::ops::ControlFlow;
//! use vm::{Accelerator, Boot, Bus, Disk, Machine};
//!
//! let machine = Machine::new(Accelerator::probe(None)?.accelerator)
//!     .boot(Boot::Uefi)
//!     .disk(Disk::snapshot("images/smoke/disk.img", Bus::UsbStorage))
//!     .log("console.log");
//! let running = machine.start(|line| {
//!     println!("{line}");
//!     if line.contains("login:") { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
//! })?;
//! println!("{:?}", running.wait()?.end);
//! # Ok::<(), vm::VmError>(())
//! ```

mod accelerator;
mod arguments;
mod error;
mod firmware;
mod lines;
mod machine;
mod picture;
pub mod probe;
mod running;
mod terminal;
pub mod vfio;

pub use accelerator::{Accelerator, Choice, find_qemu};
pub use error::VmError;
pub use firmware::Firmware;
pub use gpu::PciAddress;
pub use machine::{Boot, Bus, Disk, Machine, Network};
pub use running::{End, Exit, Running};
