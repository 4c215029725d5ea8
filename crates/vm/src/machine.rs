//! The configuration of a machine: its devices and what it boots from.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use gpu::PciAddress;

use crate::Accelerator;

/// What a machine boots from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    /// Its disks, by the BIOS (`SeaBIOS`).
    Bios,
    /// Its disks, by UEFI firmware ([`Firmware::find`](crate::Firmware::find)).
    Uefi,
    /// Its disks, by UEFI firmware with Secure Boot on and Microsoft's keys enrolled, as machines are sold.
    SecureBoot,
    /// The network, by PXE under the BIOS: QEMU's own DHCP server names this file. QEMU's network cards have iPXE in
    /// their ROM, so it may be the URL of an iPXE script. Needs [`Network::User`].
    Network {
        /// The file: a URL, such as `http://10.0.2.2:8470/boot.ipxe`.
        file: String,
    },
    /// A kernel that QEMU loads itself.
    Direct {
        /// The kernel, a bzImage.
        kernel: PathBuf,
        /// The initramfs.
        initrd: Option<PathBuf>,
        /// The kernel's command line; `console=ttyS0` sends its messages to the log.
        cmdline: String,
    },
}

/// The bus of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// virtio-blk on PCI.
    Virtio,
    /// An NVM Express controller of its own.
    Nvme,
    /// A stick on a USB 3 (xHCI) port.
    UsbStorage,
}

/// A raw disk image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    pub(crate) path: PathBuf,
    pub(crate) bus: Bus,
    pub(crate) kept: Kept,
    pub(crate) block_size: u32,
}

/// How long what a machine writes to a disk is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Until the machine ends; the file is never written.
    Snapshot,
    /// In the file, which is of no use after a crash of the host.
    Scratch,
    /// In the file.
    Always,
}

impl Disk {
    /// A disk whose file is never written: the machine's changes are discarded when it ends.
    pub fn snapshot(path: impl Into<PathBuf>, bus: Bus) -> Self {
        Self { path: path.into(), bus, kept: Kept::Snapshot, block_size: 512 }
    }

    /// A disk whose file the machine writes to, without waiting for the host's disk: for files that are deleted with the
    /// machine. Blocks that the machine frees become holes. If the host's disk is full, the machine gets an error, where
    /// QEMU would stop it otherwise.
    pub fn scratch(path: impl Into<PathBuf>, bus: Bus) -> Self {
        Self { kept: Kept::Scratch, ..Self::snapshot(path, bus) }
    }

    /// A disk whose file the machine writes to.
    pub fn writable(path: impl Into<PathBuf>, bus: Bus) -> Self {
        Self { kept: Kept::Always, ..Self::snapshot(path, bus) }
    }

    /// Sets the size of logical and physical blocks to `bytes`: 512, the default, or 4096.
    #[must_use]
    pub fn block_size(self, bytes: u32) -> Self {
        Self { block_size: bytes, ..self }
    }
}

/// The network of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// No network card at all.
    None,
    /// QEMU's own network (slirp): DHCP, DNS and outgoing connections, as the user who runs QEMU.
    User,
    /// QEMU's own network, without outgoing connections.
    Isolated,
}

/// The configuration of a machine. Nothing happens before [`start`](Self::start).
#[derive(Debug, Clone)]
pub struct Machine {
    pub(crate) accelerator: Accelerator,
    pub(crate) memory_mib: u32,
    pub(crate) cpus: u32,
    pub(crate) boot: Boot,
    pub(crate) disks: Vec<Disk>,
    pub(crate) network: Network,
    pub(crate) debug_exit: bool,
    pub(crate) interactive: bool,
    pub(crate) picture: Option<PathBuf>,
    pub(crate) ports: Vec<(String, PathBuf)>,
    pub(crate) host_devices: Vec<PciAddress>,
    pub(crate) extra: Vec<OsString>,
    pub(crate) launcher: Vec<OsString>,
    pub(crate) qemu: Option<PathBuf>,
    pub(crate) log: Option<PathBuf>,
    pub(crate) deadline: Duration,
    pub(crate) start_deadline: Option<(Duration, Arc<AtomicBool>)>,
    pub(crate) until: Arc<AtomicBool>,
}

