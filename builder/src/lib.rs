//! rocbed builds Debian images that turn any machine with an AMD GPU into a ROCm test worker.
//!
//! ```text
//! recipe --(archive, resolve)--> lock --(store)--> .debs --(rootfs)--> root directory
//!        --(image::tree)--> file tree --(image)--> image files
//! ```
//!
//! The program is a thin `main` around this library; [`cmdline`] knows the options, [`commands`] what they do.

pub mod architecture;
pub mod archive;
pub mod cmdline;
pub mod commands;
pub mod context;
pub mod error;
pub mod hubs;
pub mod image;
pub mod image_path;
pub mod inspect;
mod kernel_packages;
pub mod local_packages;
pub mod lock;
pub mod locking;
pub mod mirror;
pub mod own_packages;
pub mod package_sources;
pub mod recipe;
pub mod reference;
pub mod report;
pub mod resolve;
pub mod table;
pub mod times;
pub mod virtio_channel;
pub mod why;
pub mod wording;
pub mod worklist;
