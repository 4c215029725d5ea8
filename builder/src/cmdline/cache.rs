//! Options of `rocbed cache` and its subcommands.

use clap::Subcommand;

/// `rocbed cache`
#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// List what is kept, by kind, with sizes and the time of the last use
    List {
        /// List every package and index too, not only how many there are
        #[arg(long)]
        files: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove what was not used for a while, and then what is too much
    Prune {
        /// Keep what was used in the last so many days
        #[arg(long, default_value_t = 30, value_name = "DAYS")]
        older_than: u64,
        /// Of that, remove the least recently used until no more than this remains: 10GiB
        #[arg(long, default_value = "20GiB", value_name = "SIZE", value_parser = crate::recipe::parse_size)]
        max_size: u64,
        /// Remove everything; the next build fetches and makes it anew
        #[arg(long, conflicts_with_all = ["older_than", "max_size"])]
        all: bool,
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Read everything again and check it against its digest: files, root directories and results
    Verify {
        /// Remove what is damaged, to be fetched or made anew
        #[arg(long)]
        remove: bool,
    },
    /// Print where the cache is
    Path,
}
