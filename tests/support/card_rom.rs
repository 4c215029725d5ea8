//! A network card with its manufacturer's ROM, for QEMU, whose own cards have iPXE.
//!
//! `SeaBIOS` has no PXE of its own: it runs the ROM of the card. QEMU's ROMs are iPXE, which identifies itself to every
//! DHCP server (option 175 with its features, and option 77, its user class), and gets answers for iPXE. A
//! manufacturer's ROM sends neither, and otherwise behaves in the same way (PXE 2.1, section 2.2). So everything that
//! the machine sends passes through this filter, which removes these two options until the machine has requested a
//! loader by TFTP; from then on the loader is responsible. Nothing else is changed, and nothing that the machine
//! receives.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixListener;
use std::thread;

use tempfile::TempDir;

/// The option of iPXE, and the user class (RFC 3004).
const OF_IPXE: [u8; 2] = [175, 77];

/// The filter for the card's packets; it runs until the test program ends.
pub struct CardRom {
    directory: TempDir,
}

impl CardRom {
    /// Waits for QEMU. From the request for this loader on, nothing is changed any more.
    pub fn until(loader: &'static str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let listen = |name| UnixListener::bind(directory.path().join(name)).expect("a socket");
        let (sent, passed) = (listen("sent"), listen("passed"));
        thread::spawn(move || {
            let ((from, _), (to, _)) = (sent.accept().expect("QEMU"), passed.accept().expect("QEMU"));
            // It ends with QEMU.
            let _ = pass(from, to, loader);
        });
        Self { directory }
    }

    /// QEMU's arguments, for a network named `net` whose frames have no virtio header (`vnet_hdr=off`). The last of two
    /// filters is the first to get the machine's packets.
    pub fn arguments(&self) -> Vec<String> {
        let chardev = |name| format!("socket,id={name},path={}", self.directory.path().join(name).display());
        let filter = |way| format!("filter-redirector,netdev=net,queue=rx,{way}");
        let (sent, passed) = (chardev("sent"), chardev("passed"));
        let (back, out) = (filter("id=back,indev=passed"), filter("id=out,outdev=sent"));
        ["-chardev", &sent, "-chardev", &passed, "-object", &back, "-object", &out].map(str::to_owned).to_vec()
    }
}

/// Passes on frames; each is preceded by its length in four bytes, big-endian.
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

/// The destination port of a UDP packet over IPv4, and the offset of its content.
fn udp(frame: &[u8]) -> Option<(u16, usize)> {
    let at = 14 + usize::from(frame.get(14)? & 15) * 4;
    let is_it = frame.get(12..14)? == [8, 0] && *frame.get(23)? == 17;
    is_it.then_some((u16::from_be_bytes(frame.get(at + 2..at + 4)?.try_into().ok()?), at + 8))
}

/// Overwrites the options of iPXE with padding (RFC 2131, section 2, and RFC 2132, section 2).
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
            // The checksum is no longer right; 0 means that there is none (RFC 768).
            frame[start - 2..start].fill(0);
        }
        at = end;
    }
}
