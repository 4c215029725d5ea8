//! Options of `rocbed oci`, which is not for users and not in the help.

use std::path::PathBuf;

use clap::Args;

use super::Source;

/// `rocbed oci`
#[derive(Debug, Args)]
pub struct Oci {
    /// A name (recipes/NAME.toml here, else a shipped recipe), or a path
    pub recipe: String,
    /// Take only the files of these packages, and these files (/PATH), of the root directory
    #[arg(long, value_name = "PACKAGE|/PATH", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Add the files below this directory, as root's, in a layer of their own
    #[arg(long, value_name = "DIR")]
    pub files: Option<PathBuf>,
    /// How a container is started: the object `config` of the specification, as JSON
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Name and tag of the image
    #[arg(long, value_name = "NAME:TAG")]
    pub name: String,
    /// Compress it less: for tests
    #[arg(long)]
    pub quick: bool,
    /// Where it goes
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Where packages come from.
    #[command(flatten)]
    pub source: Source,
}
