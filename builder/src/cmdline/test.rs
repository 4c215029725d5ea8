//! Options of `rocbed test` and `rocbed simulate`.

use std::path::PathBuf;

use clap::Args;

use super::Source;

/// `rocbed test`
#[derive(Debug, Args)]
pub struct Test {
    /// A name (recipes/NAME.toml here, else a shipped recipe), or a path
    pub recipe: String,
    /// A source package of the archive, a path to a source tree, a .dsc or a .tar: ./tree, or the address of a git repository, a
    /// .dsc or a .tar; and own packages, which are installed in place of the archive's: .deb and .changes files, directories
    /// of them
    #[arg(required = true, value_name = "PACKAGE")]
    pub packages: Vec<String>,
    /// Give the testbeds this machine's GPUs: all that ROCm can use, or those with these ids; or simulated ones with these
    /// targets: --gpu=gfx1100
    #[arg(long, value_name = "ID", num_args = 0.., require_equals = true, value_delimiter = ',')]
    pub gpu: Option<Vec<String>>,
    /// Interpret kernels for gfx10 and gfx11 on the processor, slowly, where --gpu names targets; the result stays a simulated
    /// one. A test that launches what cannot be interpreted fails
    #[arg(long, requires = "gpu")]
    pub run_kernels: bool,
    /// Who runs the tests, one run each [default: user]
    #[arg(long = "as", value_name = "user|root", value_delimiter = ',', value_parser = run_as)]
    pub run_as: Vec<protocol::RunAs>,
    /// Further packages, versions and archives.
    #[command(flatten)]
    pub other: PackageOptions,
    /// Run the tests with the archive's packages first, then with the own ones, and show what differs
    #[arg(long)]
    pub compare: bool,
    /// Run the tests in so many parts, one after the other, by GoogleTest's protocol for sharding, and put the results
    /// together; each part has the time of --timeout
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub shards: u32,
    /// End the tests when this time is over and keep what there is: 90m, 2h
    #[arg(long, value_name = "TIME", default_value_t = protocol::Job::TIMEOUT)]
    pub timeout: protocol::Span,
    /// Keep autopkgtest's output and the result bundle in this directory; it is made, or empty
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// How much a testbed may write, in memory: 4G, 25% [default: half of the memory]
    #[arg(long, value_name = "SIZE", conflicts_with = "overlay_dir", value_parser = overlay_size)]
    pub overlay_size: Option<String>,
    /// How much memory a testbed may use, files in memory included: 8G, 50%; by a control group of systemd's [default: 90%
    /// of what is available, where there is systemd]
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub memory: Option<String>,
    /// Keep what testbeds write in this directory instead of memory; its file system is the limit
    #[arg(long, value_name = "DIR")]
    pub overlay_dir: Option<PathBuf>,
    /// Run each testbed as a virtual machine with the image in this directory [default: images/RECIPE], for tests that need
    /// a machine of their own; --overlay-dir is the directory of its disk then, and --memory the machine's memory
    #[arg(long, value_name = "IMAGE", num_args = 0..=1, require_equals = true, conflicts_with_all = ["gpu", "overlay_size"])]
    pub vm: Option<Option<PathBuf>>,
    /// Print the result as JSON; with --compare what differs
    #[arg(long)]
    pub json: bool,
    /// Where packages come from.
    #[command(flatten)]
    pub source: Source,
    /// Options for autopkgtest, after `--`
    #[arg(last = true, value_name = "AUTOPKGTEST OPTION")]
    pub autopkgtest: Vec<String>,
}

/// Which packages are installed for tests, besides the archive's.
#[derive(Debug, Args)]
pub struct PackageOptions {
    /// Where testbeds have or get this binary package, it has this version, also an older one: gzip=1.13-1
    #[arg(long, value_name = "NAME=VERSION", value_parser = super::jobs::variable)]
    pub package_version: Vec<(String, String)>,
    /// Packages as the archive had them then (20261001T000000Z), or rather those of this suite (experimental)
    #[arg(long, value_name = "DATE|SUITE")]
    pub archive: Option<protocol::JobArchive>,
    /// An additional apt source: a file as in /etc/apt/sources.list.d, deb822 style, with its key
    #[arg(long, value_name = "FILE")]
    pub apt_source: Vec<PathBuf>,
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
    /// Interpret kernels for gfx10 and gfx11 on the processor, slowly; an unknown instruction ends the program and is named
    #[arg(long, conflicts_with = "skip_kernels")]
    pub run_kernels: bool,
    /// Where packages come from.
    #[command(flatten)]
    pub source: Source,
    /// The command, after `--`
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<std::ffi::OsString>,
}

/// A size as testbeds take it.
fn overlay_size(text: &str) -> Result<String, String> {
    checked(text, &["--overlay-size", text])
}

/// A limit for memory as testbeds take it.
fn memory(text: &str) -> Result<String, String> {
    checked(text, &["--cgroup", "/", "--memory", text])
}

/// A value that the server takes in these options.
fn checked(text: &str, options: &[&str]) -> Result<String, String> {
    let words = ["--root", "/"].iter().chain(options).map(std::ffi::OsString::from);
    testbed::TestbedOptions::parse(words).map(|_| text.to_owned()).map_err(|error| match error {
        testbed::Error::Usage(message) => message,
        other => other.to_string(),
    })
}

pub(super) fn run_as(text: &str) -> Result<protocol::RunAs, String> {
    match text {
        "user" => Ok(protocol::RunAs::User),
        "root" => Ok(protocol::RunAs::Root),
        _ => Err("tests are run as `user`, as `root`, or as both in turn: user,root".into()),
    }
}
