//! [`Names`]: the names of PCI devices, from the machine's `pci.ids` (package `pci.ids`; format: comments at the head
//! of the file).
//!
//! The list is not built in: it would add three megabytes to a program of one and a half, and be older than the
//! image's.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::chips::Chip;
use crate::pci::{AMD, PciGpu};

/// The paths where distributions install it.
const PATHS: [&str; 2] = ["/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids"];
/// The largest file that is read, in bytes: ten times its present size.
const MAX_SIZE: u64 = 16 << 20;

/// The text of a `pci.ids`, or nothing, which is enough for chips that ROCm supports.
#[derive(Debug, Clone, Default)]
pub struct Names {
    text: String,
}

impl Names {
    /// Uses the text of a `pci.ids`. Never fails: lines that cannot be parsed give no names.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }

    /// Uses this machine's `pci.ids`; only built-in names if it has none.
    pub fn of_this_machine() -> Self {
        let text = PATHS.into_iter().find_map(|path| read(Path::new(path)).ok());
        Self::new(text.unwrap_or_default())
    }

    /// The vendor's name, without the part in brackets.
    pub fn vendor(&self, vendor: u16) -> Option<&str> {
        let (name, _) = self.section(vendor)?;
        Some(name.split_once(" [").map_or(name, |(name, _)| name))
    }

    /// A device's name.
    pub fn device(&self, vendor: u16, device: u16) -> Option<&str> {
        let (_, section) = self.section(vendor)?;
        let prefix = format!("\t{device:04x}  ");
        section.lines().find_map(|line| line.strip_prefix(&prefix)).map(str::trim)
    }

    /// A vendor's name and the lines with its devices.
    fn section(&self, vendor: u16) -> Option<(&str, &str)> {
        let head = format!("{vendor:04x}  ");
        let start =
            if self.text.starts_with(&head) { 0 } else { self.text.find(&format!("\n{head}"))?.checked_add(1)? };
        let section = self.text.get(start..)?.strip_prefix(&head)?;
        let (name, devices) = section.split_once('\n').unwrap_or((section, ""));
        // Ends at the first line that is neither indented nor a comment.
        let lines = devices.split_inclusive('\n');
        let length = lines.take_while(|line| line.starts_with(['\t', '#', '\n'])).map(str::len).sum();
        Some((name.trim(), devices.get(..length)?))
    }

    /// The name for a GPU: the product in brackets of its `pci.ids` entry with the code name, its own product name,
    /// the code name, or at worst the numbers.
    pub fn gpu(&self, gpu: &PciGpu) -> String {
        let ids = format!("{:04x}:{:04x}", gpu.vendor, gpu.device);
        if gpu.vendor != AMD {
            let vendor = self.vendor(gpu.vendor).or_else(|| well_known(gpu.vendor));
            let kind = if gpu.class >> 16 == 0x12 { "accelerator" } else { "GPU" };
            let device = self.device(gpu.vendor, gpu.device).unwrap_or(kind);
            return format!("{} {device} [{ids}]", vendor.unwrap_or("unknown vendor's"));
        }
        self.amd(gpu.device).or_else(|| gpu.product.clone()).unwrap_or_else(|| format!("AMD GPU [{ids}]"))
    }

    /// The name for an AMD GPU.
    pub fn amd(&self, device: u16) -> Option<String> {
        let listed = self.device(AMD, device).map(|name| match name.split_once(" [") {
            Some((code, product)) => format!("{} ({code})", product.trim_end_matches(']')),
            None => format!("AMD {name}"),
        });
        listed.or_else(|| Some(format!("AMD {}", Chip::find(device)?.name)))
    }
}

/// Vendors of other GPUs that are common in test machines, for those without `pci.ids`.
fn well_known(vendor: u16) -> Option<&'static str> {
    Some(match vendor {
        0x10de => "NVIDIA",
        0x8086 => "Intel",
        0x1a03 => "ASPEED",
        0x102b => "Matrox",
        0x1234 => "QEMU",
        0x1af4 | 0x1b36 => "Red Hat",
        0x15ad => "VMware",
        0x1013 => "Cirrus Logic",
        _ => return None,
    })
}

fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_SIZE).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const IDS: &str = "\
# a comment
0fff  Vendor Before
\t73bf  Not this one
1002  Advanced Micro Devices, Inc. [AMD/ATI]
\t164e  Raphael
\t73bf  Navi 21 [Radeon RX 6800/6800 XT / 6900 XT]
\t\t1002 0e3a  A card of this kind
# another
\t7fff  Last
10de  NVIDIA Corporation
\t2684  AD102 [GeForce RTX 4090]
\t1002  Not a vendor
C 03  Display controller
";

    #[test]
    fn products_come_first_code_names_after() {
        let names = Names::new(IDS);
        assert_eq!(names.amd(0x73bf).unwrap(), "Radeon RX 6800/6800 XT / 6900 XT (Navi 21)");
        assert_eq!(names.amd(0x164e).unwrap(), "AMD Raphael");
        assert_eq!(names.device(AMD, 0x7fff), Some("Last"));
        assert_eq!(names.device(AMD, 0x2684), None);
        assert_eq!(names.vendor(AMD), Some("Advanced Micro Devices, Inc."));
        assert_eq!(names.device(0x10de, 0x2684), Some("AD102 [GeForce RTX 4090]"));
    }

    #[test]
    fn without_a_list_chips_of_rocm_still_have_names() {
        assert_eq!(Names::default().amd(0x740f).unwrap(), "AMD Aldebaran");
        assert_eq!(Names::default().amd(0x0001), None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(\t{0,2}[0-9a-f]{4}  \\PC{0,9}\n?){0,9}|\\PC*", vendor in 0..3_u16, device in 0..3_u16) {
            let names = Names::new(text);
            let _ = (names.vendor(vendor), names.device(vendor, device), names.amd(device));
        }
    }
}
