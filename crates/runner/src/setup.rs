//! [`Setup`]: with what a job is run.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use protocol::Machine;

/// With what a job is run: everything that is the machine's and not the job's.
#[derive(Debug, Clone)]
pub struct Setup {
    /// autopkgtest(1): a path, or a name to be looked for in `PATH`; and what comes before its own arguments.
    pub autopkgtest: Vec<OsString>,
    /// The virtualisation server and its arguments, without `--gpu`, which is added for the granted GPUs.
    pub virt_server: Vec<OsString>,
    /// Where temporary files go. Everything that is made here is removed.
    pub work: PathBuf,
    /// Keep what goes into the bundle in this directory too; it is made, or empty.
    pub keep: Option<PathBuf>,
    /// The directory that the bundle goes to.
    pub bundles: PathBuf,
    /// The bundle's name, without `.tar.zst`: a lease, or the job's id.
    pub name: String,
    /// Where this is, for the result.
    pub machine: Machine,
    /// The GPUs in the testbed; none if empty.
    pub gpus: Vec<Grant>,
    /// Files and directories that are copied into each testbed: from where, to where.
    pub copies: Vec<(PathBuf, String)>,
    /// The source of a job that names a path or an address, where the caller has it here already: a source tree, a
    /// `.dsc` with its files beside it, or a tar file. Without it a path is taken as it is written.
    pub source: Option<PathBuf>,
    /// Environment of the tests besides the job's, which goes before it.
    pub environment: BTreeMap<String, String>,
    /// More options for autopkgtest.
    pub options: Vec<OsString>,
    /// How much is kept of what tests leave.
    pub limits: Limits,
}

/// A GPU that the tests may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its id in the inventory: `0000:03:00.0`, `simulated-0`.
    pub id: String,
    /// Its device file: `/dev/dri/renderD128`; a simulated GPU has none.
    pub render_node: Option<PathBuf>,
    /// Whether it is made up.
    pub simulated: bool,
}

impl From<&gpu::Gpu> for Grant {
    fn from(gpu: &gpu::Gpu) -> Self {
        Self { id: gpu.id.clone(), render_node: gpu.render_node.as_ref().map(PathBuf::from), simulated: gpu.simulated }
    }
}

/// How much is kept of what tests leave, and how long endings may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of autopkgtest's output directories in the bundle; what is beyond is left out, and the result says so.
    pub artifacts: u64,
    /// Files of them.
    pub files: usize,
    /// Bytes of the log, and of each run's own: the first and the last part are kept.
    pub log: u64,
    /// How long autopkgtest may take to collect what there is after a fault of the GPU.
    pub after_fault: Duration,
    /// How long an autopkgtest that was asked to end may take before it is killed.
    pub terminate: Duration,
    /// How long killed processes may take to go before they are given up as stuck in the kernel.
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
    /// A setup for a virtualisation server, with temporary files and the bundle in these directories.
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
            environment: BTreeMap::new(),
            options: Vec::new(),
            limits: Limits::default(),
        }
    }
}
