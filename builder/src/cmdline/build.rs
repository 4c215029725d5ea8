//! Options of `rocbed plan`, `rocbed lock` and `rocbed build`.

use std::path::PathBuf;

use clap::Args;
use diskimage::SectorSize;

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

pub(super) fn sector_size(text: &str) -> Result<SectorSize, String> {
    let known = text.parse().ok().and_then(SectorSize::of_bytes);
    known.ok_or_else(|| "a disk's logical sectors have 512 or 4096 bytes".into())
}
