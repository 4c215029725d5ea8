//! [`LiveLog`]: what the kernel reports while a job runs, in its log and in device events.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

use gpu::PciAddress;
use gpu::messages::{Places, SIMULATED, Trust};
use runner::{KernelLog, Kmsg};
use rustix::io::Errno;
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

/// The variable of a job that names a fault to simulate: lines of the kernel's log, with `|` between them.
pub(crate) const SIMULATE_FAULT: &str = "ROCBED_SIMULATE_FAULT";

/// The running kernel's log, and its events.
pub(crate) struct LiveLog {
    log: Kmsg,
    /// `None` where the kernel gives no events: they say no more than the log does.
    events: Option<OwnedFd>,
    /// Ids of the job's GPUs: simulated faults of others are not its own.
    gpus: Vec<String>,
}

impl LiveLog {
    /// Opens both, for a job with these GPUs. With `simulated`, simulated faults count too.
    pub(crate) fn open(simulated: bool, gpus: Vec<String>) -> io::Result<Self> {
        let log = Kmsg::open()?;
        let log = if simulated { log.with_simulated_faults() } else { log };
        Ok(Self { log, events: listen().ok(), gpus })
    }
}

fn listen() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(KOBJECT_UEVENT))?;
    bind(&socket, &SocketAddrNetlink::new(0, 1))?;
    Ok(socket)
}

impl KernelLog for LiveLog {
    fn read(&mut self, record: &mut dyn FnMut(&str)) -> io::Result<()> {
        let mut message = [0; 8192];
        while let Some(events) = &self.events {
            match recv(events, &mut message, RecvFlags::empty()) {
                Ok((length, _)) => {
                    if let Some(text) = as_record(message.get(..length).unwrap_or_default()) {
                        record(&text);
                    }
                }
                // Events were lost; the log tells the same.
                Err(Errno::NOBUFS | Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => self.events = None,
            }
        }
        let gpus = &self.gpus;
        self.log.read(&mut |text| match of_simulated_gpu(text) {
            Some((gpu, untagged)) if gpus.iter().any(|own| own == gpu) => record(&untagged),
            Some(_) => {}
            None => record(text),
        })
    }

    fn trust(&self) -> Trust {
        self.log.trust()
    }

    fn places(&self) -> Places {
        self.log.places()
    }
}

/// Turns a device event about a GPU into the log record that the kernel itself writes about it (kernel
/// Documentation/gpu/drm-uapi, "Device Wedging").
fn as_record(event: &[u8]) -> Option<String> {
    let mut fields = event.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let header = fields.next()?;
    let (_, path) = header.split_once('@')?;
    let fields: Vec<_> = fields.collect();
    let value = |name: &str| fields.iter().find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    let (address, what) = if let Some(method) = value("WEDGED") {
        let what = match method {
            "none" => "but recovered through reset",
            _ => "needs recovery",
        };
        // The last address in the path is the GPU's own.
        let address = path.split('/').filter_map(|part| part.parse::<PciAddress>().ok()).next_back()?;
        (address, format!("device wedged, {what} (WEDGED={method})"))
    } else if header.starts_with("add@") && path.contains("/devcoredump/devcd") {
        let device = std::fs::canonicalize(format!("/sys{path}/failing_device")).ok()?;
        let address = device.file_name()?.to_str()?.parse::<PciAddress>().ok()?;
        (address, "device coredump was made".to_owned())
    } else {
        return None;
    };
    let what: String = what.chars().filter(|char| !char.is_control()).collect();
    Some(format!("6,0,0,-;amdgpu {address}: [drm] {what}\n SUBSYSTEM=pci\n DEVICE=+pci:{address}"))
}

/// Writes lines to the kernel's log that look like those of a fault of one of the simulated GPUs. Their addresses are
/// made up, so the GPU is named besides.
pub(crate) fn simulate_fault(lines: &str, gpu: Option<&str>) -> io::Result<()> {
    let mut log = File::options().write(true).open("/dev/kmsg")?;
    let tag = gpu.map(|id| format!("[{id}] ")).unwrap_or_default();
    for line in lines.split('|') {
        log.write_all(format!("{SIMULATED}{tag}{line}\n").as_bytes())?;
    }
    Ok(())
}

/// The GPU that a simulated fault is of, and the record without its name.
fn of_simulated_gpu(record: &str) -> Option<(&str, String)> {
    let (header, message) = record.split_once(';')?;
    let (gpu, line) = message.strip_prefix(SIMULATED)?.strip_prefix('[')?.split_once("] ")?;
    Some((gpu, format!("{header};{SIMULATED}{line}")))
}

#[cfg(test)]
mod tests {
    use gpu::FaultKind;
    use gpu::messages::Reader;

    use super::*;

    fn told(event: &str) -> Vec<(FaultKind, String)> {
        let Some(record) = as_record(event.replace(' ', "\0").as_bytes()) else { return Vec::new() };
        let faults = Reader::new(Trust::Record, Places::default()).take(&record);
        faults.into_iter().map(|fault| (fault.kind, fault.address.unwrap().to_string())).collect()
    }

    #[test]
    fn an_event_about_a_wedged_gpu_counts_as_the_line_does() {
        let path = "change@/devices/pci0000:00/0000:00:03.1/0000:0c:00.0/drm/card0";
        let gpu = || "0000:0c:00.0".to_owned();
        assert_eq!(told(&format!("{path} ACTION=change WEDGED=rebind,bus-reset")), [(FaultKind::Lost, gpu())]);
        assert_eq!(told(&format!("{path} WEDGED=none")), [(FaultKind::Reset, gpu())]);
        assert_eq!(told(&format!("{path} HOTPLUG=1")), []);
        assert_eq!(told("add@/devices/virtual/devcoredump/devcd1 ACTION=add"), [], "of a device that is not there");
    }

    #[test]
    fn a_simulated_fault_names_its_gpu() {
        let record = format!("12,1,2,-;{SIMULATED}[simulated-3] amdgpu 0000:03:00.0: amdgpu: GPU reset begin!");
        let untagged = format!("12,1,2,-;{SIMULATED}amdgpu 0000:03:00.0: amdgpu: GPU reset begin!");
        assert_eq!(of_simulated_gpu(&record), Some(("simulated-3", untagged.clone())));
        assert_eq!(of_simulated_gpu(&untagged), None);
        assert_eq!(of_simulated_gpu("4,1,2,-;amdgpu: [simulated-3] x"), None);
    }
}
