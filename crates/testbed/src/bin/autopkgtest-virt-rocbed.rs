//! The virtualisation server as a program of its own, for a developer's machine; see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    testbed::main(std::env::args_os().skip(1))
}
