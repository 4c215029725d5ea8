//! A network card with the ROM of a card's maker, for QEMU, whose cards have iPXE in theirs.
//!
//! `SeaBIOS` has no PXE of its own: it runs the ROM of the card. QEMU's ROMs are iPXE, which tells every DHCP server so (option
//! 175, its features, and option 77, its user class), and gets what is for iPXE. A maker's ROM says neither, and is
//! otherwise asked and answered in the same way (PXE 2.1, section 2.2). So all that the machine sends comes through here, and
//! these two options are taken out of it until the machine has asked for a loader by TFTP; from then on it is that loader's
//! business what it says. Nothing else is changed, and nothing at all of what the machine is told.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixListener;
use std::thread;

use tempfile::TempDir;

/// iPXE's own option, and the user class (RFC 3004).
const OF_IPXE: [u8; 2] = [175, 77];

/// The card's ROM, as long as the test program runs.
pub struct CardRom {
    directory: TempDir,
}

impl CardRom {
    /// Waits for QEMU. From the loader whose name this is on, nothing is changed any more.
    pub fn until(loader: &'static str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let listen = |name| UnixListener::bind(directory.path().join(name)).expect("a socket");
        let (sent, passed) = (listen("sent"), listen("passed"));
        thread::spawn(move || {
            let ((from, _), (to, _)) = (sent.accept().expect("QEMU"), passed.accept().expect("QEMU"));
            // Ends with QEMU.
            pass(from, to, loader).unwrap_or_default();
        });
        Self { directory }
    }

    /// QEMU's arguments, for a network named `net` whose frames have no header of virtio's (`vnet_hdr=off`). Of two filters
    /// the last one is first to see what the machine sends.
    pub fn arguments(&self) -> Vec<String> {
        let chardev = |name| format!("socket,id={name},path={}", self.directory.path().join(name).display());
        let filter = |way| format!("filter-redirector,netdev=net,queue=rx,{way}");
        let (sent, passed) = (chardev("sent"), chardev("passed"));
        let (back, out) = (filter("id=back,indev=passed"), filter("id=out,outdev=sent"));
        ["-chardev", &sent, "-chardev", &passed, "-object", &back, "-object", &out].map(str::to_owned).to_vec()
    }
}

/// Frames, each after its length in four bytes, the highest first.
fn pass(mut from: impl Read, mut to: impl Write, loader: &str) -> io::Result<()> {
    let mut is_loaded = false;
    loop {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        from.read_exact(&mut frame)?;
        if !is_loaded && let Some((port, start)) = udp(&frame) {
            match port {
                67 | 4011 => remove_options(&mut frame, start),
                69 => is_loaded = frame[start..].windows(loader.len()).any(|part| part == loader.as_bytes()),
                _ => {}
            }
        }
        to.write_all(&length)?;
        to.write_all(&frame)?;
    }
}

/// The port that a UDP packet over IPv4 goes to, and where its content begins.
fn udp(frame: &[u8]) -> Option<(u16, usize)> {
    let at = 14 + usize::from(frame.get(14)? & 15) * 4;
    let is_it = frame.get(12..14)? == [8, 0] && *frame.get(23)? == 17;
    is_it.then_some((u16::from_be_bytes(frame.get(at + 2..at + 4)?.try_into().ok()?), at + 8))
}

/// Writes padding over what only iPXE says (RFC 2131, section 2, and RFC 2132, section 2).
fn remove_options(frame: &mut [u8], start: usize) {
    let mut at = start + 240;
    while let Some(&option) = frame.get(at).filter(|option| **option != 255) {
        if option == 0 {
            at += 1;
            continue;
        }
        let Some(length) = frame.get(at + 1) else { break };
        let end = (at + 2 + usize::from(*length)).min(frame.len());
        if OF_IPXE.contains(&option) {
            frame[at..end].fill(0);
            // The checksum is not right any more. With 0 there is none (RFC 768).
            frame[start - 2..start].fill(0);
        }
        at = end;
    }
}
