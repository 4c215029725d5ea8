//! The virtual machine: what it boots from, and its console.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};

use advice::Advice;
use anyhow::{Context, Result, bail, ensure};
use netboot::script::RootTransfer;
use netboot::server::{Content, Server};
use netboot::{Image, script};
use tempfile::TempDir;
use vm::{Boot as Start, Bus, Disk, Machine};

use crate::cmdline::{Boot, DiskKind, Firmware, Network};
use crate::commands::print;
use crate::image_path;
use crate::inspect::starts_with_secure_boot;

/// Number of console lines that are kept in memory.
const REMEMBERED: usize = 100;

/// Chooses how the machine boots: as the options say, else by UEFI where only a disk makes sense.
pub fn firmware(options: &Boot) -> Result<Firmware> {
    let disk = options.disk.is_some() || options.usb || options.nvme || options.secure_boot;
    match options.firmware {
        Some(Firmware::Direct) if disk => {
            bail!(Advice::new(
                "a direct start has no disk.img",
                "leave --firmware direct away, or --disk, --usb, --nvme and --secure-boot"
            ))
        }
        Some(Firmware::Direct) if is_disk(options) => bail!(Advice::new(
            format!("{} is a disk: it has its own kernel, and starts under UEFI", options.image.display()),
            "leave --firmware direct away, or give the image directory"
        )),
        Some(firmware) => Ok(firmware),
        None if disk || is_disk(options) => Ok(Firmware::Uefi),
        None => Ok(Firmware::Direct),
    }
}

/// Whether the image is a disk (a file or a device) and not a directory with all files of an image.
pub fn is_disk(options: &Boot) -> bool {
    fs::metadata(&options.image).is_ok_and(|metadata| !metadata.is_dir())
}

/// Attaches the image to the machine: kernel and root separately, or the disk for UEFI.
///
/// `words` are for the kernel command line, besides those of `--append`.
pub fn attach(machine: Machine, options: &Boot, words: &[String]) -> Result<Machine> {
    let image = &options.image;
    match firmware(options)? {
        Firmware::Direct => {
            let path = image.join("cmdline");
            let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            let words = words.iter().map(String::as_str).chain(options.append.as_deref());
            let cmdline = std::iter::once(text.trim()).chain(words).collect::<Vec<_>>().join(" ");
            let (kernel, initrd) = (image.join("vmlinuz"), image.join("initrd.img"));
            Ok(machine
                .boot(Start::Direct { kernel, initrd: Some(initrd), cmdline })
                .disk(Disk::snapshot(image.join("root.img"), Bus::Virtio)))
        }
        Firmware::Uefi => {
            ensure!(
                options.append.is_none() && words.is_empty(),
                Advice::new(
                    "--append and --hub need a direct start: under UEFI the command line is on the disk",
                    "a hub can be named in rocbed.toml on the image's first partition, with `rocbed settings`"
                )
            );
            let start = if options.secure_boot { Start::SecureBoot } else { Start::Uefi };
            Ok(machine.boot(start).disk(disk(options)?))
        }
    }
}

/// HTTP server on the loopback interface, and a directory for a root that the image directory cannot take.
pub struct Served {
    _server: Server,
    _spare: TempDir,
}

/// Makes the machine boot over QEMU's own network, as one in a lab would: the network card's ROM asks DHCP, loads
/// iPXE's script from a server that runs here, and then the rest. QEMU shows this machine's loopback interface as
/// 10.0.2.2.
pub fn attach_network(machine: Machine, options: &Boot, words: &[String]) -> Result<(Machine, Served)> {
    ensure!(options.network == Network::User, "--netboot needs --network user: the server is this machine");
    let spare = tempfile::tempdir().context("making a directory")?;
    let image = Image::open(&options.image, spare.path(), &mut |_| {})?;
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listening on the loopback interface")?;
    let port = socket.local_addr().context("reading the port")?.port();
    let base = format!("http://10.0.2.2:{port}");
    let append = options.append.iter().flat_map(|words| words.split_ascii_whitespace()).map(str::to_owned);
    let words: Vec<_> = words.iter().cloned().chain(append).collect();
    // The events are not needed: the console shows what the machine does.
    let (events, _) = channel();
    let content = Content::of_image(&image, &base, RootTransfer::OnDemand, &words)?;
    let server = Server::start(socket, content, events).context("starting the HTTP server")?;
    let machine = machine.boot(Start::Network { file: format!("{base}/{}", script::SCRIPT) });
    Ok((machine, Served { _server: server, _spare: spare }))
}

fn disk(options: &Boot) -> Result<Disk> {
    let path = if is_disk(options) { options.image.clone() } else { options.image.join("disk.img") };
    let bus = match options.disk {
        Some(DiskKind::Nvme) => Bus::Nvme,
        Some(DiskKind::Usb) => Bus::UsbStorage,
        None if options.nvme => Bus::Nvme,
        None if options.usb => Bus::UsbStorage,
        Some(DiskKind::Virtio) | None => Bus::Virtio,
    };
    let mut file = image_path::open(&path)?;
    let table =
        diskimage::gpt::read(&mut file).with_context(|| format!("reading the partitions of {}", path.display()))?;
    let sector = table.sector_size.bytes();
    if options.secure_boot {
        ensure!(
            starts_with_secure_boot(&mut file).with_context(|| format!("reading {}", path.display()))?,
            Advice::new(
                format!(
                    "{} does not start with Secure Boot: the program that the firmware starts is not signed",
                    path.display()
                ),
                "set secure-boot = true in [image] of its recipe and build it again"
            )
        );
    }
    Ok(Disk::snapshot(path, bus).block_size(sector as u32))
}

/// Serial console of the machine: printed, or, with jobs, written to a file while the job log is printed.
#[derive(Debug, Clone)]
pub struct Console(Arc<Mutex<Kept>>);

#[derive(Debug)]
struct Kept {
    file: Option<File>,
    last: VecDeque<String>,
}

impl Console {
    /// Writes the console to this file; prints it if there is none.
    pub fn new(file: Option<PathBuf>) -> Result<Self> {
        let create = |path: PathBuf| File::create(&path).with_context(|| format!("making {}", path.display()));
        let file = file.map(create).transpose()?;
        Ok(Self(Arc::new(Mutex::new(Kept { file, last: VecDeque::new() }))))
    }

    /// Callback that takes each line. If stdout is closed by its reader, the machine is ended.
    pub fn printer(&self) -> impl FnMut(&str) -> ControlFlow<()> + Send + 'static {
        let kept = Arc::clone(&self.0);
        move |line| {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.last.push_back(line.to_owned());
            if kept.last.len() > REMEMBERED {
                kept.last.pop_front();
            }
            let done = match &mut kept.file {
                Some(file) => file.write_all(format!("{line}\n").as_bytes()).is_ok(),
                None => print(&format!("{line}\n")).is_ok(),
            };
            if done { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        }
    }

    /// The last `count` lines.
    pub fn last(&self, count: usize) -> Vec<String> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.last.iter().skip(kept.last.len().saturating_sub(count)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_is_kept_and_its_end_remembered() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("console.log");
        let console = Console::new(Some(path.clone()))?;
        let mut take = console.printer();
        for number in 0..200 {
            assert!(take(&format!("line {number}")).is_continue());
        }
        assert_eq!(console.last(2), ["line 198", "line 199"]);
        assert_eq!(fs::read_to_string(path)?.lines().count(), 200);
        Ok(())
    }
}
