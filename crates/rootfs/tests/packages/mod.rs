//! What the tests that unpack packages share.
#![allow(dead_code, unused_imports, reason = "each test uses a part of it")]

use std::path::PathBuf;

pub(crate) use debian::deb::fixtures::{
    Block, PackageFile, directory, entry, file, hard_link, owned_entry, pax, script, symlink,
};

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
