//! Sets up the wired network and the clock, for a small static program.
//!
//! ```no_run
//! let settings = network::NetworkSettings { links: vec![network::ip::parse("dhcp")?], ..Default::default() };
//! let (network, events) = network::Network::start(settings)?;
//! for event in &events {
//!     eprintln!("{event}");
//!     if matches!(event, network::NetworkEvent::Configured { .. }) {
//!         break;
//!     }
//! }
//! let wanted = network::clock::ClockSettings { servers: network.status().ntp_servers(), ..Default::default() };
//! let report = network::clock::sync_once(&wanted, &mut network::clock::SystemClock)?;
//! eprintln!("{report}");
//! network.stop();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Network`] runs a thread of its own that brings up every wired link (network interface), including those that are
//! plugged in later, with DHCP or with settings in the form of the kernel's `ip=` ([`ip`]), writes `resolv.conf` and
//! sets the host name. [`clock::sync_once`] asks SNTP servers for the time, or a web server. IPv6 is left to the
//! kernel, which takes addresses and routes from router advertisements; name servers and times come over IPv4.
//! [`discovery`] finds services on the local network, and announces one.
//!
//! Input from outside is parsed by functions that accept any bytes or text: [`ip::parse`], [`dhcp::frame::read`],
//! [`dhcp::Message::parse`], [`dhcp::Client::packet`], [`discovery::Message::parse`], [`clock::sntp::Answer::parse`],
//! [`clock::http::time`].

pub mod clock;
mod configuration;
pub mod dhcp;
pub mod discovery;
mod engine;
mod error;
mod event;
mod hostname;
mod interface;
pub mod ip;
mod netlink;
mod network;
mod plan;
mod resolv;
mod settings;
mod socket;
mod status;
mod survey;

pub use configuration::{Configuration, Mac, Origin, Route};
pub use error::Error;
pub use event::{Loss, NetworkEvent};
pub use network::Network;
pub use settings::NetworkSettings;
pub use status::{LinkState, LinkStatus, Status};
pub use survey::{InterfaceInfo, dhcp_servers, interfaces};
