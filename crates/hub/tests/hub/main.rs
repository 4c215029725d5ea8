//! The hub over real HTTP on the loopback interface, with the client that workers and people use.

mod crash;
mod disk;
mod hostile;
mod leases;
mod life;
mod openapi;
mod pages;
mod races;
mod support;
mod tls;
mod twice;
mod uploads;
