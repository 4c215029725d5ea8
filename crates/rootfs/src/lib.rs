//! Builds a configured Debian root directory from .deb files, without root and without host tools.
//!
//! ```text
//! .deb files --debian::deb--> control information
//!            --unpack--> files, in process and in parallel     --database--> what `dpkg --unpack` would have left
//!            --configure--> maintainer scripts, by the image's own dpkg in the sandbox
//! directory  --(fsimage::scan)--> FileTree --finish--> reproducible FileTree
//! ```
//!
//! [`build`] does the first three steps, [`unpack_packages`] the first two of them. Call [`sandbox::become_root`] first
//! in `main`, so that it works for unprivileged users too.

mod build;
mod closure;
pub mod compare;

mod configure;
pub mod database;
mod error;
pub mod finish;
mod hashed;
mod inside;

pub mod sandbox;
mod space;
pub mod unpack;

pub use build::{BuildReport, Package, Spec, Unpacked, build, unpack as unpack_packages};
pub use error::{Damaged, Error};
pub use unpack::{Device, add_devices};
