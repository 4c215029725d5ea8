//! Options of `rocbed boot`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use safetext::Secret;

/// How QEMU starts an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Firmware {
    /// Kernel, initramfs and root file system handed over directly: the fastest
    Direct,
    /// disk.img under UEFI firmware (OVMF), as on a real machine
    Uefi,
}

/// What disk.img looks like to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DiskKind {
    /// A virtio block device
    Virtio,
    /// An NVMe drive
    Nvme,
    /// A USB stick
    Usb,
}

/// What network a virtual machine is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Network {
    /// QEMU's own, with a way out
    User,
    /// QEMU's own, with no way out
    Isolated,
    /// No network card
    None,
}

/// What an appliance does when there are no more jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WhenDone {
    /// Switches the machine off
    PowerOff,
    /// Waits for more
    Wait,
}

/// `rocbed boot`
#[derive(Debug, Args)]
pub struct Boot {
    /// An image directory, or a disk: a disk.img, or what `rocbed flash --file` wrote
    pub image: PathBuf,
    /// How to start it [default: direct; uefi for a disk, and with --disk, --usb, --nvme or --secure-boot]
    #[arg(long, value_enum)]
    pub firmware: Option<Firmware>,
    /// Start it over the network instead, as a machine in a lab would: PXE, iPXE, HTTP, in QEMU's own network
    #[arg(long, conflicts_with_all = ["firmware", "disk", "usb", "nvme"])]
    pub netboot: bool,
    /// What the disk is, under UEFI [default: virtio]
    #[arg(long, value_enum)]
    pub disk: Option<DiskKind>,
    /// From a USB stick under UEFI: --firmware uefi --disk usb
    #[arg(long, conflicts_with = "disk")]
    pub usb: bool,
    /// From an NVMe drive under UEFI: --firmware uefi --disk nvme
    #[arg(long, conflicts_with_all = ["disk", "usb"])]
    pub nvme: bool,
    /// Under UEFI with Secure Boot on and Microsoft's keys, as machines are sold
    #[arg(long, conflicts_with = "netboot")]
    pub secure_boot: bool,
    /// Memory of the machine, with a unit: 1GiB, 512MiB
    #[arg(long, default_value = "1GiB", value_parser = memory)]
    pub memory: u64,
    /// Processors of the machine [default: 2 with KVM; 1 without, where more can make the kernel panic]
    #[arg(long)]
    pub smp: Option<u32>,
    /// Run the jobs of this list (TOML or JSON): its log goes to stderr, its results to --results
    #[arg(long, value_name = "FILE")]
    pub jobs: Option<PathBuf>,
    /// Where results go: a bundle for each job, and the console's log
    #[arg(long, value_name = "DIRECTORY", default_value = "results")]
    pub results: PathBuf,
    /// Take jobs from the hub at this address until the machine is ended (direct start only)
    #[arg(long, value_name = "URL", conflicts_with_all = ["jobs", "keep"])]
    pub hub: Option<String>,
    /// What makes the machine the hub's worker [default: from hubs.toml, or of the hub on this machine]
    #[arg(long, value_name = "TOKEN", env = "ROCBED_JOIN_TOKEN", hide_env_values = true)]
    pub join_token: Option<Secret>,
    /// What to do when the hub has no more jobs [default: the image's setting, which is to wait]
    #[arg(long, value_enum, requires = "hub")]
    pub when_done: Option<WhenDone>,
    /// Simulate this GPU in the machine, such as gfx1030; may be given more than once, or as gfx1030,gfx942
    #[arg(long, value_name = "TARGETS")]
    pub gpu: Vec<String>,
    /// The machine's network
    #[arg(long, value_enum, default_value = "user")]
    pub network: Network,
    /// Debian mirror for tests [default: the one that this machine's apt uses]
    #[arg(long, env = "ROCBED_MIRROR", hide_env_values = true, value_name = "URL")]
    pub mirror: Option<String>,
    /// Let apt in tests accept a Release file past its Valid-Until
    #[arg(long)]
    pub ignore_valid_until: bool,
    /// Print the results as JSON
    #[arg(long)]
    pub json: bool,
    /// Leave the machine running until it ends by itself; it is given no jobs
    #[arg(long, conflicts_with = "jobs")]
    pub keep: bool,
    /// Connect the serial console to this terminal, and ask for a root shell there; Ctrl-A X ends the machine
    ///
    /// There is a shell only if the image's recipe has `debug-shell = true` in [settings]. The machine is left running until
    /// it ends, and is given no jobs. `--debug` takes the machine's messages to the terminal as they are.
    #[arg(long, conflicts_with_all = ["jobs", "json"])]
    pub debug: bool,
    /// Give the machine a display, and keep a picture of it in this file (PNG), anew every second
    #[arg(long, value_name = "FILE")]
    pub screenshot: Option<PathBuf>,
    /// Give up after this many seconds [default: 180; with jobs the time that they may take and ten minutes more, and
    /// the machine has to be ready within the first ten minutes]
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    /// More words for the kernel command line (direct start only)
    #[arg(long, value_name = "WORDS")]
    pub append: Option<String>,
}

pub(super) fn memory(text: &str) -> Result<u64, String> {
    match crate::recipe::parse_size(text).map_err(|error| error.to_string())? {
        size if size < 256 << 20 => {
            Err(format!("{text} is too little to start in: give at least 256MiB, with the unit"))
        }
        size => Ok(size),
    }
}
