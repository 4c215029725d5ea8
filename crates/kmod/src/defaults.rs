//! What an initramfs carries unless a recipe says otherwise.

/// Modules for one purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// What they are there for.
    pub reason: &'static str,
    /// Requests for [`ModuleIndex::closure`](crate::ModuleIndex::closure).
    pub requests: &'static [&'static str],
}

/// What it takes to reach a root on any disk, stick or wired network that a PC or a virtual machine has. Not here:
/// graphics (the driver and its firmware are in the root), sensors, sound, wireless.
pub const DEFAULT_INITRAMFS: &[Group] = &[
    Group {
        reason: "disks and network of QEMU and clouds",
        requests: &["virtio_pci", "virtio_blk", "virtio_scsi", "virtio_net", "virtio_rng"],
    },
    Group { reason: "NVMe disks, also behind Intel's VMD", requests: &["nvme", "vmd"] },
    Group {
        reason: "SATA disks, and the CD-ROMs that firmware emulates",
        requests: &["ahci", "ata_piix", "sd_mod", "sr_mod"],
    },
    Group {
        reason: "disk controllers of servers: Broadcom SAS and RAID, Microchip SmartRAID",
        requests: &["mpt3sas", "mpi3mr", "megaraid_sas", "smartpqi"],
    },
    Group {
        reason: "USB sticks, which is how most appliances start",
        requests: &["xhci_pci", "xhci_hcd", "ehci_pci", "ohci_pci", "uhci_hcd", "usb-storage", "uas"],
    },
    Group {
        reason: "SD cards and eMMC",
        requests: &["sdhci_pci", "sdhci_acpi", "mmc_block", "rtsx_pci_sdmmc", "rtsx_usb_sdmmc"],
    },
    Group { reason: "a keyboard for whoever reads an error screen", requests: &["usbhid", "hid-generic"] },
    Group {
        reason: "file systems of the root and the EFI system partition, and the layers between",
        requests: &[
            "ext4",
            "erofs",
            "squashfs",
            "overlay",
            "vfat",
            "nls_ascii",
            "nls_cp437",
            "nls_utf8",
            "isofs",
            "dm-verity",
            "loop",
        ],
    },
    Group {
        reason: "wired network for booting over it, and network adapters on USB",
        requests: &[
            "kernel/drivers/net/ethernet/",
            "kernel/drivers/net/phy/",
            "r8152",
            "cdc_ether",
            "cdc_ncm",
            "ax88179_178a",
        ],
    },
    Group { reason: "network under VMware and Hyper-V", requests: &["vmxnet3", "hv_netvsc", "hv_storvsc"] },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_asked_for_twice() {
        let mut requests: Vec<_> = DEFAULT_INITRAMFS.iter().flat_map(|group| group.requests).collect();
        let all = requests.len();
        requests.sort_unstable();
        requests.dedup();
        assert_eq!(requests.len(), all);
    }
}
