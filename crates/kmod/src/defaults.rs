//! Default modules of an initramfs.

/// Modules for one purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// Reason why they are included.
    pub reason: &'static str,
    /// Requests for [`ModuleIndex::closure`](crate::ModuleIndex::closure).
    pub requests: &'static [&'static str],
}

/// Modules to reach a root on any disk or stick of a PC or a virtual machine. Not included: modules that are loaded
/// later from the root, such as network, graphics (with its firmware), sensors and sound. Every additional module
/// makes each boot slower.
pub const DEFAULT_INITRAMFS: &[Group] = &[
    Group { reason: "disks of QEMU and clouds", requests: &["virtio_pci", "virtio_blk", "virtio_scsi", "virtio_rng"] },
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
    Group { reason: "the firmware's variables, which tell which disk was started", requests: &["efivarfs"] },
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
    Group { reason: "disks under Hyper-V", requests: &["hv_storvsc"] },
];

/// Modules in addition to [`DEFAULT_INITRAMFS`] to fetch a root over the network: in a separate archive, because
/// booting from a disk does not need them.
pub const NETWORK_INITRAMFS: &[Group] = &[
    Group {
        reason: "wired network cards, with what their drivers have loaded for their PHYs",
        requests: &[
            "kernel/drivers/net/ethernet/",
            "kernel/drivers/net/mdio/",
            "kernel/drivers/net/pcs/",
            "kernel/drivers/net/phy/",
            "kernel/drivers/net/usb/",
        ],
    },
    Group { reason: "network cards of QEMU, VMware, Hyper-V", requests: &["virtio_net", "vmxnet3", "hv_netvsc"] },
    Group { reason: "packet sockets, for DHCP", requests: &["af_packet"] },
    Group { reason: "compressed memory for the root", requests: &["zram"] },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_asked_for_twice() {
        let mut requests: Vec<_> =
            DEFAULT_INITRAMFS.iter().chain(NETWORK_INITRAMFS).flat_map(|group| group.requests).collect();
        let all = requests.len();
        requests.sort_unstable();
        requests.dedup();
        assert_eq!(requests.len(), all);
    }
}
