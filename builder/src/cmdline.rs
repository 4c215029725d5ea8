//! The command line, for clap. Nothing but names and help texts; [`crate::commands`] does the work.

mod boot;
mod demo;
mod hub;
mod jobs;
mod known;
mod lint;
mod netboot;
mod oci;
mod results;
mod stick;
mod top;
mod workers;

use std::path::PathBuf;

use clap::builder::styling::AnsiColor;
use clap::builder::{PossibleValue, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};
use diskimage::SectorSize;

pub use boot::{Boot, DiskKind, Firmware, Network, WhenDone};
pub use demo::Demo;
pub use hub::{AtHub, Debci, Hub, Limits};
pub use jobs::{JobsAdd, JobsCommand, JobsConfirm, JobsImport, JobsList, JobsMake, JobsNamed, JobsShow, JobsWatch};
pub use known::{KnownAdd, KnownCommand, KnownRemove, KnownShow};
pub use lint::{Lint, LintFormat};
pub use netboot::Netboot;
pub use oci::Oci;
pub use results::{
    ResultsBug, ResultsCommand, ResultsCompare, ResultsFetch, ResultsHistory, ResultsJunit, ResultsList, ResultsReport,
    ResultsShow, ResultsWhy,
};
pub use stick::{Collect, Flash, OntoStick, SettingsArgs};
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
    Boot(Boot),
    /// Run a package's tests in testbeds over a recipe's root directory, without a virtual machine
    ///
    /// Exit status: autopkgtest's own. 0 all passed, 2 some skipped, 4 some failed, 8 nothing tested, 16 testbed failed, 20
    /// something else went wrong.
    Test(Test),
    /// See it work: a hub, an image, a worker in QEMU with a simulated GPU, a real package's tests
    ///
    /// Says first what it does, how long that takes and what it needs. Needs no GPU, no root and no checkout, only the package
    /// qemu-system-x86 (and uidmap, for all but root). Everything that it makes is in one directory, and in the cache.
    Demo(Demo),
    /// Run a command with simulated GPUs
    ///
    /// ROCm's programs find the GPUs, allocate their memory and copy to and from it. Kernels do not run: one that is launched
    /// ends with an illegal instruction. Exit status: the command's own; 1 instead of 0 if a kernel was launched; 125 if it
    /// could not be run.
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

/// Where packages come from, for commands that may ask the archive.
#[derive(Debug, Clone, Args)]
pub struct Source {
    /// Take packages from this mirror [default: the recipe's, else the one that apt uses here]
    #[arg(long, value_name = "URL", env = "ROCBED_MIRROR", hide_env_values = true)]
    pub mirror: Option<String>,
    /// Accept a Release file whose Valid-Until has passed (signatures are checked all the same)
    #[arg(long)]
    pub ignore_valid_until: bool,
    /// Ask nothing of the network; everything has to be in the cache
    #[arg(long)]
    pub offline: bool,
    /// Use this lock file [default: beside the recipe]
    #[arg(long, value_name = "FILE")]
    pub lock: Option<PathBuf>,
}

/// `rocbed plan`
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// A name (recipes/NAME.toml here, else a shipped recipe), or a path
    pub recipe: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Plan with the newest packages of the archive instead of the locked ones
    #[arg(long, conflicts_with = "locked")]
    pub update: bool,
    /// Fail if the lock would change
    #[arg(long)]
    pub locked: bool,
    /// Say why this package is in, by the archive as it is now: the chain of dependencies from the recipe to it
    #[arg(long, value_name = "PACKAGE", conflicts_with_all = ["update", "locked"])]
    pub why: Option<String>,
    /// Where packages come from.
    #[command(flatten)]
    pub source: Source,
}

/// `rocbed lock`
#[derive(Debug, Args)]
pub struct LockArgs {
    /// A name (recipes/NAME.toml here, else a shipped recipe), or a path
    pub recipe: String,
    /// Renew a lock that still fits the recipe, and print what moved
    #[arg(long)]
    pub update: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where packages come from.
    #[command(flatten)]
    pub source: Source,
}

/// `rocbed build`
#[derive(Debug, Args)]
pub struct Build {
    /// A name (recipes/NAME.toml here, else a shipped recipe), or a path
    pub recipe: String,
    /// Where the image goes [default: images/RECIPE]
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Fail if the lock would change
    #[arg(long)]
    pub locked: bool,
    /// Also write disk.img.zst and a block map for flashing
    #[arg(long)]
    pub compress: bool,
    /// Logical sector size of disk.img: 512 or 4096 [default: the recipe's]
    #[arg(long, value_name = "BYTES", value_parser = sector_size)]
    pub sector_size: Option<SectorSize>,
    /// Configure the packages anew even if a finished root directory is in the cache
    #[arg(long)]
    pub fresh: bool,
    /// Wait for another build with the same output to end, instead of failing
    #[arg(long)]
    pub wait: bool,
    /// Print what was built as JSON
    #[arg(long)]
    pub json: bool,
    /// Where packages come from.
    #[command(flatten)]
    pub source: Source,
}

fn sector_size(text: &str) -> Result<SectorSize, String> {
    let known = text.parse().ok().and_then(SectorSize::of_bytes);
    known.ok_or_else(|| "a disk's logical sectors have 512 or 4096 bytes".into())
}

