//! Passes addresses from the first stage to the second: those that interfaces got from DHCP, to be requested again at
//! once. The interfaces keep them in the meantime.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use network::{Origin, Status};

/// The addresses that came from DHCP, by interface.
pub fn of(status: &Status) -> BTreeMap<String, Ipv4Addr> {
    let leased = status.links.iter().filter_map(|link| {
        let configuration = link.configuration.as_ref()?;
        matches!(configuration.origin, Origin::Dhcp { .. }).then(|| (link.name.clone(), configuration.address))
    });
    leased.collect()
}

/// Writes the addresses to a file.
///
/// # Errors
/// If the file cannot be written.
pub fn write(path: &Path, addresses: &BTreeMap<String, Ipv4Addr>) -> io::Result<()> {
    let text: String = addresses.iter().map(|(link, address)| format!("{link} {address}\n")).collect();
    let written = path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(path, text));
    written.map_err(|error| io::Error::other(format!("writing {}: {error}", path.display())))
}

/// Reads the addresses; empty if there is no file.
pub fn read(path: &Path) -> BTreeMap<String, Ipv4Addr> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.filter_map(|(link, address)| Some((link.to_owned(), address.parse().ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_back_as_they_were() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("rocbed/addresses");
        assert!(read(&path).is_empty());
        let addresses = BTreeMap::from([("enp0s3".to_owned(), Ipv4Addr::new(10, 0, 2, 15))]);
        write(&path, &addresses)?;
        assert_eq!(read(&path), addresses);
        std::fs::write(&path, "enp0s3\nx y\n\n")?;
        assert!(read(&path).is_empty());
        Ok(())
    }
}
