//! A simulated AMD GPU, as far as programs see one through the kernel.
//!
//! ROCm's programs find GPUs in files below `/sys` and use them by `ioctl(2)` on `/dev/kfd` and `/dev/dri/renderD*`, and by
//! packets that they write into queues in their own memory. This crate has all three as functions without any access to
//! the machine: [`sysfs::tree`] makes the files, [`Simulator::ioctl`] answers requests, [`Simulator::step`] carries out
//! what stands in the queues. The `testbed` crate brings them to real programs.
//!
//! Copies are real: SDMA packets are carried out on the program's memory. Kernels are not: a queue that finds a dispatch
//! stops, and the program is told that there was an illegal instruction, as a GPU tells it that cannot run the code.
//! Nothing that needs a result of a kernel can come to believe that it got one, unless it was asked for with
//! [`Kernels::Skip`]. With [`Kernels::Run`] the interpreter of the crate `rdna` runs kernels, as far as it knows their
//! instructions. [`Report`] says how far a program came.
//!
//! Everything that programs hand over is checked as the kernel checks it: lengths, handles, addresses. No bytes make a
//! function here panic.

mod abi;
mod address_range;
mod address_space;
mod aql;
mod chip;
mod device;
mod drm;
mod drm_abi;
mod errno;
mod events;
mod kernel;
mod kfd;
mod kfd_abi;
mod memory;
mod packet;
mod process;
mod queue;
mod report;
mod request;
mod sdma;
mod simulator;
mod svm;
pub mod sysfs;

pub use chip::Chip;
pub use device::{Device, Machine, MachineError};
pub use errno::Errno;
pub use memory::{Fault, Memory};
pub use packet::Kernels;
pub use report::Report;
pub use request::{Node, Request};
pub use simulator::{Answer, Ended, Simulator};
