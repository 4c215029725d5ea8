//! Identifies this machine, in the same way after each start.

use std::fs;
use std::io;
use std::path::Path;

/// The machine's UUID (SMBIOS 3.7, section 7.2.1), as the kernel shows it to root.
const PRODUCT_UUID: &str = "sys/class/dmi/id/product_uuid";

/// Names of the product and of its board (SMBIOS 3.7, sections 7.2 and 7.3), which every user may read.
const NAMES: [&str; 2] = ["sys/class/dmi/id/product_name", "sys/class/dmi/id/board_name"];

/// Placeholder values in firmware where the vendor has not filled in the fields.
const FILLERS: [&str; 8] = [
    "to be filled by o.e.m.",
    "system product name",
    "default string",
    "not applicable",
    "not specified",
    "o.e.m.",
    "n/a",
    "none",
];

/// Network cards.
const CARDS: &str = "sys/class/net";

/// QEMU's default MAC address, which virtual machines have if none is set.
const QEMU_DEFAULT: &str = "52:54:00:12:34:56";

/// UUIDs that many boards share because the vendor has not set one.
const MEANINGLESS: [&str; 2] = ["03000200-0400-0500-0006-000700080009", "12345678-1234-5678-90ab-cddeefaabbcc"];

/// The file in the data directory with the id of a machine that has no other.
const FILE: &str = "worker-id";

/// Returns the machine's UUID, else the first wired card's address, else a random number that is kept in the data
/// directory. `root` is `/`.
///
/// # Errors
/// If the kernel gives no random numbers.
pub fn worker_id(root: &Path, data: &Path) -> io::Result<String> {
    if let Some(uuid) = product_uuid(root) {
        return Ok(uuid);
    }
    if let Some(address) = first_address(root) {
        return Ok(format!("mac-{}", address.replace(':', "")));
    }
    let path = data.join(FILE);
    if let Some(known) = fs::read_to_string(&path).ok().filter(|id| protocol::api::check_id("id", id).is_ok()) {
        return Ok(known);
    }
    let random = client::request_id().map_err(io::Error::other)?;
    let id = format!("random-{random}");
    // Where it cannot be kept, the machine is a new worker after each start. That nothing can be written there is told by
    // the check of its fitness, and it gets no jobs.
    let _ = durable::replace(&path, id.as_bytes(), durable::Readers::Owner);
    Ok(id)
}

/// The name that is proposed for the machine: the product's name, else the board's. `root` is `/`.
pub fn proposed_name(root: &Path) -> Option<String> {
    NAMES.iter().find_map(|path| {
        let name = fs::read_to_string(root.join(path)).ok()?.trim().to_owned();
        (!name.is_empty() && !FILLERS.contains(&name.to_ascii_lowercase().as_str())).then_some(name)
    })
}

fn product_uuid(root: &Path) -> Option<String> {
    let uuid = fs::read_to_string(root.join(PRODUCT_UUID)).ok()?.trim().to_ascii_lowercase();
    let digits = || uuid.chars().filter(|char| *char != '-');
    let is_uuid = uuid.len() == 36 && digits().count() == 32 && digits().all(|char| char.is_ascii_hexdigit());
    let same = digits().next().is_none_or(|first| digits().all(|char| char == first));
    (is_uuid && !same && !MEANINGLESS.contains(&uuid.as_str())).then_some(uuid)
}

/// The address of the first network card, by name, that is a device and has an Ethernet address.
fn first_address(root: &Path) -> Option<String> {
    let entries = fs::read_dir(root.join(CARDS)).ok()?;
    let mut cards: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    cards.sort();
    cards.iter().filter(|card| card.join("device").exists()).find_map(|card| {
        let address = fs::read_to_string(card.join("address")).ok()?.trim().to_ascii_lowercase();
        let is_address = address.len() == 17 && address.chars().any(|char| char.is_ascii_hexdigit() && char != '0');
        (is_address && address != QEMU_DEFAULT).then_some(address)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) -> io::Result<()> {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap_or(root))?;
        fs::write(path, text)
    }

    #[test]
    fn a_machine_is_called_as_its_product_or_its_board() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        assert_eq!(proposed_name(root.path()), None);
        write(root.path(), NAMES[1], "ROG STRIX X570-E GAMING\n")?;
        write(root.path(), NAMES[0], "To Be Filled By O.E.M.\n")?;
        assert_eq!(proposed_name(root.path()).as_deref(), Some("ROG STRIX X570-E GAMING"));
        write(root.path(), NAMES[0], "PowerEdge R7525\n")?;
        assert_eq!(proposed_name(root.path()).as_deref(), Some("PowerEdge R7525"));
        Ok(())
    }

    #[test]
    fn a_machine_keeps_its_id() -> io::Result<()> {
        let (root, data) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let id = || worker_id(root.path(), data.path());
        write(root.path(), PRODUCT_UUID, "00000000-0000-0000-0000-000000000000\n")?;
        write(root.path(), "sys/class/net/ens3/address", "52:54:00:12:34:56\n")?;
        fs::create_dir(root.path().join("sys/class/net/ens3/device"))?;
        let random = id()?;
        assert!(random.starts_with("random-"), "{random}");
        assert_eq!(id()?, random);
        write(root.path(), "sys/class/net/eth0/address", "3C:EC:EF:00:11:22\n")?;
        assert_eq!(id()?, random, "a card that is no device is none");
        fs::create_dir(root.path().join("sys/class/net/eth0/device"))?;
        assert_eq!(id()?, "mac-3cecef001122");
        write(root.path(), PRODUCT_UUID, "4C4C4544-0051-3510-8052-B4C04F4E3732\n")?;
        assert_eq!(id()?, "4c4c4544-0051-3510-8052-b4c04f4e3732");
        assert_eq!(protocol::api::check_id("id", &id()?), Ok(()));
        Ok(())
    }
}
