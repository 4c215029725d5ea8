//! Reads a PCI device's configuration space for PCIe atomic operations (PCI Express Base Specification, "Device
//! Capabilities 2" and "Device Control 2").

/// `PCI_STATUS_CAP_LIST` in the status register at offset 6.
const HAS_CAPABILITIES: u16 = 1 << 4;
/// Offset of the pointer to the first capability.
const CAPABILITY_POINTER: usize = 0x34;
/// Capability ID of PCI Express.
const PCI_EXPRESS: u8 = 0x10;
/// Offset of Device Control 2 in the capability.
const DEVICE_CONTROL_2: usize = 0x28;
/// `AtomicOp Requester Enable`. The kernel sets it when every bridge up to the root and the root itself support it.
const ATOMIC_REQUESTER: u16 = 1 << 6;

/// Whether the device may send atomic operations to memory.
///
/// The driver asks for it when it starts, so this is only meaningful for a device with a driver. `None` if the
/// capability is not there or not readable: without privileges the kernel shows only the first 64 bytes, and a device
/// that does not answer reads as ones.
pub fn atomics_enabled(config: &[u8]) -> Option<bool> {
    let word = |at: usize| Some(u16::from_le_bytes([*config.get(at)?, *config.get(at.checked_add(1)?)?]));
    if word(0)? == 0xffff || word(6)? & HAS_CAPABILITIES == 0 {
        return None;
    }
    let mut at = usize::from(*config.get(CAPABILITY_POINTER)? & !3);
    // 48 capabilities fill the space after the header; a longer chain is a loop.
    for _ in 0..48 {
        if at < 0x40 {
            return None;
        }
        if *config.get(at)? == PCI_EXPRESS {
            return Some(word(at.checked_add(DEVICE_CONTROL_2)?)? & ATOMIC_REQUESTER != 0);
        }
        at = usize::from(*config.get(at.checked_add(1)?)? & !3);
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A device with power management at 0x48 and PCI Express at 0x64, as GPUs have them.
    fn gpu(control_2: u16) -> Vec<u8> {
        let mut config = vec![0; 256];
        config[0..4].copy_from_slice(&[0x02, 0x10, 0xbf, 0x73]);
        config[6] = 0x10;
        config[0x34] = 0x48;
        config[0x48..0x4a].copy_from_slice(&[0x01, 0x64]);
        config[0x64..0x66].copy_from_slice(&[0x10, 0x00]);
        config[0x8c..0x8e].copy_from_slice(&control_2.to_le_bytes());
        config
    }

    #[test]
    fn the_requester_bit_is_the_answer() {
        assert_eq!(atomics_enabled(&gpu(0x0040)), Some(true));
        assert_eq!(atomics_enabled(&gpu(0x0409)), Some(false));
    }

    #[test]
    fn no_answer_without_privileges_from_dead_devices_and_from_circles() {
        assert_eq!(atomics_enabled(&gpu(0x40)[..64]), None);
        assert_eq!(atomics_enabled(&[0xff; 256]), None);
        let mut circle = gpu(0x40);
        circle[0x49] = 0x48;
        assert_eq!(atomics_enabled(&circle), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(config in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = atomics_enabled(&config);
        }
    }
}
