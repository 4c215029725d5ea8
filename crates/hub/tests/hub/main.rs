//! Tests of the hub over real HTTP on the loopback interface, with the client that workers and users use.

mod believed;
mod bundles;
mod clocks;
mod crash;
mod disk;
mod guard;
mod history;
mod hostile;
mod leases;
mod life;
mod limits;
mod matrix;
mod moments;
mod names;
mod numbers;
mod openapi;
mod packages;
mod pages;
mod quota;
mod races;
mod reload;
mod slow;
mod support;
mod tls;
mod twice;
mod uploads;
