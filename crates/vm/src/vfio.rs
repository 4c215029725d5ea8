//! Checks whether a PCI device of this machine can be given to a virtual one by VFIO (kernel
//! Documentation/driver-api/vfio.rst).
//!
//! Nothing is changed: binding a device to `vfio-pci` takes it from the programs that use it, so that is left to the
//! machine's owner, and the errors say how.

use std::fs;
use std::path::{Path, PathBuf};

use advice::{Advise, Help};
use gpu::PciAddress;

/// The driver that gives a device to virtual machines.
const DRIVER: &str = "vfio-pci";

/// Class of PCI bridges (base class 06, subclass 04): they stay with the host's own driver.
const BRIDGE: &str = "0x0604";

/// Why a device cannot be given to a virtual machine.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum VfioError {
    /// There is no such device.
    #[error("this machine has no PCI device {0}")]
    Missing(PciAddress),
    /// The device is in no IOMMU group, as the machine has no IOMMU, or does not use it.
    #[error("{0} is not behind an IOMMU, without which a virtual machine could write to all of this machine's memory")]
    NoIommu(PciAddress),
    /// A device of the IOMMU group has another driver.
    #[error("{device}, in one IOMMU group with {wanted}, has {}", driver_text(.driver.as_deref()))]
    Driver {
        /// The device that was asked for.
        wanted: PciAddress,
        /// The device with the wrong driver: the same, or another one of its group.
        device: String,
        /// Its driver, if it has one.
        driver: Option<String>,
    },
    /// The user may not use the group's node.
    #[error("{} cannot be opened: {reason}", node.display())]
    Denied {
        /// `/dev/vfio/GROUP`.
        node: PathBuf,
        /// The error of the operating system.
        reason: String,
    },
}

fn driver_text(driver: Option<&str>) -> String {
    driver.map_or_else(|| "no driver".to_owned(), |name| format!("the driver {name}"))
}

impl Advise for VfioError {
    fn help(&self) -> Help {
        match self {
            Self::Missing(_) => "`rocbed detect` and lspci(8) show the addresses of GPUs".into(),
            Self::NoIommu(_) => "switch it on in the firmware (AMD-Vi, VT-d; SVM too), and start the kernel with \
                                 intel_iommu=on on machines of Intel"
                .into(),
            Self::Driver { device, .. } => format!(
                "as root: modprobe {DRIVER}; echo {DRIVER} > /sys/bus/pci/devices/{device}/driver_override; \
                 if it has a driver: echo {device} > /sys/bus/pci/devices/{device}/driver/unbind; \
                 echo {device} > /sys/bus/pci/drivers_probe"
            )
            .into(),
            Self::Denied { node, .. } => {
                format!("as root: chown YOUR-USER {}; or run this as root", node.display()).into()
            }
        }
    }
}

/// Checks a device: it exists, is in an IOMMU group, and everything in the group that is not a bridge has the driver
/// `vfio-pci`. `sys` is `/sys`, `dev` is `/dev`. Returns the node of the group, which QEMU opens.
///
/// # Errors
/// The first reason why it cannot be used.
pub fn check(address: PciAddress, sys: &Path, dev: &Path) -> Result<PathBuf, VfioError> {
    let devices = sys.join("bus/pci/devices");
    let device = devices.join(address.to_string());
    if !device.exists() {
        return Err(VfioError::Missing(address));
    }
    let group = name_of_link(&device.join("iommu_group")).ok_or(VfioError::NoIommu(address))?;
    let mut members = members(&sys.join("kernel/iommu_groups").join(&group).join("devices"));
    if members.is_empty() {
        members.push(address.to_string());
    }
    for member in members {
        let directory = devices.join(&member);
        let class = fs::read_to_string(directory.join("class")).unwrap_or_default();
        let driver = name_of_link(&directory.join("driver"));
        if !class.starts_with(BRIDGE) && driver.as_deref() != Some(DRIVER) {
            return Err(VfioError::Driver { wanted: address, device: member, driver });
        }
    }
    let node = dev.join("vfio").join(group);
    match fs::File::options().read(true).write(true).open(&node) {
        Ok(_) => Ok(node),
        Err(error) => Err(VfioError::Denied { node, reason: error.to_string() }),
    }
}

