//! Options of `rocbed flash`, `rocbed settings` and `rocbed collect`.

use std::path::PathBuf;

use clap::Args;
use diskimage::SectorSize;
use safetext::Secret;
use sha256::Digest;

/// `rocbed flash`
#[derive(Debug, Args)]
pub struct Flash {
    /// An image directory, its disk.img or disk.img.zst, or the http(s) address of one of these
    #[arg(required_unless_present = "list")]
    pub image: Option<String>,
    /// The stick, a whole disk: /dev/sdX [default: list what there is]
    pub device: Option<PathBuf>,
    /// List the disks that there are, with what is on them
    #[arg(long, conflicts_with_all = ["image", "device"])]
    pub list: bool,
    /// Print the list as JSON
    #[arg(long)]
    pub json: bool,
    /// Do not ask: what is on the device is lost
    #[arg(short, long)]
    pub yes: bool,
    /// Write a disk that is not removable too
    #[arg(long)]
    pub i_know: bool,
    /// DEVICE is a regular file, for a virtual machine; it is made, or overwritten
    #[arg(long)]
    pub file: bool,
    /// Size of the file [default: as small as the image can be]
    #[arg(long, value_name = "SIZE", requires = "file", value_parser = crate::recipe::parse_size)]
    pub size: Option<u64>,
    /// Logical sector size that the file is laid out for: 512 or 4096 [default: the image's]
    #[arg(long, value_name = "BYTES", requires = "file", value_parser = super::build::sector_size)]
    pub sector_size: Option<SectorSize>,
    /// SHA-256 of the image's file [default: from SHA256SUMS beside it]
    #[arg(long, value_name = "DIGEST")]
    pub sha256: Option<Digest>,
    /// Do not read back what was written
    #[arg(long)]
    pub no_verify: bool,
    /// Setting: the hub to take jobs from
    #[arg(long, value_name = "URL")]
    pub hub: Option<String>,
    /// Setting: what makes the hub take a new worker
    #[arg(long, value_name = "TOKEN")]
    pub join_token: Option<Secret>,
    /// Setting: the machine's name
    #[arg(long)]
    pub name: Option<String>,
    /// What goes onto the stick beside the image.
    #[command(flatten)]
    pub onto: OntoStick,
}

/// What goes onto a stick.
#[derive(Debug, Clone, Args)]
pub struct OntoStick {
    /// Set a setting of the appliance; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
    /// Put this job list (TOML or JSON) onto the stick: the machine runs it wherever it is started
    #[arg(long, value_name = "FILE")]
    pub jobs: Option<PathBuf>,
}

/// `rocbed settings`
#[derive(Debug, Args)]
pub struct SettingsArgs {
    /// A stick (/dev/sdX), an image directory or a disk.img
    pub device: PathBuf,
    /// What to change.
    #[command(flatten)]
    pub onto: OntoStick,
    /// Remove a setting; may be given several times
    #[arg(long, value_name = "KEY")]
    pub unset: Vec<String>,
    /// Print the settings as JSON
    #[arg(long)]
    pub json: bool,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a setting is KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

/// `rocbed collect`
#[derive(Debug, Args)]
pub struct Collect {
    /// A stick (/dev/sdX) or a disk image
    pub device: PathBuf,
    /// Where the results go, under their paths on the stick
    #[arg(short, long, value_name = "DIR", default_value = "results")]
    pub output: PathBuf,
    /// Print what was copied as JSON
    #[arg(long)]
    pub json: bool,
}
