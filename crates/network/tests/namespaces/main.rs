//! The whole of it on real links: each test in network namespaces of its own, with dnsmasq at the cable's other end.

mod cables;
mod discovery;
mod fixed;
mod leases;
mod server;
mod world;
