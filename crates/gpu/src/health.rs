//! [`defect`]: checks whether a GPU that KFD has still answers.

use crate::inventory::Gpu;
use crate::pci::DEVICES;
use crate::sysfs::Sysfs;

/// The link width that the kernel reads from a device that does not answer: all bits of the field.
const NO_WIDTH: u64 = 63;

/// The defect of a GPU on the bus, in words that follow "GPU 0000:03:00.0: "; `None` if it answers, or is simulated.
///
/// Reading the configuration space wakes up a sleeping device, so its power state is checked after that.
pub fn defect(sysfs: &Sysfs, gpu: &Gpu) -> Option<String> {
    let address = gpu.pci_address.filter(|_| !gpu.simulated)?;
    let at = format!("{DEVICES}/{address}");
    let config = sysfs.bytes(&format!("{at}/config")).unwrap_or_default();
    if config.get(..4) == Some(&[0xff; 4]) {
        return Some("it does not answer: its configuration space reads as ones".to_owned());
    }
    let width = sysfs.decimal(&format!("{at}/current_link_width"));
    if !gpu.integrated && width.is_some_and(|width| width == 0 || width >= NO_WIDTH) {
        return Some("its PCIe link is down".to_owned());
    }
    let state = sysfs.value(&format!("{at}/power_state"));
    match state.as_deref() {
        // If its configuration space was not read, it was not asked to wake up.
        Some(state @ ("D3cold" | "error")) if !config.is_empty() => {
            Some(format!("it does not wake up: its power state is {state}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn with(files: &[(&str, &[u8])], integrated: bool) -> Option<String> {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().join(DEVICES).join("0000:03:00.0");
        fs::create_dir_all(&at).unwrap();
        for (name, bytes) in files {
            fs::write(at.join(name), bytes).unwrap();
        }
        let mut gpu = crate::simulate("gfx1030").unwrap().gpus.remove(0);
        (gpu.simulated, gpu.pci_address, gpu.integrated) = (false, "0000:03:00.0".parse().ok(), integrated);
        defect(&Sysfs::new(directory.path()), &gpu)
    }

    const ANSWERS: (&str, &[u8]) = ("config", &[0x02, 0x10, 0xbf, 0x73]);

    #[test]
    fn a_gpu_that_answers_is_well() {
        let link: (&str, &[u8]) = ("current_link_width", b"16\n");
        assert_eq!(with(&[ANSWERS, link, ("power_state", b"D0\n")], false), None);
        assert_eq!(with(&[ANSWERS, ("current_link_width", b"0\n")], true), None, "inside a processor there is no link");
        assert_eq!(with(&[("power_state", b"D3cold\n")], false), None, "nobody has woken it up");
    }

    #[test]
    fn one_that_does_not_says_how() {
        assert!(with(&[("config", &[0xff; 64])], false).unwrap().contains("reads as ones"));
        assert!(with(&[ANSWERS, ("current_link_width", b"63\n")], false).unwrap().contains("link is down"));
        assert!(with(&[ANSWERS, ("power_state", b"D3cold\n")], false).unwrap().contains("D3cold"));
    }
}