/// `rocbed inspect`
#[derive(Debug, Args)]
pub struct Inspect {
    /// An image directory, one of its files (disk.img, root.img, uki.efi, initrd.img; .zst too), a disk or partition with
    /// an image on it, or - for stdin
    pub image: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// List every installed package with its version
    #[arg(long)]
    pub packages: bool,
    /// List every file of the root file system (or initramfs)
    #[arg(long)]
    pub files: bool,
}

/// `rocbed diff`
#[derive(Debug, Args)]
pub struct Diff {
    /// The older one: an image directory, disk.img, root.img, a disk or a lock
    pub old: PathBuf,
    /// The newer one
    pub new: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `rocbed test`
#[derive(Debug, Args)]
pub struct Test {
    /// A name (recipes/NAME.toml here, else a shipped recipe), or a path
    pub recipe: String,
    /// A source package of the archive, or a path to a source tree, a .dsc or a .tar: ./tree
    pub package: String,
    /// Give the testbeds this machine's GPUs: all that ROCm can use, or those with these ids; or simulated ones with these
    /// targets: --gpu=gfx1100
    #[arg(long, value_name = "ID", num_args = 0.., require_equals = true, value_delimiter = ',')]
    pub gpu: Option<Vec<String>>,
    /// Who runs the tests, one run each [default: user]
    #[arg(long = "as", value_name = "user|root", value_delimiter = ',', value_parser = run_as)]
    pub run_as: Vec<protocol::RunAs>,
    /// End the tests when this time is over and keep what there is: 90m, 2h
    #[arg(long, value_name = "TIME", default_value_t = protocol::Job::TIMEOUT)]
    pub timeout: protocol::Span,
    /// Keep autopkgtest's output and the result bundle in this directory; it is made, or empty
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// How much a testbed may write, in memory: 4G, 25% [default: half of the memory]
    #[arg(long, value_name = "SIZE", conflicts_with = "overlay_dir", value_parser = overlay_size)]
    pub overlay_size: Option<String>,
    /// Keep what testbeds write in this directory instead of memory; its file system is the limit
    #[arg(long, value_name = "DIR")]
    pub overlay_dir: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Where packages come from.
    #[command(flatten)]
    pub source: Source,
    /// Options for autopkgtest, after `--`
    #[arg(last = true, value_name = "AUTOPKGTEST OPTION")]
    pub autopkgtest: Vec<String>,
}

/// `rocbed simulate`
#[derive(Debug, Args)]
pub struct Simulate {
    /// Targets with commas between them (gfx1030,gfx942), or the file of an inventory, as `rocbed detect --json` prints it
    #[arg(value_name = "GPUS")]
    pub gpus: String,
    /// Run it in a root directory or in that of a recipe, which is built first; what it writes there is thrown away
    #[arg(long, value_name = "RECIPE|DIR")]
    pub root: Option<String>,
    /// Let programs go on after kernels that did not run, to see what comes then: their data is wrong, and the status never 0
    #[arg(long)]
    pub skip_kernels: bool,
    /// Where packages come from.
    #[command(flatten)]
    pub source: Source,
    /// The command, after `--`
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<std::ffi::OsString>,
}

/// A size as testbeds take it.
fn overlay_size(text: &str) -> Result<String, String> {
    let words = ["--root", "/", "--overlay-size", text].map(std::ffi::OsString::from);
    testbed::TestbedOptions::parse(words).map(|_| text.to_owned()).map_err(|error| match error {
        testbed::Error::Usage(message) => message,
        other => other.to_string(),
    })
}

fn run_as(text: &str) -> Result<protocol::RunAs, String> {
    match text {
        "user" => Ok(protocol::RunAs::User),
        "root" => Ok(protocol::RunAs::Root),
        _ => Err("tests are run as `user`, as `root`, or as both in turn: user,root".into()),
    }
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

/// `rocbed cache`
#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// List what is kept, by kind, with sizes and the time of the last use
    List {
        /// List every package and index too, not only how many there are
        #[arg(long)]
        files: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove what was not used for a while, and then what is too much
    Prune {
        /// Keep what was used in the last so many days
        #[arg(long, default_value_t = 30, value_name = "DAYS")]
        older_than: u64,
        /// Of that, remove the least recently used until no more than this remains: 10GiB
        #[arg(long, default_value = "20GiB", value_name = "SIZE", value_parser = crate::recipe::parse_size)]
        max_size: u64,
        /// Remove everything; the next build fetches and makes it anew
        #[arg(long, conflicts_with_all = ["older_than", "max_size"])]
        all: bool,
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Read everything again and check it against its digest: files, root directories and results
    Verify {
        /// Remove what is damaged, to be fetched or made anew
        #[arg(long)]
        remove: bool,
    },
    /// Print where the cache is
    Path,
}

/// `rocbed detect`
#[derive(Debug, Args)]
pub struct Detect {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// A copy of a machine's /sys instead of this machine
    #[arg(long, value_name = "DIR")]
    pub sysfs: Option<PathBuf>,
    /// The kernel's log of that machine, as dmesg or journalctl -k print it
    #[arg(long, value_name = "FILE")]
    pub kernel_log: Option<PathBuf>,
}

/// `rocbed faults`
#[derive(Debug, Args)]
pub struct Faults {
    /// A file, or `-` for standard input [default: the running kernel's log]
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Print JSON: an array, empty where nothing is wrong
    #[arg(long)]
    pub json: bool,
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
