//! The header of a Linux kernel for x86 (kernel documentation, "The Linux/x86 Boot Protocol").

/// Release of the kernel in a bzImage, as `uname -r` prints it: the first word of the version text that field
/// `kernel_version` (0x20e) points to. `None` if this is not a bzImage of boot protocol 2.00 or later.
pub fn bzimage_version(kernel: &[u8]) -> Option<&str> {
    if kernel.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let setup_sectors = usize::from(*kernel.get(0x1f1)?);
    let pointer = usize::from(u16::from_le_bytes([*kernel.get(0x20e)?, *kernel.get(0x20f)?]));
    // The text is in the setup code, whose first sector has no number; 0 sectors mean 4, for very old kernels.
    let setup_end = 512 * (1 + if setup_sectors == 0 { 4 } else { setup_sectors });
    if pointer == 0 {
        return None;
    }
    let text = kernel.get(0x200 + pointer..setup_end.min(kernel.len()))?;
    let end = text.iter().position(|byte| *byte == 0)?;
    let release = std::str::from_utf8(&text[..end]).ok()?.split_whitespace().next()?;
    Some(release)
}

/// Maximum length in bytes of the command line for the kernel in a bzImage, field `cmdline_size` (0x238); the kernel
/// silently cuts off longer ones. `None` if this is not a bzImage of boot protocol 2.06 or later.
pub(super) fn longest_cmdline(kernel: &[u8]) -> Option<u32> {
    let protocol = u16::from_le_bytes(*kernel.get(0x206..)?.first_chunk()?);
    if kernel.get(0x202..0x206)? != b"HdrS" || protocol < 0x0206 {
        return None;
    }
    Some(u32::from_le_bytes(*kernel.get(0x238..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kernel() -> Vec<u8> {
        let mut kernel = vec![0; 4096];
        kernel[0x1f1] = 3;
        kernel[0x202..0x206].copy_from_slice(b"HdrS");
        kernel[0x20e..0x210].copy_from_slice(&0x300_u16.to_le_bytes());
        kernel[0x500..0x51e].copy_from_slice(b"7.2.13+deb14-amd64 (debian) #1");
        kernel
    }

    #[test]
    fn the_release_is_the_first_word_of_the_version() {
        assert_eq!(bzimage_version(&kernel()), Some("7.2.13+deb14-amd64"));
        assert_eq!(bzimage_version(b"MZ"), None);
        assert_eq!(bzimage_version(&kernel()[..0x510]), None);
    }

    proptest! {
        #[test]
        fn hostile_headers_never_panic(at in prop::collection::vec((0x1f0_usize..0x520, any::<u8>()), 0..6), length in 0_usize..4096) {
            let mut kernel = kernel();
            for (at, value) in at {
                kernel[at] = value;
            }
            let _version = bzimage_version(&kernel[..length]);
            let _version = bzimage_version(&kernel);
            let _most = longest_cmdline(&kernel[..length]);
        }
    }
}
