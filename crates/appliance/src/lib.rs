//! Code that PID 1 and the agent of an appliance share: paths, settings, the kernel's command line, reports from the
//! agent to PID 1, block devices, and GPU detection.

pub mod block;
pub mod cmdline;
pub mod detect;
pub mod disk_space;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
pub mod paths;
pub mod report;
pub mod root;
pub mod settings;
pub mod superblock;
pub mod uptime;
pub mod virtio_port;
