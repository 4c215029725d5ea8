//! The project's development tasks: `cargo xtask demo`, `test`, `lint`, `bench`, `bench-boot`, `bench-debci`,
//! `bench-netboot`, `build`, `deb`, `oci`, `release`, `docs`, `book`, `screenshots`.

mod bench;
mod bench_boot;
mod bench_debci;
mod bench_netboot;
mod book;
mod build;
mod compile;
mod demo;
mod docs;
mod host;
mod lint;
mod package;
mod run;
mod screenshots;
mod test;

use std::process::ExitCode;

use advice::Report;
use build::Profile;
use clap::{Parser, Subcommand};

/// The project's own tasks
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Compile the programs and run `rocbed demo`, installing what that needs
    Demo,
    /// Run every test, end to end ones included, installing what they need
    Test(test::TestOptions),
    /// Check the format and every lint, warnings as errors
    Lint(lint::LintOptions),
    /// Compare with mmdebstrap and mkfs.ext4 on this machine, in turn
    Bench(bench::BenchOptions),
    /// Compare the time until the agent is ready with the kernel's own
    BenchBoot(bench_boot::BenchBootOptions),
    /// Compare a hub that serves debci's queue with debci's own worker
    BenchDebci(bench_debci::BenchDebciOptions),
    /// Compare starts from a disk and over the network: time and memory
    BenchNetboot(bench_netboot::BenchNetbootOptions),
    /// Build rocbed and the static rocbed-init beside it
    Build {
        /// Optimised, for everyday use
        #[arg(long)]
        release: bool,
    },
    /// Build the Debian packages of the released programs
    Deb(package::DebOptions),
    /// Make the container images of the hub and of the builder
    Oci(package::OciOptions),
    /// Make everything that is handed out: packages, container images, a tarball, the sources, digests
    Release(package::ReleaseOptions),
    /// Write the generated pages of docs/reference/ anew
    Docs,
    /// Take the pictures in docs/images anew, of a hub and its workers in QEMU
    Screenshots(screenshots::ScreenshotsOptions),
    /// Make a book of docs/: pages for a browser, below target/book
    Book,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Demo => demo::run_demo(),
        Task::Test(options) => test::run(&options),
        Task::Lint(options) => lint::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::BenchBoot(options) => bench_boot::run(&options),
        Task::BenchDebci(options) => bench_debci::run(&options),
        Task::BenchNetboot(options) => bench_netboot::run(&options),
        Task::Build { release } => {
            build::programs(if release { Profile::Release } else { Profile::Dev }).map(|programs| {
                println!("{}", programs.rocbed.display());
                println!("{}", programs.init.display());
            })
        }
        Task::Deb(options) => package::deb(&options),
        Task::Oci(options) => package::run_oci(&options),
        Task::Release(options) => package::run_release(&options),
        Task::Docs => docs::write(),
        Task::Screenshots(options) => screenshots::run(&options),
        Task::Book => book::build(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", Report::of(error.as_ref(), |_| None));
            ExitCode::FAILURE
        }
    }
}
