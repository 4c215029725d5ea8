//! Options of `rocbed results` and its subcommands.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use protocol::Verdict;

use super::{AtHub, ListOf};

/// `rocbed results`
#[derive(Debug, Subcommand)]
pub enum ResultsCommand {
    /// List results, those of the newest jobs first
    List(ResultsList),
    /// Show what came of a job: each test, the machine, the GPU, versions
    Show(ResultsShow),
    /// Download result bundles
    Fetch(ResultsFetch),
    /// Print the JUnit XML of a result
    Junit(ResultsJunit),
    /// Write a result's page as a file that needs no hub to be looked at
    Report(ResultsReport),
    /// Show since when the tests of a package fail, or have passed again
    ///
    /// Lists for each test and target its state, the changes of its state, and what passed last.
    History(ResultsHistory),
    /// Compare two jobs, or all tests of two days
    ///
    /// Exit status: 0 nothing is worse, 4 tests have regressed, 8 there is nothing to compare.
    Compare(ResultsCompare),
    /// Show what changed when the tests of a package began to fail
    ///
    /// Lists kernel, firmware, image, machine and packages that differ between the last run that passed and the first that
    /// failed; which of them a passing run had too; and where else the test fails. Exit status: 0 no test fails, 4 some do, 8
    /// nothing is known.
    Why(ResultsWhy),
    /// Print the text of a bug report about a job, for reportbug
    Bug(ResultsBug),
}

/// Tests of a package, for commands about their history.
#[derive(Debug, Args)]
pub struct TestsOf {
    /// The source package
    #[arg(value_name = "PACKAGE")]
    pub package: String,
    /// Only on this target: gfx1030
    #[arg(long)]
    pub target: Option<gpu::Target>,
    /// Only this test
    #[arg(long, value_name = "NAME")]
    pub test: Option<String>,
}

/// `rocbed results history`
#[derive(Debug, Args)]
pub struct ResultsHistory {
    /// Which tests.
    #[command(flatten)]
    pub of: TestsOf,
    /// List every run, not only changes of state
    #[arg(long)]
    pub all: bool,
    /// Also runs with pinned packages, other source trees or variables
    #[arg(long)]
    pub variants: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Which hub.
    #[command(flatten)]
    pub at: AtHub,
}

/// `rocbed results compare`
#[derive(Debug, Args)]
pub struct ResultsCompare {
    /// A job's id, or a day: 2026-10-01, `today`, `yesterday`
    #[arg(value_name = "BEFORE")]
    pub before: String,
    /// A job's id, or a day
    #[arg(value_name = "AFTER")]
    pub after: String,
    /// Only this package, of days
    #[arg(long)]
    pub package: Option<String>,
    /// Also list tests that pass in both
    #[arg(long)]
    pub all: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Which hub.
    #[command(flatten)]
    pub at: AtHub,
}

/// `rocbed results why`
#[derive(Debug, Args)]
pub struct ResultsWhy {
    /// Which tests.
    #[command(flatten)]
    pub of: TestsOf,
    /// List all changed packages, also those that a passing run had
    #[arg(long)]
    pub all: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Which hub.
    #[command(flatten)]
    pub at: AtHub,
}

/// `rocbed results bug`
#[derive(Debug, Args)]
pub struct ResultsBug {
    /// The job's id
    #[arg(value_name = "ID")]
    pub job: String,
    /// Which hub.
    #[command(flatten)]
    pub at: AtHub,
}

/// `rocbed results list`
#[derive(Debug, Args)]
pub struct ResultsList {
    /// Only of this package
    #[arg(long)]
    pub package: Option<String>,
    /// Only on this target: gfx1030
    #[arg(long)]
    pub target: Option<gpu::Target>,
    /// Only with this verdict: pass, neutral, fail, timeout, gpu-fault, testbed-failed
    #[arg(long)]
    pub verdict: Option<Verdict>,
    /// Only from this worker: its name, its id, or the beginning of either
    #[arg(long)]
    pub worker: Option<String>,
    /// How much of it, and of which hub.
    #[command(flatten)]
    pub list: ListOf,
}

/// `rocbed results show`
#[derive(Debug, Args)]
pub struct ResultsShow {
    /// The job's id
    #[arg(value_name = "ID")]
    pub job: String,
    /// List every case of GTest and JUnit reports, not only those that failed
    #[arg(long)]
    pub cases: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Which hub.
    #[command(flatten)]
    pub at: AtHub,
}

/// `rocbed results fetch`
#[derive(Debug, Args)]
pub struct ResultsFetch {
    /// The jobs' ids
    #[arg(value_name = "ID", required = true)]
    pub jobs: Vec<String>,
    /// Where bundles go, as ID.tar.zst; what is there already is not downloaded again
    #[arg(short, long, value_name = "DIR", default_value = "results")]
    pub output: PathBuf,
    /// Also unpack each into a directory ID beside it
    #[arg(long)]
    pub unpack: bool,
    /// Print what was fetched as JSON
    #[arg(long)]
    pub json: bool,
    /// Which hub.
    #[command(flatten)]
    pub at: AtHub,
}

/// `rocbed results junit`
#[derive(Debug, Args)]
pub struct ResultsJunit {
    /// The job's id
    #[arg(value_name = "ID")]
    pub job: String,
    /// Write it to this file [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Which hub.
    #[command(flatten)]
    pub at: AtHub,
}

/// `rocbed results report`
#[derive(Debug, Args)]
pub struct ResultsReport {
    /// The job's id
    #[arg(value_name = "ID")]
    pub job: String,
    /// Write it to this file [default: ID.html]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Which hub.
    #[command(flatten)]
    pub at: AtHub,
}
