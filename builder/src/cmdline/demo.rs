//! Options of `rocbed demo`.

use std::path::PathBuf;

use clap::Args;

/// `rocbed demo`
#[derive(Debug, Args)]
pub struct Demo {
    /// Keep everything that it makes in this directory
    #[arg(short, long, value_name = "DIR", default_value = "rocbed-demo")]
    pub output: PathBuf,
    /// Take packages from this mirror [default: the one that apt uses here]
    #[arg(long, value_name = "URL", env = "ROCBED_MIRROR", hide_env_values = true)]
    pub mirror: Option<String>,
}
