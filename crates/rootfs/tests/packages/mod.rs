//! A small writer of .deb files for tests, which writes valid and invalid ones.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::path::{Path, PathBuf};

/// One tar entry, already encoded.
pub(crate) type Block = Vec<u8>;

/// A 512-byte ustar header and its content, padded.
pub(crate) fn entry(kind: u8, path: &str, mode: u32, link: &str, content: &[u8]) -> Block {
    owned_entry(kind, path, mode, (0, 0), link, content)
}

/// As [`entry`], with an owner and a group.
pub(crate) fn owned_entry(
    kind: u8,
    path: &str,
    mode: u32,
    (uid, gid): (u32, u32),
    link: &str,
    content: &[u8],
) -> Block {
    let mut header = [0_u8; 512];
    header[..path.len().min(100)].copy_from_slice(&path.as_bytes()[..path.len().min(100)]);
    header[157..157 + link.len().min(100)].copy_from_slice(&link.as_bytes()[..link.len().min(100)]);
    let mut number = |at: usize, width: usize, value: u64| {
        header[at..at + width].copy_from_slice(format!("{value:0digits$o}\0", digits = width - 1).as_bytes());
    };
    number(100, 8, mode.into());
    number(108, 8, uid.into());
    number(116, 8, gid.into());
    number(124, 12, content.len() as u64);
    number(136, 12, 1_000_000_000);
    number(329, 8, 1);
    number(337, 8, 3);
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    seal(&mut header);
    let mut block = header.to_vec();
    block.extend_from_slice(content);
    block.resize(block.len().next_multiple_of(512), 0);
    block
}

/// Writes the checksum of a header.
pub(crate) fn seal(header: &mut [u8; 512]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// A PAX header for the entry after it.
pub(crate) fn pax(records: &[(&str, &[u8])]) -> Block {
    let mut content = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length += 1;
        }
        content.extend_from_slice(format!("{length} {key}=").as_bytes());
        content.extend_from_slice(value);
        content.push(b'\n');
    }
    entry(b'x', "PaxHeaders/x", 0o644, "", &content)
}

pub(crate) fn directory(path: &str) -> Block {
    entry(b'5', path, 0o755, "", b"")
}

pub(crate) fn file(path: &str, content: &str) -> Block {
    entry(b'0', path, 0o644, "", content.as_bytes())
}

pub(crate) fn script(path: &str, body: &str) -> Block {
    entry(b'0', path, 0o755, "", format!("#!/bin/sh\nset -e\n{body}\n").as_bytes())
}

pub(crate) fn symlink(path: &str, target: &str) -> Block {
    entry(b'2', path, 0o777, target, b"")
}

pub(crate) fn hard_link(path: &str, target: &str) -> Block {
    entry(b'1', path, 0o644, target, b"")
}

/// Joins blocks to a tar archive.
pub(crate) fn tar(blocks: &[Block]) -> Vec<u8> {
    let mut bytes = blocks.concat();
    bytes.extend_from_slice(&[0; 1024]);
    bytes
}

/// An ar archive of these members.
pub(crate) fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, content) in members {
        bytes.extend_from_slice(
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, content.len()).as_bytes(),
        );
        bytes.extend_from_slice(content);
        if content.len() % 2 == 1 {
            bytes.push(b'\n');
        }
    }
    bytes
}

/// A package under construction.
pub(crate) struct PackageFile {
    pub(crate) name: String,
    control: String,
    control_files: Vec<Block>,
    data: Vec<Block>,
}

impl PackageFile {
    pub(crate) fn new(name: &str) -> Self {
        let control = format!(
            "Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: A Test <test@example.org>\nDescription: test\n"
        );
        Self { name: name.into(), control, control_files: Vec::new(), data: vec![directory("./")] }
    }

    /// Adds a control field, before the others.
    pub(crate) fn field(mut self, line: &str) -> Self {
        self.control = format!("{}{line}\n", self.control);
        self
    }

    pub(crate) fn control_file(mut self, block: Block) -> Self {
        self.control_files.push(block);
        self
    }

    pub(crate) fn data(mut self, blocks: impl IntoIterator<Item = Block>) -> Self {
        self.data.extend(blocks);
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut control = vec![directory("./"), file("./control", &self.control)];
        control.extend(self.control_files.iter().cloned());
        ar(&[("debian-binary", b"2.0\n"), ("control.tar", &tar(&control)), ("data.tar", &tar(&self.data))])
    }

    pub(crate) fn write(&self, directory: &Path) -> PathBuf {
        let path = directory.join(format!("{}.deb", self.name));
        std::fs::write(&path, self.bytes()).unwrap();
        path
    }
}

/// Runs the rest of a test as root: for a user, the test program is started again in a user namespace.
pub(crate) fn need_root() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| rootfs::sandbox::become_root().expect("this test needs root or subordinate ids"));
}

/// The path of a program; panics with the name of the package if it is missing.
pub(crate) fn need(program: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{program} is missing: install the package {package}"))
}
