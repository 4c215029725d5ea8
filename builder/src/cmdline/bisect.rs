//! Options of `rocbed bisect`.

use std::path::PathBuf;

use clap::Args;

use super::{AtHub, Source};

/// `rocbed bisect`
#[derive(Debug, Args)]
pub struct Bisect {
    /// A package whose test fails; or two results, the good one first: jobs of the hub, or files (a result bundle, or a
    /// result.json)
    #[arg(value_name = "PACKAGE | GOOD BAD", num_args = 0..=2, required_unless_present_any = ["job", "take_up"])]
    pub what: Vec<String>,
    /// The failure of this job: good and bad end come from the history
    #[arg(long, value_name = "ID", conflicts_with = "what")]
    pub job: Option<String>,
    /// The target on which the package fails: gfx1030; or none, for runs without a GPU
    #[arg(long, value_parser = target)]
    pub target: Option<String>,
    /// The test [default: the first that passed and then failed]
    #[arg(long, value_name = "NAME")]
    pub test: Option<String>,
    /// Take up the search that was stopped
    #[arg(long = "continue", conflicts_with_all = ["what", "job", "target", "test", "local", "repeat"])]
    pub take_up: bool,
    /// Search by the archive's date, where apt finds its old states at a snapshot service, and not by package
    #[arg(long, conflicts_with = "take_up")]
    pub dates: bool,
    /// Only say what would be run, and how long it would take
    #[arg(long)]
    pub plan: bool,
    /// Begin without asking
    #[arg(short, long)]
    pub yes: bool,
    /// Run the tests here, in testbeds over this recipe's root directory, and not on the hub's workers. Versions that the
    /// archive has no more come from the hub, if it keeps them and its admin token is known
    #[arg(long, value_name = "RECIPE", group = "here")]
    pub local: Option<String>,
    /// Boot these images in virtual machines here and run the test there, to search by kernel and firmware: two directories
    /// or more in a row, the good one first; or two locks of --recipe, by which images are built
    #[arg(long, value_name = "DIR|LOCK", group = "here", conflicts_with_all = ["dates", "take_up"])]
    pub image: Vec<PathBuf>,
    /// With --image: memory of the virtual machines, with a unit: 4GiB
    #[arg(long, value_name = "SIZE", requires = "image", value_parser = super::boot::memory)]
    pub memory: Option<u64>,
    /// The recipe whose archive says which packages need each other [default: that of --local, or of the image in which the
    /// test failed, else rocm]; with locks as --image: their recipe
    #[arg(long, value_name = "RECIPE", conflicts_with = "take_up")]
    pub recipe: Option<String>,
    /// With --local: give the testbeds this machine's GPUs, or simulated ones, as for `rocbed test`; with --image: simulate
    /// these in the machines
    #[arg(long, value_name = "ID", num_args = 0.., require_equals = true, value_delimiter = ',', requires = "here")]
    pub gpu: Option<Vec<String>>,
    /// How often the test has to pass before a set of packages counts as good [default: by how often it failed]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeat: Option<u32>,
    /// Priority of the jobs at the hub: jobs with a higher number come first
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, default_value_t = -5)]
    pub priority: i32,
    /// Where the search is kept, to be taken up
    #[arg(long, value_name = "FILE", default_value = "rocbed-bisect.json")]
    pub state: PathBuf,
    /// Print the plan, or what was found, as JSON
    #[arg(long)]
    pub json: bool,
    /// Where packages come from.
    #[command(flatten)]
    pub source: Source,
    /// Which hub.
    #[command(flatten)]
    pub at: AtHub,
}

/// A target as the history has it.
fn target(text: &str) -> Result<String, String> {
    if text == "none" {
        return Ok(text.to_owned());
    }
    text.parse::<gpu::Target>().map(|target| target.without_features().to_string()).map_err(|error| error.to_string())
}
