//! Options of `rocbed known` and its subcommands.

use clap::{Args, Subcommand};

use super::AtHub;

/// `rocbed known`
#[derive(Debug, Subcommand)]
pub enum KnownCommand {
    /// List a failure as known: it is shown again when the test passes or no longer runs
    Add(KnownAdd),
    /// List known failures
    List(KnownShow),
    /// Remove known failures
    Remove(KnownRemove),
}

/// `rocbed known add`
#[derive(Debug, Args)]
pub struct KnownAdd {
    /// The source package
    #[arg(value_name = "PACKAGE")]
    pub package: String,
    /// Only this test [default: all of the package's]
    #[arg(long, value_name = "NAME")]
    pub test: Option<String>,
    /// Only on this target: gfx1030 [default: all]
    #[arg(long)]
    pub target: Option<gpu::Target>,
    /// Number of the Debian bug, or the address of another one
    #[arg(long, value_name = "BUG", required_unless_present = "text")]
    pub bug: Option<String>,
    /// Why it is known
    #[arg(long, value_name = "TEXT")]
    pub text: Option<String>,
    /// The first version that is not expected to fail
    #[arg(long, value_name = "VERSION")]
    pub until: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Which hub.
    #[command(flatten)]
    pub at: AtHub,
}

/// `rocbed known list`
#[derive(Debug, Args)]
pub struct KnownShow {
    /// Only those of this package
    #[arg(long)]
    pub package: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Which hub.
    #[command(flatten)]
    pub at: AtHub,
}

/// `rocbed known remove`
#[derive(Debug, Args)]
pub struct KnownRemove {
    /// Their numbers, as `rocbed known list` shows them
    #[arg(value_name = "NUMBER", required = true)]
    pub numbers: Vec<i64>,
    /// Which hub.
    #[command(flatten)]
    pub at: AtHub,
}
