//! A small writer of `.deb` files for tests, which writes valid and invalid ones.

use std::path::{Path, PathBuf};

pub use tarball::fixtures::*;

/// An ar archive of these members.
pub fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
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
#[must_use]
pub struct PackageFile {
    /// Package name.
    pub name: String,
    control: String,
    control_files: Vec<Block>,
    data: Vec<Block>,
}

impl PackageFile {
    /// A package of version 1.0 without files.
    pub fn new(name: &str) -> Self {
        let control = format!(
            "Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: A Test <test@example.org>\nDescription: test\n"
        );
        Self { name: name.into(), control, control_files: Vec::new(), data: vec![directory("./")] }
    }

    /// Adds a control field, before the others.
    pub fn field(mut self, line: &str) -> Self {
        self.control = format!("{}{line}\n", self.control);
        self
    }

    /// Adds a file to the control archive.
    pub fn control_file(mut self, block: Block) -> Self {
        self.control_files.push(block);
        self
    }

    /// Adds entries to the data archive.
    pub fn data(mut self, blocks: impl IntoIterator<Item = Block>) -> Self {
        self.data.extend(blocks);
        self
    }

    /// The `.deb`.
    pub fn bytes(&self) -> Vec<u8> {
        let mut control = vec![directory("./"), file("./control", &self.control)];
        control.extend(self.control_files.iter().cloned());
        ar(&[("debian-binary", b"2.0\n"), ("control.tar", &tar(&control)), ("data.tar", &tar(&self.data))])
    }

    /// Writes `NAME.deb` into a directory.
    ///
    /// # Panics
    ///
    /// If the file cannot be written.
    pub fn write(&self, directory: &Path) -> PathBuf {
        let path = directory.join(format!("{}.deb", self.name));
        std::fs::write(&path, self.bytes()).unwrap();
        path
    }
}
