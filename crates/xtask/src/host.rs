//! Debian packages of the host that tests, benchmarks and the demo use. Missing ones are installed.

use std::path::Path;
use std::process::Command;

use advice::{Advice, WithHelp as _};
use anyhow::{Result, bail};

use crate::run::run;

/// A Debian package, and a file that shows whether it is installed.
pub(crate) struct HostPackage {
    name: &'static str,
    file: &'static str,
}

const fn package(name: &'static str, file: &'static str) -> HostPackage {
    HostPackage { name, file }
}

/// Packages for booting images.
pub(crate) const TO_BOOT: &[HostPackage] =
    &[package("qemu-system-x86", "/usr/bin/qemu-system-x86_64"), package("ovmf", "/usr/share/OVMF/OVMF_CODE_4M.fd")];

/// Packages for building: none for root; for a user, the two programs that map many ids into a user namespace.
pub(crate) fn to_build() -> &'static [HostPackage] {
    const FOR_USERS: &[HostPackage] = &[package("uidmap", "/usr/bin/newuidmap")];
    if is_root() { &[] } else { FOR_USERS }
}

/// Packages for making the book of the documentation.
pub(crate) const TO_WRITE: &[HostPackage] = &[package("mkdocs", "/usr/bin/mkdocs")];

/// Packages for taking pictures of pages.
pub(crate) const TO_PICTURE: &[HostPackage] =
    &[package("chromium", "/usr/bin/chromium"), package("fonts-dejavu-core", "/usr/share/fonts/truetype/dejavu")];

/// Packages for making Debian packages.
pub(crate) const TO_PACKAGE: &[HostPackage] =
    &[package("debhelper", "/usr/bin/dh"), package("dpkg-dev", "/usr/bin/dpkg-buildpackage")];

/// Packages for everything else that is released.
pub(crate) const TO_RELEASE: &[HostPackage] = &[package("git", "/usr/bin/git"), package("xz-utils", "/usr/bin/xz")];

/// Reference tools that tests compare results with, and the peers of the benchmarks.
pub(crate) const TO_TEST: &[HostPackage] = &[
    package("autopkgtest", "/usr/bin/autopkgtest"),
    package("bmap-tools", "/usr/bin/bmaptool"),
    package("binutils", "/usr/bin/objdump"),
    package("chromium", "/usr/bin/chromium"),
    package("cpio", "/usr/bin/cpio"),
    package("cryptsetup-bin", "/usr/sbin/veritysetup"),
    package("dnsmasq-base", "/usr/sbin/dnsmasq"),
    package("dosfstools", "/usr/sbin/fsck.fat"),
    package("dpkg-dev", "/usr/bin/dpkg-architecture"),
    package("e2fsprogs", "/usr/sbin/mkfs.ext4"),
    package("faketime", "/usr/bin/faketime"),
    package("fdisk", "/usr/sbin/fdisk"),
    package("g++", "/usr/bin/g++"),
    package("gdisk", "/usr/sbin/sgdisk"),
    package("gnupg", "/usr/bin/gpg"),
    package("iproute2", "/usr/bin/ip"),
    package("kmod", "/usr/sbin/depmod"),
    package("mkdocs", "/usr/bin/mkdocs"),
    package("debhelper", "/usr/bin/dh"),
    package("libcap2-bin", "/usr/sbin/setcap"),
    package("libgtest-dev", "/usr/include/gtest/gtest.h"),
    package("lintian", "/usr/bin/lintian"),
    package("mount", "/usr/sbin/losetup"),
    package("mmdebstrap", "/usr/bin/mmdebstrap"),
    package("mtools", "/usr/bin/mdir"),
    package("openssl", "/usr/bin/openssl"),
    package("podman", "/usr/bin/podman"),
    package("procps", "/usr/bin/ps"),
    package("runc", "/usr/sbin/runc"),
    package("systemd", "/usr/bin/systemd-analyze"),
    package("uidmap", "/usr/bin/newuidmap"),
    package("zstd", "/usr/bin/zstd"),
];

/// Installs missing packages, with apt-get as root or through sudo.
pub(crate) fn install(packages: &[&[HostPackage]]) -> Result<()> {
    let missing: Vec<&str> = packages
        .iter()
        .flat_map(|group| group.iter())
        .filter(|package| !Path::new(package.file).exists())
        .map(|package| package.name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("installing host packages: {}", missing.join(" "));
    let help = format!("install them yourself: apt-get install {}", missing.join(" "));
    if !Path::new("/usr/bin/apt-get").exists() {
        let what = format!("host packages are missing and this is not a Debian system: {}", missing.join(", "));
        bail!(Advice::new(what, help));
    }
    let apt = |words: &[&str]| {
        let mut command = if is_root() { Command::new("apt-get") } else { Command::new("sudo") };
        if !is_root() {
            command.arg("apt-get");
        }
        command.env("DEBIAN_FRONTEND", "noninteractive").args(words).stdout(std::process::Stdio::null());
        command
    };
    run(&mut apt(&["update", "-qq"])).help(help.clone())?;
    let mut install = apt(&["install", "-qq", "--yes", "--no-install-recommends"]);
    run(install.args(&missing)).help(help)
}

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
