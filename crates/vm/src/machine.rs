//! A machine to be: what it has and what it starts from.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::Accelerator;

/// What a machine starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    /// Its disks, by the BIOS (`SeaBIOS`).
    Bios,
    /// Its disks, by UEFI firmware ([`Firmware::find`](crate::Firmware::find)).
    Uefi,
    /// The network, by PXE under the BIOS: QEMU's own DHCP server names this file. What QEMU's network cards have in
    /// their ROM is iPXE, so it may be the address of an iPXE script. Needs [`Network::User`].
    Network {
        /// The file: an address, such as `http://10.0.2.2:8470/boot.ipxe`.
        file: String,
    },
    /// A kernel that QEMU loads.
    Direct {
        /// The kernel, a bzImage.
        kernel: PathBuf,
        /// The initramfs.
        initrd: Option<PathBuf>,
        /// The kernel's command line; `console=ttyS0` makes it talk to the log.
        cmdline: String,
    },
}

/// How a disk is attached.
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
    pub(crate) snapshot: bool,
    pub(crate) block_size: u32,
}

impl Disk {
    /// A disk whose file is never written: what the machine writes is forgotten when it ends.
    pub fn snapshot(path: impl Into<PathBuf>, bus: Bus) -> Self {
        Self { path: path.into(), bus, snapshot: true, block_size: 512 }
    }

    /// A disk whose file the machine writes to.
    pub fn writable(path: impl Into<PathBuf>, bus: Bus) -> Self {
        Self { snapshot: false, ..Self::snapshot(path, bus) }
    }

    /// The same disk with logical and physical blocks of `bytes`: 512, as without this, or 4096.
    #[must_use]
    pub fn block_size(self, bytes: u32) -> Self {
        Self { block_size: bytes, ..self }
    }
}

/// What network a machine is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// None: no network card at all.
    None,
    /// QEMU's own (slirp): DHCP, DNS and connections outward, as the user who runs QEMU.
    User,
    /// QEMU's own, with no way out of it.
    Isolated,
}

/// A machine to be. Nothing happens before [`start`](Self::start).
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
    pub(crate) extra: Vec<OsString>,
    pub(crate) qemu: Option<PathBuf>,
    pub(crate) log: Option<PathBuf>,
    pub(crate) deadline: Duration,
    pub(crate) until: Arc<AtomicBool>,
}

impl Machine {
    /// A machine with 1024 MiB of memory, two processors, no disk, no network, no display, started by the BIOS, that is
    /// killed after five minutes. A reboot ends it.
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
            extra: Vec::new(),
            qemu: None,
            log: None,
            deadline: Duration::from_secs(300),
            until: Arc::default(),
        }
    }

    /// How much memory it has, in MiB.
    #[must_use]
    pub fn memory_mib(self, memory_mib: u32) -> Self {
        Self { memory_mib, ..self }
    }

    /// How many processors it has.
    #[must_use]
    pub fn cpus(self, cpus: u32) -> Self {
        Self { cpus, ..self }
    }

    /// What it starts from.
    #[must_use]
    pub fn boot(self, boot: Boot) -> Self {
        Self { boot, ..self }
    }

    /// One more disk. Firmware tries the first one first.
    #[must_use]
    pub fn disk(mut self, disk: Disk) -> Self {
        self.disks.push(disk);
        self
    }

    /// The network it is on.
    #[must_use]
    pub fn network(self, network: Network) -> Self {
        Self { network, ..self }
    }

    /// Gives it a port (0xf4) that ends it with an exit code of the guest's choice: see [`Exit::debug_code`].
    ///
    /// [`Exit::debug_code`]: crate::Exit::debug_code
    #[must_use]
    pub fn debug_exit(self) -> Self {
        Self { debug_exit: true, ..self }
    }

    /// Connects its serial console to this process's standard input and output, byte by byte: nothing is logged or told by
    /// line. QEMU takes Ctrl-A X as the end, and Ctrl-A C as a change to its monitor. A terminal is as it was when the
    /// machine has ended.
    #[must_use]
    pub fn interactive(self) -> Self {
        Self { interactive: true, ..self }
    }

    /// Gives it a display, of which nobody sees anything but a picture in this file (PNG): taken anew every second, so that
    /// at the end it shows what was there last. QEMU 7.1 or newer.
    #[must_use]
    pub fn picture(self, path: impl AsRef<Path>) -> Self {
        Self { picture: Some(path.as_ref().to_owned()), ..self }
    }

    /// One more virtio-serial port (virtio 1.2, section 5.3), by the name that the guest finds it by. QEMU connects it to
    /// a Unix socket that somebody listens on at this path; bytes wait on either side until the other one reads.
    #[must_use]
    pub fn port(mut self, name: impl Into<String>, socket: impl Into<PathBuf>) -> Self {
        self.ports.push((name.into(), socket.into()));
        self
    }

    /// One more argument for QEMU, as it is.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.extra.push(argument.into());
        self
    }

    /// Which QEMU runs it, instead of the `qemu-system-x86_64` on `PATH`.
    #[must_use]
    pub fn qemu(self, program: impl AsRef<Path>) -> Self {
        Self { qemu: Some(program.as_ref().to_owned()), ..self }
    }

    /// Where everything that it says on its serial port goes, byte by byte.
    #[must_use]
    pub fn log(self, path: impl AsRef<Path>) -> Self {
        Self { log: Some(path.as_ref().to_owned()), ..self }
    }

    /// It is killed as soon as this is set, as a handler of signals may do.
    #[must_use]
    pub fn until(self, flag: Arc<AtomicBool>) -> Self {
        Self { until: flag, ..self }
    }

    /// When it is killed, counted from its start.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }
}
