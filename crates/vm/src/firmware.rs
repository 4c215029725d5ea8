//! Finds UEFI firmware for QEMU (OVMF) where distributions install it.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::VmError;

/// Pairs of code and variables with the same flash size, without Secure Boot keys.
const KNOWN: [(&str, &str); 7] = [
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"), // Debian, Ubuntu
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),       // Debian before 13
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"), // Fedora
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"), // Arch
    ("/usr/share/edk2-ovmf/x64/OVMF_CODE.fd", "/usr/share/edk2-ovmf/x64/OVMF_VARS.fd"), // Arch before 2024, Gentoo
    ("/usr/share/edk2/OvmfX64/OVMF_CODE.fd", "/usr/share/edk2/OvmfX64/OVMF_VARS.fd"), // Gentoo
    ("/usr/share/qemu/ovmf-x86_64-4m-code.bin", "/usr/share/qemu/ovmf-x86_64-4m-vars.bin"), // openSUSE
];

/// Pairs with Secure Boot on and Microsoft's keys enrolled. Arch has the code, and no variables with keys.
const WITH_SECURE_BOOT: [(&str, &str); 4] = [
    ("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"), // Debian, Ubuntu
    ("/usr/share/OVMF/OVMF_CODE.secboot.fd", "/usr/share/OVMF/OVMF_VARS.ms.fd"),       // Debian before 13
    ("/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd", "/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd"), // Fedora
    ("/usr/share/qemu/ovmf-x86_64-smm-ms-code.bin", "/usr/share/qemu/ovmf-x86_64-smm-ms-vars.bin"), // openSUSE
];

/// UEFI firmware for one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firmware {
    /// The code, which QEMU only reads.
    pub code: PathBuf,
    /// The template of the variables: each machine gets a copy.
    pub variables: PathBuf,
}

impl Firmware {
    /// Finds the firmware installed on this host.
    ///
    /// # Errors
    /// [`VmError::MissingFirmware`].
    pub fn find() -> Result<Self, VmError> {
        Self::find_in(&KNOWN, &|path| path.exists())
    }

    /// Finds the firmware with Secure Boot on that is installed on this host.
    ///
    /// # Errors
    /// [`VmError::MissingFirmware`].
    pub fn find_with_secure_boot() -> Result<Self, VmError> {
        Self::find_in(&WITH_SECURE_BOOT, &|path| path.exists())
    }

    fn find_in(known: &[(&str, &str)], exists: &dyn Fn(&Path) -> bool) -> Result<Self, VmError> {
        known
            .iter()
            .map(|(code, variables)| Self { code: code.into(), variables: variables.into() })
            .find(|firmware| exists(&firmware.code) && exists(&firmware.variables))
            .ok_or_else(|| VmError::MissingFirmware(known.iter().map(|(code, _)| (*code).to_owned()).collect()))
    }

    /// Makes a copy of the variables that a machine may write to. It is removed when dropped.
    pub(crate) fn copy_variables(&self) -> Result<NamedTempFile, VmError> {
        let copy = tempfile::Builder::new().prefix("rocbed-ovmf-vars-").tempfile();
        let copy = copy.map_err(VmError::io("creating a file in", std::env::temp_dir()))?;
        fs::copy(&self.variables, copy.path()).map_err(VmError::io("copying", &self.variables))?;
        Ok(copy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_whole_pair_is_taken() {
        let there = |path: &Path| !path.ends_with("OVMF_VARS_4M.fd") && path.starts_with("/usr/share/OVMF");
        assert_eq!(Firmware::find_in(&KNOWN, &there).unwrap().code, Path::new("/usr/share/OVMF/OVMF_CODE.fd"));
    }

    #[test]
    fn what_is_missing_is_said_with_the_package() {
        let error = Firmware::find_in(&KNOWN, &|_| false).unwrap_err();
        let text = advice::Advice::of(&error).in_one_line();
        assert!(text.contains("apt install ovmf") && text.contains("/usr/share/OVMF/OVMF_CODE_4M.fd"), "{text}");
    }
}
