//! `rocbed results`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use protocol::Verdict;

use super::AtHub;

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
    /// How many at most; 0 for all
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 50)]
    pub limit: usize,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Which hub.
    #[command(flatten)]
    pub at: AtHub,
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
