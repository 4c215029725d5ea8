//! Job list and results.
#![allow(dead_code)]
mod clock;
mod config;
mod core;
mod error;
mod store;
mod token;
