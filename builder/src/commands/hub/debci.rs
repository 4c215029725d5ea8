//! The options about a debci server.

use std::fs;
use std::path::Path;

use advice::{Advice, WithHelp as _};
use anyhow::{Context as _, Result};
use hub::DebciOptions;
use hub::amqp::{Address, Identity, TlsOptions};
use safetext::Secret;

use crate::cmdline::Debci;

/// Reads the options; `None` if no debci server is named. `pages` is where the hub's own pages are.
pub(super) fn options(wanted: &Debci, pages: Option<&str>) -> Result<Option<DebciOptions>> {
    let Some(broker) = &wanted.debci else { return Ok(None) };
    let mut address = Address::parse(broker.reveal()).map_err(|error| {
        Advice::new(
            format!("--debci: {error}"),
            "write it as amqps://user:password@ci.example/vhost, with special characters encoded (%40 for @)",
        )
    })?;
    if let Some(path) = &wanted.debci_password_file {
        let password = Secret::new(text(path, "--debci-password-file")?.trim_end_matches(['\r', '\n']));
        let user = address.login.take().map(|(user, _)| user).ok_or_else(|| {
            Advice::new("--debci: there is no user in the address", "write it as amqps://user@ci.example/vhost")
        })?;
        address.login = Some((user, password));
    }
    let authorities = wanted.debci_ca.as_ref().map(|path| text(path, "--debci-ca")).transpose()?;
    let identity = match (&wanted.debci_certificate, &wanted.debci_key) {
        (Some(certificate), Some(key)) => Some(Identity {
            certificate: text(certificate, "--debci-certificate")?,
            key: Secret::new(text(key, "--debci-key")?),
        }),
        _ => None,
    };
    Ok(Some(DebciOptions {
        address,
        tls: TlsOptions { authorities, identity },
        suites: wanted.debci_suite.clone(),
        architecture: wanted.debci_arch.clone(),
        backend: wanted.debci_backend.clone(),
        api: wanted.debci_api.clone(),
        ahead: wanted.debci_ahead,
        pages: pages.map(str::to_owned),
    }))
}

fn text(path: &Path, option: &str) -> Result<String> {
    fs::read_to_string(path)
        .with_context(|| format!("{option}: reading {}", path.display()))
        .help("name a text file that can be read")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(broker: &str) -> Debci {
        Debci {
            debci: Some(Secret::new(broker)),
            debci_password_file: None,
            debci_suite: vec!["unstable".into()],
            debci_arch: "amd64".into(),
            debci_backend: "lxc".into(),
            debci_api: None,
            debci_ca: None,
            debci_certificate: None,
            debci_key: None,
            debci_ahead: 1,
        }
    }

    #[test]
    fn the_password_comes_from_a_file_or_the_address() -> Result<()> {
        let login = |wanted: &Debci| -> Result<String> {
            let options = options(wanted, None)?.context("options")?;
            Ok(options
                .address
                .login
                .map(|(user, password)| format!("{user}:{}", password.reveal()))
                .unwrap_or_default())
        };
        assert_eq!(login(&wanted("amqp://me:secret@ci.example"))?, "me:secret");
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), "from a file\n")?;
        let mut with_file = wanted("amqps://me@ci.example/v");
        with_file.debci_password_file = Some(file.path().to_owned());
        assert_eq!(login(&with_file)?, "me:from a file");
        with_file.debci = Some(Secret::new("amqps://ci.example"));
        assert!(login(&with_file).is_err_and(|error| error.to_string().contains("no user")));
        Ok(())
    }

    #[test]
    fn a_wrong_address_is_told_without_its_password() {
        let error = options(&wanted("https://me:secret@ci.example"), None).err().map(|error| error.to_string());
        assert!(error.is_some_and(|text| text.contains("amqps://") && !text.contains("secret")));
        assert!(!format!("{:?}", wanted("amqp://me:secret@h")).contains("secret"));
    }
}
