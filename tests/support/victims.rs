//! Disks of a virtual machine that `rocbed boot` starts, whose contents must not change.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::{Call, Random};

/// Size of each disk, in bytes.
const SIZE: usize = 16 << 20;

/// One disk behind each kind of controller that the image's own disk does not use: arguments for QEMU.
const BUSES: [(&str, &str); 3] = [
    ("virtio", "-device virtio-blk-pci,drive=victim-virtio"),
    ("nvme", "-device nvme,serial=victim,drive=victim-nvme"),
    ("ahci", "-device ahci,id=victims -device ide-hd,bus=victims.0,drive=victim-ahci"),
];

/// Disks full of data, which must stay the same to the last byte. QEMU would write to their files.
pub struct Victims {
    directory: TempDir,
}

impl Default for Victims {
    fn default() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let victims = Self { directory };
        for (number, (name, _)) in BUSES.into_iter().enumerate() {
            fs::write(victims.disk(name), content(number)).expect("a disk");
        }
        let drives = BUSES.map(|(name, device)| {
            format!("-drive if=none,format=raw,id=victim-{name},file={} {device}", victims.disk(name).display())
        });
        // `rocbed` also starts QEMU to detect its features; that machine is not changed.
        let script = format!(
            "#!/bin/sh\nPATH=${{PATH#*:}}\ncase \"$*\" in\n*chardev:serial*) exec qemu-system-x86_64 \"$@\" {} ;;\nesac\n\
             exec qemu-system-x86_64 \"$@\"\n",
            drives.join(" ")
        );
        let program = victims.directory.path().join("qemu-system-x86_64");
        fs::write(&program, script).expect("a program");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a program");
        victims
    }
}

impl Victims {
    fn disk(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Attaches the disks to the machine that a `rocbed boot` starts.
    #[must_use]
    pub fn plugged_in(&self, call: Call) -> Call {
        let path = std::env::var("PATH").unwrap_or_default();
        call.env("PATH", format!("{}:{path}", self.directory.path().display()))
    }

    /// Fails if any byte of the disks has changed.
    pub fn are_untouched(&self) {
        for (number, (name, _)) in BUSES.into_iter().enumerate() {
            let (before, now) = (content(number), fs::read(self.disk(name)).expect("a disk"));
            let first = before.iter().zip(&now).position(|(before, now)| before != now);
            assert!(first.is_none() && now.len() == SIZE, "the {name} disk was written to, first at byte {first:?}");
        }
    }
}

fn content(number: usize) -> Vec<u8> {
    let mut random = Random::new(number as u64 + 1);
    (0..SIZE / 8).flat_map(|_| random.below(u64::MAX).to_le_bytes()).collect()
}
