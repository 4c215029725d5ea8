//! Serves an image to machines that start over the network.
//!
//! [`Image`] reads an image directory and makes its root small, [`script`] writes what iPXE does, [`dnsmasq`] how dnsmasq
//! answers DHCP and TFTP, and [`server`] answers HTTP and tells what each machine does ([`Event`]).

pub mod dnsmasq;
mod error;
mod event;
mod image;
pub mod range;
pub mod script;
pub mod server;

pub use error::NetbootError;
pub use event::{Event, Step};
pub use image::{Image, ROOT};
