//! The rocbed command line program.

use std::process::ExitCode;

fn main() -> ExitCode {
    // `rocbed virt`, which `rocbed test` gives autopkgtest as its virtualisation server. It must be single-threaded,
    // and parses its own options.
    if std::env::args_os().nth(1).is_some_and(|word| word == "virt") {
        return testbed::main(std::env::args_os().skip(1));
    }
    let options = rocbed::cmdline::Cli::of_this_process();
    let context = rocbed::context::Context::new(&options.global);
    match rocbed::commands::run(&context, options) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            context.reporter.error(&rocbed::error::report(&error));
            ExitCode::FAILURE
        }
    }
}
