//! Messages of the PCI buses and the IOMMU.

use super::{CatalogueEntry, FaultKind, Speaker, detail, fault};
use FaultKind::{DmaRefused, Hardware, Lost};
use Speaker::{Aer, Dpc, Hotplug, Iommu, Pci};

#[rustfmt::skip]
pub(super) const ENTRIES: &[CatalogueEntry] = &[
    // With the form of the driver that has the device, or `pci`, or of the port above it.
    fault(Pci, Lost, "Unable to change power state from {w} to {w}, device inaccessible", "5.6", "drivers/pci/pci.c"),
    fault(Pci, Lost, "can't change power state from {w} to {w} (config space inaccessible)", "5.2", "drivers/pci/pci.c"),
    fault(Pci, Lost, "Refused to change power state from {w} to D0", "6.0", "drivers/pci/pci.c"),
    fault(Pci, Lost, "Refused to change power state, currently in D3", "4.x", "drivers/pci/pci.c"),
    fault(Pci, Lost, "not ready {n}ms after {}; giving up", "4.19", "drivers/pci/pci.c"),
    fault(Pci, Lost, "Data Link Layer Link Active not set in", "6.6", "drivers/pci/pci.c"),
    fault(Aer, Hardware, "Uncorrected (Fatal) error", "4.x", "drivers/pci/pcie/aer.c"),
    fault(Aer, Hardware, "Multiple Uncorrected (Fatal) error", "4.x", "drivers/pci/pcie/aer.c"),
    fault(Aer, Hardware, "Uncorrectable (Fatal) error", "6.10", "drivers/pci/pcie/aer.c"),
    fault(Aer, Hardware, "Multiple Uncorrectable (Fatal) error", "6.10", "drivers/pci/pcie/aer.c"),
    fault(Aer, Hardware, "PCIe Bus Error: severity=Uncorrected (Fatal)", "4.x", "drivers/pci/pcie/aer.c"),
    fault(Aer, Hardware, "PCIe Bus Error: severity=Uncorrectable (Fatal)", "6.10", "drivers/pci/pcie/aer.c"),
    fault(Aer, Lost, "PCIe Bus Error: severity={} type=Inaccessible", "4.x", "drivers/pci/pcie/aer.c"),
    fault(Aer, Lost, "device recovery failed", "4.x", "drivers/pci/pcie/err.c"),
    fault(Aer, Lost, "subordinate device reset failed", "5.10", "drivers/pci/pcie/err.c"),
    detail(Aer, Hardware, "device has no AER-aware driver", "4.x", "drivers/pci/pcie/err.c"),
    fault(Dpc, Hardware, "containment event, status:", "4.12", "drivers/pci/pcie/dpc.c"),
    fault(Dpc, Hardware, "DPC containment event, status:", "4.7", "drivers/pci/pcie/dpc.c"),
    fault(Dpc, Hardware, "unmasked uncorrectable error detected", "4.12", "drivers/pci/pcie/dpc.c"),
    fault(Hotplug, Lost, "Slot({}): Link Down", "4.x", "drivers/pci/hotplug/pciehp_ctrl.c"),
    fault(Hotplug, Lost, "Slot({}): Card not present", "4.x", "drivers/pci/hotplug/pciehp_ctrl.c"),
    fault(Hotplug, Lost, "Slot({}): Power fault", "4.x", "drivers/pci/hotplug/pciehp_ctrl.c"),
    fault(Hotplug, Lost, "Slot({}): No link", "6.x", "drivers/pci/hotplug/pciehp_hpc.c"),
    fault(Hotplug, Lost, "Slot({}): Cannot train link", "6.0", "drivers/pci/hotplug/pciehp_hpc.c"),

    // About a device that is named within the brackets, or by the form. Where it is in the brackets, newer kernels begin with
    // the IOMMU's own device (`iommu ivhd0: `), which `Spoken` takes away.
    fault(Iommu, DmaRefused, "Event logged [IO_PAGE_FAULT domain=", "4.x", "drivers/iommu/amd/iommu.c"),
    fault(Iommu, DmaRefused, "Event logged [RMP_PAGE_FAULT", "5.10", "drivers/iommu/amd/iommu.c"),
    fault(Iommu, DmaRefused, "AMD-Vi: Event logged [IO_PAGE_FAULT device={w}", "4.x", "drivers/iommu/amd/iommu.c"),
    fault(Iommu, DmaRefused, "AMD-Vi: Event logged [ILLEGAL_DEV_TABLE_ENTRY device={w}", "4.x", "drivers/iommu/amd/iommu.c"),
    fault(Iommu, DmaRefused, "AMD-Vi: Event logged [IOTLB_INV_TIMEOUT device={w}", "4.x", "drivers/iommu/amd/iommu.c"),
    fault(Iommu, DmaRefused, "AMD-Vi: Event logged [INVALID_DEVICE_REQUEST device={w}", "4.x", "drivers/iommu/amd/iommu.c"),
    fault(Iommu, DmaRefused, "AMD-Vi: Event logged [DEV_TAB_HARDWARE_ERROR device={w}", "4.x", "drivers/iommu/amd/iommu.c"),
    fault(Iommu, DmaRefused, "AMD-Vi: Event logged [PAGE_TAB_HARDWARE_ERROR device={w}", "4.x", "drivers/iommu/amd/iommu.c"),
    fault(Iommu, DmaRefused, "AMD-Vi: Event logged [RMP_HW_ERROR device={w}", "5.11", "drivers/iommu/amd/iommu.c"),
    fault(Iommu, DmaRefused, "AMD-Vi: Event logged [RMP_PAGE_FAULT device={w}", "5.11", "drivers/iommu/amd/iommu.c"),
    fault(Iommu, DmaRefused, "Event logged [RMP_HW_ERROR", "5.11", "drivers/iommu/amd/iommu.c"),
    // The IOMMU itself does not answer, so no device behind it works as it should.
    fault(Iommu, DmaRefused, "AMD-Vi: Completion-Wait loop timed out", "4.x", "drivers/iommu/amd/iommu.c"),
    fault(Iommu, DmaRefused, "AMD-Vi: IOMMU {w}: Completion-Wait loop timed out", "6.13-7.2", "drivers/iommu/amd/iommu.c"),
    fault(Iommu, DmaRefused, "DMAR: [{}] Request device [{w}] fault addr", "4.x", "drivers/iommu/intel/dmar.c"),
    fault(Iommu, DmaRefused, "DMAR: [{}] Request device [{w}] PASID {w} fault addr", "5.x", "drivers/iommu/intel/dmar.c"),
    fault(Iommu, DmaRefused, "arm-smmu-v3 {w} event: {w} client: {w} sid", "6.15", "drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c"),

    // Reported by the firmware (APEI), in several lines.
    fault(Aer, Hardware, "vendor_id: 0x1002, device_id: {n}", "4.x", "drivers/firmware/efi/cper.c"),
];
