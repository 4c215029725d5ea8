//! What PID 1 and the agent of an appliance share: paths, settings, the kernel's command line, reports from one to the
//! other, block devices, and looking for GPUs.

pub mod block;
pub mod cmdline;
pub mod detect;
pub mod disk_space;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
pub mod memory;
pub mod paths;
pub mod report;
pub mod root;
pub mod settings;
pub mod superblock;
pub mod uptime;
