//! Finds the GPUs of this machine: which of them ROCm can use, and why it can't use the others.
//!
//! ```no_run
//! let inventory = gpu::detect(&gpu::Sources::of_this_machine());
//! let wanted = "gfx10-3-generic".parse().unwrap();
//! println!("{inventory}\n{} of them run {wanted}", inventory.matching(wanted).count());
//! ```
//!
//! [`detect`] combines three sources: KFD's [`topology`], which has the GPUs that can be used; the [`pci`] buses,
//! which have all; and the [`kernel_log`], which says what went wrong with the others. Its result is an
//! [`Inventory`], which prints itself as a table and is serialised to JSON; [`simulate`] makes a simulated one.
//! [`messages`] has the kernel's messages about GPUs, during their start and during work. It proves nothing that
//! `/dev/kfd` exists: it does as soon as amdgpu is loaded.
//!
//! Input from outside is parsed by functions that accept any bytes or text: [`topology::Properties::parse`],
//! [`KernelLog::parse`], [`config_space::atomics_enabled`], [`Names::new`], [`Target`]'s and [`PciAddress`]'s
//! `FromStr`.

mod address;
mod chips;
pub mod config_space;
mod detect;
pub mod diagnose;
mod fault_kind;
mod feature;
mod generic;
mod health;
mod hints;
mod inventory;
pub mod kernel_log;
mod kmsg;
mod lockdown;
pub mod messages;
mod names;
pub mod pci;
mod probe;
mod reason;
mod simulate;
mod sysfs;
mod table;
mod target;
pub mod topology;

pub use address::{AddressError, PciAddress};
pub use detect::{Sources, detect};
pub use fault_kind::FaultKind;
pub use feature::Feature;
pub use generic::Generic;
pub use health::defect;
pub use inventory::{Gpu, Inventory, Link, Partition, UnusableGpu, Xgmi};
pub use kernel_log::KernelLog;
pub use kmsg::{read_kernel_log, read_log_file};
pub use lockdown::Lockdown;
pub use messages::{Fault, fault};
pub use names::Names;
pub use probe::{DevKfd, KfdProbe};
pub use reason::{Reason, ReasonKind};
pub use simulate::{SimulateError, simulate};
pub use sysfs::Sysfs;
pub use target::{Processor, Target, TargetError};
