//! The rocbed command line.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match rocbed::commands::run(rocbed::cmdline::Cli::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {}", rocbed::error_text(&error));
            ExitCode::FAILURE
        }
    }
}