impl Machine {
    /// A machine with 1024 MiB of memory, two processors, no disk, no network and no display that boots by the BIOS
    /// and is killed after five minutes. A reboot ends it.
    pub fn new(accelerator: Accelerator) -> Self {
        Self {
            accelerator,
            memory_mib: 1024,
            cpus: 2,
            boot: Boot::Bios,
            disks: Vec::new(),
            network: Network::None,
            debug_exit: false,
            interactive: false,
            picture: None,
            ports: Vec::new(),
            host_devices: Vec::new(),
            extra: Vec::new(),
            launcher: Vec::new(),
            qemu: None,
            log: None,
            deadline: Duration::from_secs(300),
            start_deadline: None,
            until: Arc::default(),
        }
    }

    /// Sets its memory, in MiB.
    #[must_use]
    pub fn memory_mib(self, memory_mib: u32) -> Self {
        Self { memory_mib, ..self }
    }

    /// Sets its number of processors.
    #[must_use]
    pub fn cpus(self, cpus: u32) -> Self {
        Self { cpus, ..self }
    }

    /// Sets what it boots from.
    #[must_use]
    pub fn boot(self, boot: Boot) -> Self {
        Self { boot, ..self }
    }

    /// Adds a disk. Firmware tries the first one first.
    #[must_use]
    pub fn disk(mut self, disk: Disk) -> Self {
        self.disks.push(disk);
        self
    }

    /// Sets its network.
    #[must_use]
    pub fn network(self, network: Network) -> Self {
        Self { network, ..self }
    }

    /// Gives it an I/O port (0xf4) that ends it with an exit code of the guest's choice: see [`Exit::debug_code`].
    ///
    /// [`Exit::debug_code`]: crate::Exit::debug_code
    #[must_use]
    pub fn debug_exit(self) -> Self {
        Self { debug_exit: true, ..self }
    }

    /// Connects its serial console to this process's standard input and output, byte by byte: nothing is logged or
    /// passed on by line. QEMU ends on Ctrl-A X, and switches to its monitor on Ctrl-A C. The terminal's settings are
    /// restored when the machine has ended.
    #[must_use]
    pub fn interactive(self) -> Self {
        Self { interactive: true, ..self }
    }

    /// Gives it a display that is only visible as a picture in this file (PNG): taken every second, so that at the
    /// end it shows the last content. Needs QEMU 7.1 or newer.
    #[must_use]
    pub fn picture(self, path: impl AsRef<Path>) -> Self {
        Self { picture: Some(path.as_ref().to_owned()), ..self }
    }

    /// Adds a virtio-serial port (virtio 1.2, section 5.3), with the name by which the guest finds it. QEMU connects
    /// it to a listening Unix socket at this path; bytes wait on either side until the other one reads.
    #[must_use]
    pub fn port(mut self, name: impl Into<String>, socket: impl Into<PathBuf>) -> Self {
        self.ports.push((name.into(), socket.into()));
        self
    }

    /// Gives it a PCI device of the host, by VFIO. The device's driver has to be `vfio-pci` already: see
    /// [`vfio::check`](crate::vfio::check).
    #[must_use]
    pub fn host_device(mut self, address: PciAddress) -> Self {
        self.host_devices.push(address);
        self
    }

    /// Starts QEMU through a program that gets these arguments, and after them QEMU's path and arguments, to execute.
    #[must_use]
    pub fn launcher(self, words: impl IntoIterator<Item = OsString>) -> Self {
        Self { launcher: words.into_iter().collect(), ..self }
    }

    /// Adds an argument for QEMU, unchanged.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.extra.push(argument.into());
        self
    }

    /// Sets the QEMU program, instead of the `qemu-system-x86_64` on `PATH`.
    #[must_use]
    pub fn qemu(self, program: impl AsRef<Path>) -> Self {
        Self { qemu: Some(program.as_ref().to_owned()), ..self }
    }

    /// Logs all output of its serial port to this file, byte by byte.
    #[must_use]
    pub fn log(self, path: impl AsRef<Path>) -> Self {
        Self { log: Some(path.as_ref().to_owned()), ..self }
    }

    /// Kills it as soon as this is set, for example by a signal handler.
    #[must_use]
    pub fn until(self, flag: Arc<AtomicBool>) -> Self {
        Self { until: flag, ..self }
    }

    /// Kills it this long after its start.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Kills it this long after its start unless this is set by then, because the guest has come up.
    #[must_use]
    pub fn start_deadline(self, deadline: Duration, is_up: Arc<AtomicBool>) -> Self {
        Self { start_deadline: Some((deadline, is_up)), ..self }
    }
}
