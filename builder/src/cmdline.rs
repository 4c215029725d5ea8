//! The command line, for clap. Nothing but names and help texts; [`crate::commands`] does the work.

mod bisect;
mod boot;
mod build;
mod cache;
mod demo;
mod gpus;
mod groups;
mod hub;
mod inspect;
mod jobs;
mod known;
mod lint;
mod netboot;
mod oci;
mod results;
mod stick;
mod test;
mod top;
mod workers;

use std::path::PathBuf;

use clap::builder::styling::AnsiColor;
use clap::builder::{PossibleValue, Styles};
use clap::{Args, FromArgMatches as _, Parser, Subcommand, ValueEnum};

pub use bisect::Bisect;
pub use boot::{Boot, DiskKind, Firmware, Network, WhenDone};
pub use build::{Build, LockArgs, PlanArgs, Source};
pub use cache::CacheCommand;
pub use demo::Demo;
pub use gpus::{Detect, Faults};
pub use groups::{DOCUMENTATION, GROUPS, Group, command};
pub use hub::{AtHub, Debci, DebciWorkers, Hub, Limits, ListOf, Watch};
pub use inspect::{Diff, Inspect};
pub use jobs::{JobsAdd, JobsCommand, JobsConfirm, JobsImport, JobsList, JobsMake, JobsNamed, JobsShow, JobsWatch};
pub use known::{KnownAdd, KnownCommand, KnownRemove, KnownShow};
pub use lint::{Lint, LintFormat};
pub use netboot::Netboot;
pub use oci::Oci;
pub use results::{
    ResultsBug, ResultsCommand, ResultsCompare, ResultsFetch, ResultsHistory, ResultsJunit, ResultsList, ResultsReport,
    ResultsShow, ResultsWhy, TestsOf,
};
pub use stick::{Collect, Flash, OntoStick, SettingsArgs};
use test::run_as;
pub use test::{PackageOptions, Simulate, Test};
pub use top::Top;
pub use workers::{WorkersCommand, WorkersList, WorkersNamed, WorkersPause, WorkersRetryGpu, WorkersShow};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Builds Debian images that turn any machine with an AMD GPU into a ROCm test worker.
///
/// A recipe says what goes into an image; its lock pins every package; `build` turns both into files that boot from a
/// USB stick, over the network or in QEMU. Neither root nor host tools are needed.
#[derive(Debug, Parser)]
#[command(name = "rocbed", version, styles = STYLES, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
}

impl Cli {
    /// What this process was started with. Prints help and errors itself, and ends the process then.
    pub fn of_this_process() -> Self {
        let matches = command(None).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command(None)).exit())
    }
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Say more: each step, and where its time went
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Say nothing but warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Log as a CI system folds it: auto, gitlab, github, plain or off [default: as the one that runs this has it]
    #[arg(
        long,
        global = true,
        value_name = "STYLE",
        value_enum,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "auto",
        hide_possible_values = true
    )]
    pub ci: Option<Ci>,
    /// Where downloads and finished root directories are kept [default: $XDG_CACHE_HOME/rocbed]
    #[allow(clippy::doc_markdown)] // a help text: it is printed as it is
    #[arg(long, global = true, value_name = "DIR", env = "ROCBED_CACHE", hide_env_values = true)]
    pub cache: Option<PathBuf>,
}

/// In whose style the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ci {
    /// As the environment says.
    Auto,
    /// Sections of GitLab's job logs.
    Gitlab,
    /// Groups and annotations of GitHub's workflows.
    Github,
    /// Lines with times.
    Plain,
    /// As on a terminal.
    Off,
}

