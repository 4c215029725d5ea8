//! Options of `rocbed jobs` and its subcommands.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use protocol::api::JobState;
use protocol::{RunAs, Span};

use super::{AtHub, ListOf, PackageOptions, run_as};

/// `rocbed jobs`
#[derive(Debug, Subcommand)]
pub enum JobsCommand {
    /// Add jobs for source packages
    Add(JobsAdd),
    /// Add the jobs of a list
    Import(JobsImport),
    /// Make a job list out of the archive's indexes
    ///
    /// Takes the source packages that have tests and use pkg-rocm-tools, or belong to the Debian ROCm team. Which GPUs they
    /// need is read from a source tree's debian/tests/control (`--source`), else from X-ROCm-GPU-Architecture of their
    /// packages, else it is any.
    Make(JobsMake),
    /// List jobs, the newest first
    List(JobsList),
    /// Show one with everything that is known of it
    Show(JobsShow),
    /// Follow jobs until they are over; exit status as autopkgtest's
    ///
    /// The log of a single job goes to stderr while it runs; of several, what they are doing. The table of what came of them
    /// goes to stdout. Exit status: 0 all passed, 2 some were neutral, 4 some failed, 6 both, 8 nothing tested, 16 testbed failed
    /// or no result, 20 something else went wrong.
    Watch(JobsWatch),
    /// Cancel jobs
    Cancel(JobsNamed),
    /// Add jobs like some that are over
    Retry(JobsNamed),
    /// Run the failing tests of jobs again
    ///
    /// The outcomes are shown together with the first one, which stays. A test that then passes is flaky.
    Confirm(JobsConfirm),
}

/// `rocbed jobs confirm`
#[derive(Debug, Args)]
pub struct JobsConfirm {
    /// The jobs' ids
    #[arg(value_name = "ID", required = true)]
    pub jobs: Vec<String>,
    /// On another machine than before, if one could take it
    #[arg(long)]
    pub elsewhere: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Which hub.
    #[command(flatten)]
    pub at: AtHub,
}

/// `rocbed jobs add`
#[derive(Debug, Args)]
pub struct JobsAdd {
    /// Source packages of the archive; addresses of source trees: a .tar, a .dsc, a git repository; own packages, which are
    /// installed in place of the archive's: .deb and .changes files, directories of them
    #[arg(required = true, value_name = "PACKAGE")]
    pub packages: Vec<String>,
    /// Which GPU: targets of which any will do (gfx1030,gfx11-generic), `any`, or `none` [default: one if there is one]
    #[arg(long, value_name = "TARGETS", value_delimiter = ',')]
    pub gpu: Vec<String>,
    /// How many GPUs
    #[arg(long, value_name = "COUNT")]
    pub gpus: Option<u32>,
    /// Make a job for each of the targets, instead of one for whichever comes first
    #[arg(long, requires = "gpu")]
    pub each_target: bool,
    /// Who runs the tests, one run each [default: user]
    #[arg(long = "as", value_name = "user|root", value_delimiter = ',', value_parser = run_as)]
    pub run_as: Vec<RunAs>,
    /// End the tests when this time is over and keep what there is: 90m, 2h [default: 4h]
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<Span>,
    /// Jobs with a higher number come first [default: 0]
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub priority: Option<i32>,
    /// Take packages from another suite: experimental=src:rocr-runtime
    #[arg(long, value_name = "RELEASE=PACKAGES")]
    pub pin: Vec<String>,
    /// Further packages, versions and archives.
    #[command(flatten)]
    pub other: PackageOptions,
    /// Also run the tests with the archive's packages, to compare the results
    #[arg(long, conflicts_with = "each_target")]
    pub compare: bool,
    /// A variable for the tests
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    pub env: Vec<(String, String)>,
    /// Only this test; may be given several times
    #[arg(long = "test", value_name = "NAME")]
    pub tests: Vec<String>,
    /// Memory that the machine must have at least, with a unit: 32GiB
    #[arg(long, value_name = "SIZE", value_parser = crate::recipe::parse_size)]
    pub memory: Option<u64>,
    /// Memory that each of its GPUs must have at least, with a unit: 16GiB
    #[arg(long, value_name = "SIZE", value_parser = crate::recipe::parse_size)]
    pub gpu_memory: Option<u64>,
    /// Split each job into so many parts, which run on whatever is free: their tests see `GTEST_TOTAL_SHARDS` and
    /// `GTEST_SHARD_INDEX`, and the hub joins their results. Tests that do not use GoogleTest run in full in each part
    #[arg(long, value_name = "COUNT")]
    pub shards: Option<u32>,
    /// Follow them until they are over; exit status as autopkgtest's
    #[arg(long)]
    pub watch: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Which hub.
    #[command(flatten)]
    pub at: AtHub,
}

