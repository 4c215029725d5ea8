//! Tests with real links: each in network namespaces of its own, with dnsmasq at the cable's other end.

mod cables;
mod discovery;
mod fixed;
mod leases;
mod server;
mod world;
