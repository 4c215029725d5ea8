//! [`Local`]: the hub that runs on this machine, found by the files in its data directory.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use advice::WithHelp as _;
use anyhow::{Context as _, Result};
use safetext::Secret;

/// File in which `rocbed hub` writes the address for use on its own machine.
const ADDRESS: &str = "address";
/// File in which it writes a new admin token.
const ADMIN_TOKEN: &str = "admin-token";
/// File in which the hub keeps its join token.
const JOIN_TOKEN: &str = "join-token";

/// A hub on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// Its address, for use on this machine.
    pub address: String,
    /// Admin token, if it is stored and readable.
    pub token: Option<Secret>,
    /// Join token, if it is readable.
    pub join_token: Option<Secret>,
}

/// Default data directory of a hub: `$XDG_DATA_HOME/rocbed/hub`.
pub fn default_data() -> Result<PathBuf> {
    let data = super::directory("XDG_DATA_HOME", ".local/share");
    Ok(data
        .context("finding the hub's data directory")
        .help("name one with --data; HOME is not set")?
        .join("rocbed/hub"))
}

impl Local {
    /// Reads what a hub left in its data directory; `None` if there never was one.
    pub fn read(data: &Path) -> Result<Option<Self>> {
        let Some(address) = text(&data.join(ADDRESS))? else { return Ok(None) };
        let (token, join_token) = (text(&data.join(ADMIN_TOKEN))?, text(&data.join(JOIN_TOKEN))?);
        Ok(Some(Self { address, token: token.map(Secret::new), join_token: join_token.map(Secret::new) }))
    }

    /// Whether an address means this hub: its own, or a loopback address with the same port.
    pub fn is_at(&self, address: &str) -> bool {
        let loopback = |address: &str| {
            let address = super::trimmed(address).to_ascii_lowercase();
            let (scheme, rest) = address.split_once("://")?;
            let (host, port) = rest.rsplit_once(':')?;
            let ip = host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback());
            let here = ip || matches!(host, "localhost" | "[::1]");
            here.then(|| format!("{scheme} {port}"))
        };
        let port = loopback(address);
        super::same(&self.address, address) || port.is_some() && port == loopback(&self.address)
    }

    /// Path of the admin token.
    pub fn admin_token_path(data: &Path) -> PathBuf {
        data.join(ADMIN_TOKEN)
    }

    /// Path of the join token.
    pub fn join_token_path(data: &Path) -> PathBuf {
        data.join(JOIN_TOKEN)
    }

    /// Stores a new admin token, readable for its owner only.
    pub fn keep_admin_token(data: &Path, token: &Secret) -> Result<()> {
        let path = Self::admin_token_path(data);
        durable::replace(&path, format!("{}\n", token.reveal()).as_bytes(), durable::Readers::Owner)
            .with_context(|| format!("keeping the admin token in {}", path.display()))
    }

    /// Stores the address of the hub.
    pub fn keep_address(data: &Path, address: &str) -> Result<()> {
        let path = data.join(ADDRESS);
        if text(&path)?.is_some_and(|known| known == address) {
            return Ok(());
        }
        durable::replace(&path, format!("{address}\n").as_bytes(), durable::Readers::Everyone)
            .with_context(|| format!("noting the address in {}", path.display()))
    }
}

/// The content of a one-line file. `None` if it does not exist or may not be read.
fn text(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_kept_is_found_again() -> Result<()> {
        let data = tempfile::tempdir()?;
        assert_eq!(Local::read(data.path())?, None);
        Local::keep_admin_token(data.path(), &Secret::new("secret"))?;
        Local::keep_address(data.path(), "http://127.0.0.1:8420")?;
        let found = Local::read(data.path())?.context("nothing")?;
        assert_eq!((found.token.as_ref().map(Secret::reveal), &found.join_token), (Some("secret"), &None));
        let mode = fs::metadata(Local::admin_token_path(data.path()))?.permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        Ok(())
    }

    #[test]
    fn loopback_by_any_name_is_this_machine() {
        let local = Local { address: "http://127.0.0.1:8420".into(), token: None, join_token: None };
        for here in ["http://localhost:8420", "http://[::1]:8420/", "http://127.0.0.1:8420"] {
            assert!(local.is_at(here), "{here}");
        }
        for elsewhere in ["http://localhost:8421", "https://localhost:8420", "http://127.0.0.1.example:8420x", "x"] {
            assert!(!local.is_at(elsewhere), "{elsewhere}");
        }
    }
}
