//! Runs one job: a package's tests with autopkgtest(1), in testbeds of `autopkgtest-virt-rocbed`, and writes the result
//! bundle.
//!
//! ```no_run
//! use runner::{Cancel, Kmsg, Setup};
//!
//! let job = protocol::Job::of_package("gzip");
//! let server = ["/usr/bin/autopkgtest-virt-rocbed", "--root", "/run/rocbed/root"].map(Into::into).to_vec();
//! let setup = Setup::new(server, "/var/tmp".into(), "/var/lib/rocbed".into(), &job.id);
//! let finished = runner::run(&job, &setup, &mut Kmsg::open()?, &mut (), &Cancel::default())?;
//! println!("{}: {}", finished.result.verdict, finished.bundle.path.display());
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! A job ends at its deadline whatever its tests do. First autopkgtest's own timeout is triggered, so that it fetches
//! the test's output; then autopkgtest is terminated; then everything is killed. A serious GPU fault ends the job in
//! the same way, at once. The product is a [`bundle`].
//!
//! Functions that parse data which tests can influence accept any bytes: [`summary::Summary::parse`],
//! [`log::Reader::push`], [`cases::read`].

mod apt;
mod apt_files;
mod bounded;
mod bounds;
pub mod cases;
mod clean;
mod command;
mod energy;
mod error;
mod installed;
mod job;
mod junit;
mod kernel_log;
mod kmsg;
pub mod log;
mod observer;
mod output;
mod process;
mod reached;
mod run;
mod setup;
pub mod shards;
mod source;
pub mod summary;
mod timeouts;
mod xml;

pub use apt_files::ExtraSources;
pub use command::LISTS_STAMP;
pub use error::Error;
pub use job::{Finished, run};
pub use kernel_log::{GpuFaults, KernelLog};
pub use kmsg::Kmsg;
pub use observer::{Cancel, Observer, RunEvent};
pub use setup::{Grant, Limits, Setup};