/// By hand, for values with a help text of their own would make the help of every command three times as long.
impl ValueEnum for Ci {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Auto, Self::Gitlab, Self::Github, Self::Plain, Self::Off]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Self::Auto => "auto",
            Self::Gitlab => "gitlab",
            Self::Github => "github",
            Self::Plain => "plain",
            Self::Off => "off",
        }))
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say what a build would do, without doing it
    Plan(PlanArgs),
    /// Pin a recipe to exact packages, or renew the pins
    Lock(LockArgs),
    /// Build an image
    Build(Build),
    /// Say what is in an image, read from its bytes
    Inspect(Inspect),
    /// Compare two images, or two locks, package by package
    Diff(Diff),
    /// Write an image to a USB stick, or list the disks that there are
    Flash(Flash),
    /// Show and change the settings on a stick
    Settings(SettingsArgs),
    /// Take results off a stick
    Collect(Collect),
    /// Start machines on the network from an image
    Netboot(Netboot),
    /// Start an image in QEMU
    ///
    /// Exit status: 0 the machine started and ended in order, 16 it did not, 1 it could not be started. With --jobs, for jobs
    /// what autopkgtest has for tests: 0 all passed, 2 some were neutral, 4 some failed, 6 both, 8 nothing tested, 16 the
    /// machine failed, 20 something else went wrong.
    Boot(Boot),
    /// Run a package's tests in testbeds over a recipe's root directory, without a virtual machine
    ///
    /// Exit status: autopkgtest's own. 0 all passed, 2 some skipped, 4 some failed, 6 both, 8 nothing tested, 16 testbed failed,
    /// 20 something else went wrong. With --compare 0 if nothing is worse than with the archive's packages, 4 if something
    /// fails that does not fail with them.
    Test(Test),
    /// See it work: a hub, an image, a worker in QEMU with a simulated GPU, a real package's tests
    ///
    /// Says first what it does, how long that takes and what it needs. Needs no GPU, no root and no checkout, only the package
    /// qemu-system-x86 (and uidmap, for all but root). Everything that it makes is in one directory, and in the cache.
    Demo(Demo),
    /// Run a command with simulated GPUs
    ///
    /// ROCm's programs find the GPUs, allocate their memory and copy to and from it. Kernels do not run, unless
    /// --run-kernels is given: one that is launched ends with an illegal instruction. Exit status: the command's own; 1
    /// instead of 0 if a kernel was launched that did not run; 125 if it could not be run.
    Simulate(Simulate),
    /// Run a hub: it hands out jobs to workers and keeps their results
    ///
    /// Needs no settings. It prints its addresses, what makes a machine its worker, and at the first start the token with
    /// which people add jobs. SIGTERM and SIGINT end it in good order; kill -9 loses nothing.
    Hub(Box<Hub>),
    /// Add jobs to a hub, look at them, cancel and repeat them
    #[command(subcommand)]
    Jobs(JobsCommand),
    /// Look at the results that a hub has, and download them
    #[command(subcommand)]
    Results(ResultsCommand),
    /// Find the package upgrade that made a test fail
    ///
    /// Runs the test with some of the packages that changed upgraded and the others not, until the upgrades are found that the
    /// failure needs, also where two fail only together. Says first how many runs that takes. Ctrl-C stops it, --continue takes
    /// it up. Exit status: 0 found, 4 the packages are not the reason or cannot be told apart, 16 the GPU or the testbed failed
    /// too often or it was stopped, 20 something else went wrong.
    Bisect(Box<Bisect>),
    /// Say which failures are known, with their bugs
    #[command(subcommand)]
    Known(KnownCommand),
    /// Look at the machines that a hub gives jobs to, pause and remove them
    #[command(subcommand)]
    Workers(WorkersCommand),
    /// Watch a hub live: workers and their GPUs, running jobs, the queue, the latest results
    ///
    /// On a terminal: q quits, s sorts by name, by what needs somebody first, or by time, / filters, Space asks the hub at
    /// once. Elsewhere it prints one look at the hub.
    Top(Top),
    /// Show the GPUs of this machine, or of a copy of a machine's /sys: those that ROCm can use, and what is wrong with the
    /// others
    ///
    /// Exit status: 0, whether there is a GPU to use or not.
    Detect(Detect),
    /// Say what a kernel log tells about GPUs: faults, resets, GPUs that did not start
    ///
    /// Reads the output of dmesg with any of its options, that of `journalctl -k`, and records of /dev/kmsg. Exit status: 0,
    /// whether it tells of a fault or not.
    Faults(Faults),
    /// Check a source package's tests: what autopkgtest would skip or misread, and the guidelines for ROCm
    ///
    /// Nothing of the package is run. Exit status: 0 no errors, 1 errors, 2 it could not be checked.
    Lint(Lint),
    /// Look at the shipped recipes and the format
    #[command(subcommand)]
    Recipe(RecipeCommand),
    /// Print a page of the reference, or a schema for editors and programs
    Reference(Reference),
    /// Look at what is kept from earlier builds, and tidy it up
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Write a container image of a recipe's root directory: how rocbed's own images are made
    #[command(hide = true)]
    Oci(Oci),
    /// Print a shell completion script
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Write the man pages into a directory
    Man {
        /// Where to
        directory: PathBuf,
    },
}

/// `rocbed recipe`
#[derive(Debug, Subcommand)]
pub enum RecipeCommand {
    /// List the shipped recipes
    List,
    /// Print a recipe's text
    Show {
        /// A recipe's name or path
        name: String,
    },
    /// Print the JSON Schema of recipes
    Schema,
    /// Print the reference of recipe keys as Markdown
    Reference,
}

/// `rocbed reference`
#[derive(Debug, Args)]
pub struct Reference {
    /// Its name, such as settings.md or job-list.schema.json [default: list them]
    pub page: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
