//! The virtualisation server as a separate program, for developers' machines; see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    testbed::main(std::env::args_os().skip(1))
}
