//! The hub over real HTTP on the loopback interface, with the client that workers and people use.

mod believed;
mod bundles;
mod crash;
mod disk;
mod guard;
mod hostile;
mod leases;
mod life;
mod limits;
mod moments;
mod numbers;
mod openapi;
mod pages;
mod quota;
mod races;
mod slow;
mod support;
mod tls;
mod twice;
mod uploads;
