//! The start with Secure Boot: programs that Debian has signed, and their configuration.
//!
//! The firmware knows Microsoft's keys, with which shim is signed. shim knows Debian's, with which systemd-boot and the
//! kernel are signed. Nothing else is: the kernel takes the initramfs and the command line as they are.

use advice::Advice;
use anyhow::{Context as _, Result, ensure};
use diskimage::{BootEntry, uki};

use super::package_files::PackageFiles;

const SHIM_PACKAGE: &str = "shim-signed";
const LOADER_PACKAGE: &str = "systemd-boot-efi-amd64-signed";

/// Where firmware looks for a boot program on removable media (UEFI 2.10, section 3.5.1.1).
pub const BOOT_PROGRAM: &str = "EFI/BOOT/BOOTX64.EFI";

/// Packages of the programs. They are not installed in the root.
pub const SIGNED_PACKAGES: [&str; 2] = [SHIM_PACKAGE, LOADER_PACKAGE];

/// Path of shim in its package.
const SHIM: &str = "usr/lib/shim/shimx64.efi.signed";

/// Path of systemd-boot in its package.
const LOADER: &str = "usr/lib/systemd/boot/efi/systemd-bootx64.efi.signed";

/// What shim starts: the file of this name beside it, whichever boot loader it is (`DEFAULT_LOADER` of shim's build).
const SECOND_STAGE: &str = "EFI/BOOT/grubx64.efi";

/// Path of the kernel on the EFI system partition.
pub const KERNEL: &str = "rocbed/vmlinuz";

/// Path of the initramfs on the EFI system partition.
pub const INITRD: &str = "rocbed/initrd.img";

/// Path of the boot loader entry.
pub const ENTRY: &str = "loader/entries/rocbed.conf";

/// Path of systemd-boot's configuration.
const CONFIGURATION: &str = "loader/loader.conf";

/// Starts at once; a key pressed meanwhile shows the menu, which has the unified kernel image too. Nobody changes the
/// command line there, no other system of the machine is offered, and no keys are enrolled (loader.conf(5)).
const CONFIGURATION_TEXT: &str = "\
default rocbed.conf
timeout 0
editor no
auto-entries no
auto-firmware no
secure-boot-enroll off
";

/// Files of the EFI system partition that start the kernel.
#[derive(Debug)]
pub struct Programs {
    shim: Vec<u8>,
    loader: Vec<u8>,
    entry: String,
}

impl Programs {
    /// Takes the programs from their packages and writes the boot loader entry. Programs and kernel have to be signed.
    pub(super) fn obtain(
        files: &PackageFiles<'_>,
        version: &str,
        kernel: &[u8],
        os_release: &[u8],
        cmdline: &str,
    ) -> Result<Self> {
        let shim = files.read(SHIM_PACKAGE, SHIM, "shim")?;
        let loader = files.read(LOADER_PACKAGE, LOADER, "systemd-boot")?;
        for (name, program) in [(SHIM, &*shim), (LOADER, &loader), ("the kernel", kernel)] {
            let signed = uki::is_signed(program).with_context(|| format!("looking for the signature of {name}"))?;
            ensure!(
                signed,
                Advice::new(
                    format!("image.secure-boot: {name} is not signed"),
                    "use a kernel of the archive, or set secure-boot = false in [image]: then the disk starts where Secure Boot is off"
                )
            );
        }
        Ok(Self { shim, loader, entry: entry(version, os_release, cmdline)? })
    }

    /// Paths on the EFI system partition and contents.
    pub fn files(&self) -> Vec<(&'static str, &[u8])> {
        vec![
            (BOOT_PROGRAM, &self.shim),
            (SECOND_STAGE, &self.loader),
            (CONFIGURATION, CONFIGURATION_TEXT.as_bytes()),
            (ENTRY, self.entry.as_bytes()),
        ]
    }
}

fn entry(version: &str, os_release: &[u8], cmdline: &str) -> Result<String> {
    let os_release = String::from_utf8_lossy(os_release);
    let name = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let words: Vec<&str> = name.unwrap_or("Debian").trim_matches('"').split_whitespace().collect();
    let entry = BootEntry {
        title: format!("rocbed on {}", words.join(" ")),
        version: version.to_owned(),
        kernel: KERNEL.to_owned(),
        initrd: INITRD.to_owned(),
        cmdline: cmdline.to_owned(),
    };
    entry.to_text().context("writing the boot loader entry")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_starts_the_kernel_that_is_beside_it() -> Result<()> {
        let os_release = b"NAME=x\nPRETTY_NAME=\"Debian GNU/Linux forky/sid\"\n";
        let text = entry("7.2.13+deb14-amd64", os_release, "root=PARTUUID=1 quiet")?;
        let expected = "title rocbed on Debian GNU/Linux forky/sid\nversion 7.2.13+deb14-amd64\n\
            linux /rocbed/vmlinuz\ninitrd /rocbed/initrd.img\noptions root=PARTUUID=1 quiet\n";
        assert_eq!(text, expected);
        Ok(())
    }

    #[test]
    fn systemd_boot_starts_our_entry_without_asking() {
        let name = ENTRY.rsplit('/').next().unwrap_or_default();
        assert!(CONFIGURATION_TEXT.lines().any(|line| line == format!("default {name}")));
        assert!(CONFIGURATION_TEXT.lines().any(|line| line == "timeout 0"));
    }
}
