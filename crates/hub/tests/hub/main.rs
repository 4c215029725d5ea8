//! The hub over real HTTP on the loopback interface, with the client that workers and people use.

mod bundles;
mod clocks;
mod crash;
mod disk;
mod guard;
mod hostile;
mod leases;
mod life;
mod matrix;
mod moments;
mod names;
mod openapi;
mod pages;
mod races;
mod reload;
mod slow;
mod support;
mod tls;
mod twice;
mod uploads;
