//! [`Spoken`]: a message split into its speaker, its device and the rest.

use crate::address::PciAddress;

/// A message without the prefix that names the speaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spoken<'t> {
    /// The kind of prefix.
    pub(crate) by: By<'t>,
    /// The rest.
    pub(crate) body: &'t str,
}

/// The prefix of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By<'t> {
    /// `amdgpu 0000:03:00.0: `: the driver, or the PCI core about a device that the driver has.
    Gpu(PciAddress),
    /// `pcieport 0000:00:03.1: `: the PCI core, or another driver, about a device.
    Device(&'t str, PciAddress),
    /// `amdgpu: `, `kfd kfd: `, `[drm:FUNCTION [amdgpu]] *ERROR* `: the driver, about some device.
    Driver,
    /// `{1}[Hardware Error]: `: what the firmware has reported (APEI).
    Apei,
    /// Anything else.
    Kernel,
}

impl<'t> Spoken<'t> {
    /// Splits a message.
    pub(crate) fn read(message: &'t str) -> Self {
        if let Some((driver, address, rest)) = device(message) {
            return if driver == "amdgpu" {
                Self { by: By::Gpu(address), body: driver_body(rest) }
            } else {
                Self { by: By::Device(driver, address), body: pci_body(rest) }
            };
        }
        if let Some(rest) = drm_function(message) {
            return Self { by: By::Driver, body: driver_body(rest) };
        }
        if let Some(body) = iommu_device(message) {
            return Self { by: By::Kernel, body };
        }
        for start in ["amdgpu: ", "kfd kfd: ", "kfd: ", "[drm] ", "[powerplay] "] {
            if let Some(rest) = message.strip_prefix(start) {
                return Self { by: By::Driver, body: driver_body(rest) };
            }
        }
        // All of a message's first line, if its text begins with a line break.
        if matches!(message, "amdgpu:" | "amdgpu: [powerplay]") {
            return Self { by: By::Driver, body: "" };
        }
        match event_number(message).and_then(|rest| rest.strip_prefix("[Hardware Error]:")) {
            Some(rest) => Self { by: By::Apei, body: rest.trim_start() },
            None => Self { by: By::Kernel, body: message },
        }
    }
}

/// `DRIVER ADDRESS: REST`
fn device(message: &str) -> Option<(&str, PciAddress, &str)> {
    let (driver, rest) = message.split_once(' ')?;
    // Kernel functions that print about a device put exactly one name before its address.
    if driver.is_empty() || driver.len() > 32 || driver.ends_with(':') || !rest.as_bytes().first()?.is_ascii_hexdigit()
    {
        return None;
    }
    let (address, rest) = rest.split_once(": ").or_else(|| Some((rest.strip_suffix(':')?, "")))?;
    // Old kernels also name the port's service: `0000:00:1c.0:pcie004`.
    let address = address.split_once(":pcie").map_or(address, |(address, _)| address);
    Some((driver, address.parse().ok()?, rest))
}

/// `iommu ivhd0: AMD-Vi: REST`, by an IOMMU's own device. The name and what follows are longer than a process's name.
fn iommu_device(message: &str) -> Option<&str> {
    let (number, rest) = message.strip_prefix("iommu ivhd")?.split_once(": ")?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && rest.starts_with("AMD-Vi: ")).then_some(rest)
}

/// `[drm:FUNCTION [amdgpu]] *ERROR* REST`, and without the module's name where the driver is built in.
fn drm_function(message: &str) -> Option<&str> {
    let rest = message.strip_prefix("[drm:")?;
    let (function, after) = rest.split_once(']')?;
    let (name, module) = function.split_once(" [").unwrap_or((function, "amdgpu"));
    let ours =
        module == "amdgpu" && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'));
    ours.then(|| after.strip_prefix(']').unwrap_or(after).trim_start())
}

/// The driver's message without its optional prefixes, of which there may be several.
fn driver_body(mut text: &str) -> &str {
    loop {
        text = text.trim_start();
        // How dmesg shows a message, without its last blank, that begins with a line break.
        if matches!(text, "amdgpu:" | "[powerplay]") {
            return "";
        }
        let shorter = ["amdgpu: ", "kfd: ", "[drm] ", "*ERROR* ", "*WARNING* ", "[powerplay] ", "[Hardware Error]: "]
            .iter()
            .chain(&SERVICES)
            .chain(&LINE_BREAKS)
            .find_map(|start| text.strip_prefix(start))
            .or_else(|| event_number(text))
            .or_else(|| drm_function(text));
        match shorter {
            Some(shorter) => text = shorter,
            None => return text,
        }
    }
}

/// The PCI core's message without the name of the port service.
fn pci_body(text: &str) -> &str {
    let text = text.trim_start();
    SERVICES.iter().find_map(|service| text.strip_prefix(service)).unwrap_or(text).trim_start()
}

const SERVICES: [&str; 5] = ["AER: ", "DPC: ", "pciehp: ", "AMD-Vi: ", "DMAR: "];

/// A line break within a message, as `/dev/kmsg` and rsyslog write it.
const LINE_BREAKS: [&str; 2] = ["\\x0a", "#012"];

/// `{12}`, the number of a RAS event.
fn event_number(text: &str) -> Option<&str> {
    let (number, rest) = text.strip_prefix('{')?.split_once('}')?;
    number.bytes().all(|byte| byte.is_ascii_digit()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_is_known_by_how_it_begins() {
        let table = [
            ("amdgpu 0000:03:00.0: amdgpu: words", true),
            ("amdgpu 0000:03:00.0: [drm] words", true),
            ("amdgpu 0000:03:00.0: [drm:amdgpu_job_timedout [amdgpu]] *ERROR* words", true),
            ("amdgpu 0000:03:00.0: amdgpu: [drm] *ERROR* words", true),
            ("amdgpu 0000:03:00.0: {3}[Hardware Error]: words", true),
            ("[drm:mes_v11_0_submit.constprop.0 [amdgpu]] *ERROR* words", false),
            ("[drm:amdgpu_job_timedout] *ERROR* words", false),
            ("[drm] *ERROR* words", false),
            ("amdgpu: [powerplay] words", false),
            ("kfd kfd: amdgpu: words", false),
        ];
        for (message, named) in table {
            let spoken = Spoken::read(message);
            assert_eq!(spoken.body, "words", "{message}");
            assert_eq!(matches!(spoken.by, By::Gpu(_)), named, "{message}");
        }
        assert!(matches!(Spoken::read("pcieport 0000:00:03.1: AER: x").by, By::Device("pcieport", _)));
    }

    #[test]
    fn others_are_not_taken_for_the_driver() {
        for message in [
            "tmpfs: Unknown parameter 'amdgpu 0000:03:00.0: amdgpu: GPU reset begin!'",
            "[drm:intel_fault [i915]] *ERROR* words",
            "amdgpu is hung[123]: segfault at 0",
            "traps: amdgpu: GPU[12] trap invalid opcode",
        ] {
            assert_eq!(Spoken::read(message).by, By::Kernel, "{message}");
        }
    }
}
