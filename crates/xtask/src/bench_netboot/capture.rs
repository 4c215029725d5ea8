//! Watches the packets of a machine's network card, and when its power was switched on: QEMU writes the packets to a
//! file that exists from QEMU's start.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Interval for checking the file.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Times of the events.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Seen {
    /// QEMU has started.
    pub(super) power_on: Option<Instant>,
    /// The first DHCP request (RFC 2131) has left the machine.
    pub(super) dhcp: Option<Instant>,
}

/// A thread that watches the packets.
pub(super) struct Capture {
    done: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

/// Makes a directory for `PATH` with a wrapper for the machine's QEMU, which writes all packets of its network card to
/// this file: `rocbed boot` itself has no use for that, and so no option.
pub(super) fn wrap_qemu(directory: &Path, file: &Path) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let qemu = std::env::split_paths(&path).map(|directory| directory.join("qemu-system-x86_64"));
    let qemu = qemu.into_iter().find(|path| path.is_file()).context("finding qemu-system-x86_64")?;
    // The card of `-nic user,...` gets an id for it. QEMU calls without a card, such as checks for KVM, are not
    // changed.
    let object = format!("filter-dump,id=dump,netdev=card,file={}", file.display());
    let script = format!(
        "#!/bin/sh\nfor word do\n    shift\n    case $word in user,*) word=$word,id=card; card=1 ;; esac\n    \
         set -- \"$@\" \"$word\"\ndone\n[ -z \"$card\" ] || set -- \"$@\" -object '{object}'\nexec '{}' \"$@\"\n",
        qemu.display()
    );
    let wrapper = directory.join("qemu-system-x86_64");
    fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    fs::write(&wrapper, script).with_context(|| format!("writing {}", wrapper.display()))?;
    let runs = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&wrapper, runs).with_context(|| format!("making {} a program", wrapper.display()))?;
    Ok(directory.to_owned())
}

impl Capture {
    /// Starts watching a file that does not exist yet.
    pub(super) fn start(file: &Path) -> Result<Self> {
        if file.exists() {
            fs::remove_file(file).with_context(|| format!("removing {}", file.display()))?;
        }
        let (done, file) = (Arc::new(AtomicBool::new(false)), file.to_owned());
        let ends = Arc::clone(&done);
        Ok(Self { done, thread: thread::spawn(move || look(&file, &ends)) })
    }

    /// Stops watching.
    pub(super) fn end(self) -> Seen {
        self.done.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

fn look(file: &Path, done: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    while seen.dhcp.is_none() && !done.load(Ordering::Relaxed) {
        if seen.power_on.is_none() {
            seen.power_on = file.exists().then(Instant::now);
        } else if fs::read(file).is_ok_and(|bytes| asks_for_an_address(&bytes)) {
            seen.dhcp = Some(Instant::now());
        }
        thread::sleep(LOOK_AGAIN);
    }
    seen
}

/// Whether a capture (pcap-savefile(5); from QEMU, in this machine's byte order) contains a packet to the port of DHCP
/// servers.
fn asks_for_an_address(capture: &[u8]) -> bool {
    let mut rest = capture.get(24..).unwrap_or_default();
    while let Some(length) = rest.get(8..12).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes) {
        let end = 16_usize.saturating_add(length as usize);
        let Some(frame) = rest.get(16..end) else { return false };
        if is_request(frame) {
            return true;
        }
        rest = rest.get(end..).unwrap_or_default();
    }
    false
}

fn is_request(frame: &[u8]) -> bool {
    let Some(header) = frame.get(14).map(|first| usize::from(first & 15) * 4) else { return false };
    let is_udp = frame.get(12..14) == Some(&[8, 0]) && frame.get(23) == Some(&17);
    is_udp && frame.get(14 + header + 2..14 + header + 4) == Some(&67_u16.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_request_is_seen_among_other_packets() {
        let mut frame = vec![0; 14 + 20 + 8];
        (frame[12], frame[14], frame[23]) = (8, 0x45, 17);
        let packet = |frame: &[u8]| [&[0; 8][..], &(frame.len() as u32).to_ne_bytes(), &[0; 4], frame].concat();
        let other = packet(&frame);
        frame[37] = 67;
        let request = packet(&frame);
        let capture = [&[0; 24][..], &other, &request].concat();
        assert!(asks_for_an_address(&capture));
        assert!(!asks_for_an_address(&capture[..24 + other.len()]));
        // The packet is incomplete.
        assert!(!asks_for_an_address(&capture[..capture.len() - 1]));
        assert!(!asks_for_an_address(&capture[..7]));
    }
}
