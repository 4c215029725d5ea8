//! The rocbed command line.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // What `rocbed test` gives autopkgtest as its virtualisation server. It must have no other thread, and its options
    // are its own.
    if std::env::args_os().nth(1).is_some_and(|word| word == "virt") {
        return testbed::main(std::env::args_os().skip(1));
    }
    match rocbed::commands::run(rocbed::cmdline::Cli::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {}", rocbed::error_text(&error));
            ExitCode::FAILURE
        }
    }
}
