//! [`Setup`]: the configuration for running a job.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use protocol::{Job, Machine, Span};

use crate::apt_files::ExtraSources;

/// Configuration for running a job: everything that depends on the machine and not on the job.
#[derive(Debug, Clone)]
pub struct Setup {
    /// autopkgtest(1), as a path or a name that is searched in `PATH`, with arguments that precede the runner's.
    pub autopkgtest: Vec<OsString>,
    /// The virtualisation server and its arguments, without `--gpu`, which is added for the granted GPUs.
    pub virt_server: Vec<OsString>,
    /// Directory for temporary files. The runner removes all files that it creates here.
    pub work: PathBuf,
    /// If set, the bundle's files are also kept in this directory, which is created or must be empty.
    pub keep: Option<PathBuf>,
    /// Directory of the bundle.
    pub bundles: PathBuf,
    /// File name of the bundle without `.tar.zst`: a lease, or the job's id.
    pub name: String,
    /// Description of this machine, for the result.
    pub machine: Machine,
    /// GPUs in the testbed; it has none if this is empty. Of simulated ones it has what [`machine`](Self::machine) says.
    pub gpus: Vec<Grant>,
    /// Files and directories to copy into each testbed: source and destination.
    pub copies: Vec<(PathBuf, String)>,
    /// Local copy of the source, for a job that names a path or an address: a source tree, a `.dsc` with its files
    /// beside it, or a tar file. Without it, the job's path is used as it is.
    pub source: Option<PathBuf>,
    /// Local copies of the job's `.deb` files, in the job's order. Files whose digest the job does not have are used as
    /// they are.
    pub packages: Vec<PathBuf>,
    /// Additional apt sources, besides the job's own.
    pub extra_sources: ExtraSources,
    /// Environment variables for the tests. The job's own take precedence.
    pub environment: BTreeMap<String, String>,
    /// Additional options for autopkgtest.
    pub options: Vec<OsString>,
    /// Limits for the tests' output and for ending processes.
    pub limits: Limits,
    /// The processors that the virtualisation server keeps testbeds on, as the kernel lists them, for the result.
    pub processors: Option<String>,
    /// The most time that the machine gives a job, whatever it asks for.
    pub longest: Option<Span>,
}

/// A GPU that the tests may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Id in the inventory: `0000:03:00.0`, `simulated-0`.
    pub id: String,
    /// Device file, such as `/dev/dri/renderD128`; a simulated GPU has none.
    pub render_node: Option<PathBuf>,
    /// Whether the GPU is simulated.
    pub simulated: bool,
}

impl From<&gpu::Gpu> for Grant {
    fn from(gpu: &gpu::Gpu) -> Self {
        Self { id: gpu.id.clone(), render_node: gpu.render_node.as_ref().map(PathBuf::from), simulated: gpu.simulated }
    }
}

/// Limits for the tests' output and for ending processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of autopkgtest's output directories in the bundle; the rest is left out, and the result says so.
    pub artifacts: u64,
    /// Most files of these directories in the bundle.
    pub files: usize,
    /// Largest log, and largest log of each run, in bytes: the first and the last part are kept.
    pub log: u64,
    /// Time for autopkgtest to collect the output after a GPU fault.
    pub after_fault: Duration,
    /// Time for a terminated autopkgtest to end before it is killed.
    pub terminate: Duration,
    /// Time for killed processes to end before they count as stuck in the kernel.
    pub kill: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            artifacts: 2 << 30,
            files: 100_000,
            log: 256 << 20,
            after_fault: Duration::from_secs(30),
            terminate: Duration::from_secs(20),
            kill: Duration::from_secs(20),
        }
    }
}

impl Setup {
    /// A default setup for a virtualisation server, with directories for temporary files and for the bundle.
    pub fn new(virt_server: Vec<OsString>, work: PathBuf, bundles: PathBuf, name: &str) -> Self {
        Self {
            autopkgtest: vec!["autopkgtest".into()],
            virt_server,
            work,
            keep: None,
            bundles,
            name: name.to_owned(),
            machine: Machine::default(),
            gpus: Vec::new(),
            copies: Vec::new(),
            source: None,
            packages: Vec::new(),
            extra_sources: ExtraSources::default(),
            environment: BTreeMap::new(),
            options: Vec::new(),
            limits: Limits::default(),
            processors: None,
            longest: None,
        }
    }

    /// How much time a job has.
    pub(crate) fn time_of(&self, job: &Job) -> Span {
        self.longest.filter(|longest| longest.0 < job.timeout.0).unwrap_or(job.timeout)
    }

    /// Whether testbeds have a limit for their memory, and so tell themselves that they reached it.
    pub(crate) fn limits_memory(&self) -> bool {
        self.virt_server.iter().any(|word| word == "--memory")
    }

    /// File in which testbeds say how far programs came on simulated GPUs, one line for each command.
    pub(crate) fn simulation(&self) -> PathBuf {
        self.work.join("simulation")
    }
}
