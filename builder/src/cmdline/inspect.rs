//! Options of `rocbed inspect` and `rocbed diff`.

use std::path::PathBuf;

use clap::Args;

/// `rocbed inspect`
#[derive(Debug, Args)]
pub struct Inspect {
    /// An image directory, one of its files (disk.img, root.img, uki.efi, initrd.img; .zst too), a disk or partition with
    /// an image on it, or - for stdin
    pub image: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// List every installed package with its version
    #[arg(long)]
    pub packages: bool,
    /// List every file of the root file system (or initramfs)
    #[arg(long)]
    pub files: bool,
}

/// `rocbed diff`
#[derive(Debug, Args)]
pub struct Diff {
    /// The older one: an image directory, disk.img, root.img, a disk or a lock
    pub old: PathBuf,
    /// The newer one
    pub new: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
