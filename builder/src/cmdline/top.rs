//! Options of `rocbed top`.

use clap::Args;
use protocol::Span;

use super::AtHub;

/// `rocbed top`
#[derive(Debug, Args)]
pub struct Top {
    /// Ask the hub again after this time: 2s, 1m
    #[arg(long, value_name = "TIME", default_value_t = Span::seconds(2))]
    pub every: Span,
    /// Print one look at the hub as JSON
    #[arg(long)]
    pub json: bool,
    /// Which hub.
    #[command(flatten)]
    pub at: AtHub,
}
