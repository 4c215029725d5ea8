//! PID 1 of the rocbed appliance, as a library so that its parsers can be fuzzed.
//!
//! The same program runs twice. As `/init` of the initramfs it reaches the root file system ([`first_stage`]); from there
//! it starts its own copy with the argument `second-stage` ([`second_stage`]). What it expects around it is in
//! `docs/rocbed-init.md`.

pub mod about;
pub mod agent_process;
pub mod bare_testbed;
pub mod clock;
pub mod console;
pub mod data;
mod device_mapper;
pub mod devices;
pub mod drivers;
pub mod events;
pub mod fatal;
pub mod faults;
pub mod first_stage;
mod foreign;
pub mod hardware;
mod ioctl;
pub mod linux;
pub mod load;
pub mod modprobe;
pub mod netroot;
pub mod nodes;
mod online;
mod output;
pub mod power_button;
pub mod protect;
pub mod screen;
mod search;
pub mod second_stage;
pub mod setup;
pub mod shell;
pub mod shutdown;
pub mod signals;
pub mod start_disk;
pub mod state;
pub mod stick;
pub mod supervisor;
pub mod switch_root;
pub mod system;
pub mod testbed_service;
pub mod uevent;
pub mod verified_root;
pub mod virt;
pub mod watchdog;