pub(super) fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".into()),
    }
}

/// `rocbed jobs import`
#[derive(Debug, Args)]
pub struct JobsImport {
    /// A job list in TOML or JSON; `-` reads stdin
    pub file: PathBuf,
    /// Make a job for each target of a job that names several
    #[arg(long)]
    pub each_target: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Which hub.
    #[command(flatten)]
    pub at: AtHub,
}

/// `rocbed jobs make`
#[derive(Debug, Args)]
pub struct JobsMake {
    /// The recipe that says which archive: a name, or a path
    #[arg(long, default_value = "rocm")]
    pub recipe: String,
    /// Instead: the packages whose tests or binaries depend on this one (source or binary; may be given several times)
    #[arg(long, value_name = "PACKAGE")]
    pub rdeps_of: Vec<String>,
    /// Only those that changed since this lock was made, themselves or in what they depend on
    #[arg(long, value_name = "LOCK")]
    pub changed_since: Option<PathBuf>,
    /// Read which GPUs a package needs from its unpacked source tree; may be given several times
    #[arg(long, value_name = "DIR")]
    pub source: Vec<PathBuf>,
    /// A job for each of these targets, where the package is built for it
    #[arg(long, value_name = "TARGETS", value_delimiter = ',')]
    pub gpu: Vec<gpu::Target>,
    /// Write the list to this file [default: stdout]
    #[arg(short, long, value_name = "FILE", conflicts_with = "add")]
    pub output: Option<PathBuf>,
    /// Add the jobs to the hub instead
    #[arg(long)]
    pub add: bool,
    /// Print JSON instead of TOML
    #[arg(long)]
    pub json: bool,
    /// Take packages from this mirror [default: the recipe's, else the one that apt uses here]
    #[arg(long, value_name = "URL", env = "ROCBED_MIRROR", hide_env_values = true)]
    pub mirror: Option<String>,
    /// Accept a Release file whose Valid-Until has passed (signatures are checked all the same)
    #[arg(long)]
    pub ignore_valid_until: bool,
    /// Which hub.
    #[command(flatten)]
    pub at: AtHub,
}

/// `rocbed jobs list`
#[derive(Debug, Args)]
pub struct JobsList {
    /// Only those in this state: queued, running, finished, cancelled, given-up
    #[arg(long)]
    pub state: Option<JobState>,
    /// Only those of this package
    #[arg(long)]
    pub package: Option<String>,
    /// Only those with results on this target: gfx1030; none without a GPU
    #[arg(long)]
    pub target: Option<String>,
    /// Only those that this worker has or had last: its name, its id, or the beginning of either
    #[arg(long)]
    pub worker: Option<String>,
    /// How much of it, and of which hub.
    #[command(flatten)]
    pub list: ListOf,
}

/// `rocbed jobs show`
#[derive(Debug, Args)]
pub struct JobsShow {
    /// The job's id
    #[arg(value_name = "ID")]
    pub job: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Which hub.
    #[command(flatten)]
    pub at: AtHub,
}

/// `rocbed jobs watch`
#[derive(Debug, Args)]
pub struct JobsWatch {
    /// The jobs' ids
    #[arg(value_name = "ID", required_unless_present = "all")]
    pub jobs: Vec<String>,
    /// All that are queued or running now
    #[arg(long, conflicts_with = "jobs")]
    pub all: bool,
    /// Print what came of them as JSON
    #[arg(long)]
    pub json: bool,
    /// Which hub.
    #[command(flatten)]
    pub at: AtHub,
}

/// `rocbed jobs cancel` and `rocbed jobs retry`
#[derive(Debug, Args)]
pub struct JobsNamed {
    /// The jobs' ids
    #[arg(value_name = "ID", required = true)]
    pub jobs: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Which hub.
    #[command(flatten)]
    pub at: AtHub,
}
