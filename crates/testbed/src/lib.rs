//! Testbeds: a fresh Debian system in milliseconds for each autopkgtest.
//!
//! [`main`] is `autopkgtest-virt-rocbed`, a virtualisation server for autopkgtest(1). A testbed is an overlay over a
//! root directory that is never written to, in namespaces of its own, with a `/dev` that has only what was granted.
//! Closing it ends every process inside and throws its changes away. It works for root, whose testbeds then have user
//! and group ids that exist nowhere else on the machine, and for users with subordinate ids (`subuid(5)`).
//!
//! `docs/testbeds.md` says what is inside, how far the isolation goes, and why which capability is advertised.

mod bpf;
mod confine;
mod control_group;
mod copy;
mod detach;
mod device_filter;
mod devices;
mod driver;
mod enter;
mod error;
mod gpu;
pub mod hostname;
mod identity;
mod inside;
mod memory;
mod mounts;
mod namespaces;
mod network;
mod options;
mod process;
mod processors;
pub mod protocol;
pub mod proxy;
mod reached;
mod relay;
mod seccomp;
pub mod server;
pub mod simulate;
mod stream;
mod terminal;
mod testbed;
mod upper;
pub mod virtual_machine;

use std::ffi::OsString;
use std::process::ExitCode;

pub use error::Error;
pub use memory::Memory;
pub use options::{Network, Storage, TestbedOptions};
pub use processors::ProcessorList;
pub use testbed::Machine;

/// Runs the program with its arguments, without the program's own name.
///
/// `enter ...` runs commands in the testbed; the server tells autopkgtest to use it. `autopkgtest ...` runs autopkgtest
/// itself from a root directory, with the server that its arguments name. `simulate ...` runs a command with simulated
/// GPUs. Words that begin with `vm-` are parts of the server of virtual machines, which `--vm` asks for. Anything else
/// runs the server. The caller must not have started a thread, and must not hold file descriptors that the testbed must not get.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    if arguments.first().is_some_and(|first| first == "virt") {
        arguments.remove(0);
    }
    if arguments.first().is_some_and(|first| first == "enter") {
        return enter::main(arguments.drain(1..));
    }
    if arguments.first().is_some_and(|first| first == "simulate") {
        return simulate::main(arguments.drain(1..));
    }
    if arguments.first().is_some_and(|first| first == "autopkgtest") {
        return driver::main(arguments.drain(1..));
    }
    if let Some((first, rest)) = arguments.split_first()
        && let Some(code) = virtual_machine::part(first, rest)
    {
        return code;
    }
    if virtual_machine::options::are_wanted(&arguments) {
        return virtual_machine::main(arguments);
    }
    let options = match TestbedOptions::parse(arguments) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{}: {}", server::NAME, error.in_one_line());
            return ExitCode::from(2);
        }
    };
    server::serve(options.debug, |signals| Machine::new(options, signals))
}
