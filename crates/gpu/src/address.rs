//! [`PciAddress`]: the address of a device on the PCI buses.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Domain, bus, device and function: `0000:03:00.0`, as sysfs names devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(into = "String", try_from = "String")]
pub struct PciAddress {
    /// PCI domain (segment); beyond 16 bits for virtual ones (Intel VMD, Hyper-V).
    pub domain: u32,
    /// Bus.
    pub bus: u8,
    /// Device on the bus, below 32.
    pub device: u8,
    /// Function of the device, below 8.
    pub function: u8,
}

/// A text that is not a PCI address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a PCI address; they look like 0000:03:00.0")]
pub struct AddressError(String);

impl PciAddress {
    /// From KFD's `domain` and the low 16 bits of its `location_id`: bus, device, function in 8, 5 and 3 bits.
    pub(crate) fn from_location(domain: u32, location: u16) -> Self {
        let [bus, low] = location.to_be_bytes();
        Self { domain, bus, device: low >> 3, function: low & 7 }
    }

    /// The first function of the same device.
    #[must_use]
    pub fn first_function(self) -> Self {
        Self { function: 0, ..self }
    }

    /// The first address in a line of text.
    pub fn find(line: &str) -> Option<Self> {
        line.split(|char: char| !(char.is_ascii_hexdigit() || char == ':' || char == '.'))
            .find_map(|word| word.trim_matches([':', '.']).parse().ok())
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, bus, device, function } = self;
        f.pad(&format!("{domain:04x}:{bus:02x}:{device:02x}.{function}"))
    }
}

impl FromStr for PciAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        parse(text).ok_or_else(|| AddressError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<PciAddress> {
    let (rest, function) = text.rsplit_once('.')?;
    let mut parts = rest.split(':');
    let (domain, bus, device) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || !(4..=8).contains(&domain.len()) || bus.len() != 2 || device.len() != 2 {
        return None;
    }
    if [domain, bus, device, function].iter().any(|part| !part.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        return None;
    }
    let address = PciAddress {
        domain: u32::from_str_radix(domain, 16).ok()?,
        bus: u8::from_str_radix(bus, 16).ok()?,
        device: u8::from_str_radix(device, 16).ok()?,
        function: function.parse().ok()?,
    };
    (address.device < 32 && address.function < 8).then_some(address)
}

impl From<PciAddress> for String {
    fn from(address: PciAddress) -> Self {
        address.to_string()
    }
}

impl TryFrom<String> for PciAddress {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn kfd_locations() {
        assert_eq!(PciAddress::from_location(0, 768).to_string(), "0000:03:00.0");
        assert_eq!(PciAddress::from_location(1, 0xc1_29).to_string(), "0001:c1:05.1");
    }

    #[test]
    fn addresses_in_log_lines() {
        let find = |line: &str| PciAddress::find(line).map(|address| address.to_string());
        assert_eq!(find("amdgpu 0000:03:00.0: amdgpu: Fatal error").as_deref(), Some("0000:03:00.0"));
        assert_eq!(find("amdgpu: probe of 10000:e1:00.0 failed with error -2").as_deref(), Some("10000:e1:00.0"));
        assert_eq!(find("kfd kfd: amdgpu: skipped device 1002:67df, PCI rejects atomics"), None);
        assert_eq!(find("at 12:30:59.1 0000:03:20.0 0000:03:00.8"), None);
    }

    proptest! {
        #[test]
        fn addresses_are_read_as_written(domain: u32, location: u16) {
            let address = PciAddress::from_location(domain, location);
            prop_assert_eq!(address.to_string().parse::<PciAddress>().unwrap(), address);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}|[0-9a-f:.]{0,20}") {
            if let Some(address) = PciAddress::find(&text) {
                prop_assert!(address.device < 32 && address.function < 8);
            }
        }
    }
}
