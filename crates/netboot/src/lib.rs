//! Serves an image to machines that boot over the network.
//!
//! [`Image`] reads an image directory and compresses its root, [`script`] writes the iPXE script, [`dnsmasq`] runs
//! dnsmasq for DHCP and TFTP, and [`server`] serves HTTP and reports what each machine does ([`NetbootEvent`]).

pub mod dnsmasq;
mod error;
mod event;
mod image;
mod order;
pub mod script;
pub mod server;

pub use error::NetbootError;
pub use event::{NetbootEvent, Step};
pub use image::{INDEX, Image, ROOT};
pub use order::ORDER;