/// The names of a directory's entries, in order.
fn members(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The last part of a link's target, as sysfs names drivers and groups.
fn name_of_link(link: &Path) -> Option<String> {
    Some(fs::read_link(link).ok()?.file_name()?.to_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use advice::Advice;

    use super::*;

    /// A made-up sysfs and /dev.
    struct Host {
        directory: tempfile::TempDir,
    }

    impl Host {
        fn new() -> Self {
            Self { directory: tempfile::tempdir().unwrap() }
        }

        fn path(&self, path: &str) -> PathBuf {
            self.directory.path().join(path)
        }

        fn device(&self, address: &str, class: &str, driver: Option<&str>, group: Option<&str>) {
            let device = self.path("sys/bus/pci/devices").join(address);
            fs::create_dir_all(&device).unwrap();
            fs::write(device.join("class"), format!("{class}\n")).unwrap();
            if let Some(driver) = driver {
                symlink(format!("../../../../bus/pci/drivers/{driver}"), device.join("driver")).unwrap();
            }
            if let Some(group) = group {
                symlink(format!("../../../../kernel/iommu_groups/{group}"), device.join("iommu_group")).unwrap();
                let devices = self.path("sys/kernel/iommu_groups").join(group).join("devices");
                fs::create_dir_all(&devices).unwrap();
                symlink(&device, devices.join(address)).unwrap();
            }
        }

        fn check(&self, address: &str) -> Result<PathBuf, VfioError> {
            check(address.parse().unwrap(), &self.path("sys"), &self.path("dev"))
        }
    }

    const GPU: &str = "0000:03:00.0";
    const SOUND: &str = "0000:03:00.1";

    #[test]
    fn a_group_of_its_own_with_the_right_driver_is_usable() {
        let host = Host::new();
        host.device("0000:02:00.0", "0x060400", Some("pcieport"), Some("17"));
        host.device(GPU, "0x030000", Some("vfio-pci"), Some("17"));
        host.device(SOUND, "0x040300", Some("vfio-pci"), Some("17"));
        fs::create_dir_all(host.path("dev/vfio")).unwrap();
        let Err(VfioError::Denied { node, .. }) = host.check(GPU) else { panic!("there is no node yet") };
        fs::write(&node, "").unwrap();
        assert_eq!(host.check(GPU), Ok(host.path("dev/vfio/17")));
    }

    #[test]
    fn what_is_missing_is_told_with_what_to_do() {
        let host = Host::new();
        host.device(GPU, "0x030000", Some("amdgpu"), Some("17"));
        host.device(SOUND, "0x040300", None, Some("17"));
        host.device("0000:43:00.0", "0x038000", Some("amdgpu"), None);
        assert_eq!(host.check("0000:04:00.0").unwrap_err().to_string(), "this machine has no PCI device 0000:04:00.0");
        assert_eq!(host.check("0000:43:00.0"), Err(VfioError::NoIommu("0000:43:00.0".parse().unwrap())));
        let error = host.check(GPU).unwrap_err();
        let text = Advice::of(&error).in_one_line();
        assert!(
            text.starts_with("0000:03:00.0, in one IOMMU group with 0000:03:00.0, has the driver amdgpu"),
            "{text}"
        );
        assert!(text.contains("echo vfio-pci > /sys/bus/pci/devices/0000:03:00.0/driver_override"), "{text}");
    }

    #[test]
    fn the_whole_group_goes_along() {
        let host = Host::new();
        host.device(GPU, "0x030000", Some("vfio-pci"), Some("17"));
        host.device(SOUND, "0x040300", Some("snd_hda_intel"), Some("17"));
        let error = host.check(GPU).unwrap_err();
        assert_eq!(
            error.to_string(),
            "0000:03:00.1, in one IOMMU group with 0000:03:00.0, has the driver snd_hda_intel"
        );
    }
}
