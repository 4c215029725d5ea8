//! The options about a debci server, and about workers of debci.

use std::fs;
use std::path::Path;

use advice::{Advice, Advise as _, WithHelp as _};
use anyhow::{Context as _, Result};
use hub::amqp::{Identity, TlsOptions};
use hub::{DebciOptions, DebciWorkersOptions};
use protocol::BrokerAddress;
use safetext::Secret;

use crate::cmdline::{Debci, DebciWorkers};

/// Reads the options; `None` if no debci server is named. `pages` is where the hub's own pages are.
pub(super) fn options(wanted: &Debci, pages: Option<&str>) -> Result<Option<DebciOptions>> {
    let Some(broker) = &wanted.debci else { return Ok(None) };
    let place = BrokerOptions {
        option: "--debci",
        address: broker,
        password: wanted.debci_password_file.as_deref(),
        authorities: wanted.debci_ca.as_deref(),
        certificate: wanted.debci_certificate.as_deref().zip(wanted.debci_key.as_deref()),
    };
    let (address, tls) = place.read()?;
    Ok(Some(DebciOptions {
        address,
        tls,
        suites: wanted.debci_suite.clone(),
        architecture: wanted.debci_arch.clone(),
        backend: wanted.debci_backend.clone(),
        api: wanted.debci_api.clone(),
        ahead: wanted.debci_ahead,
        pages: pages.map(str::to_owned),
    }))
}

/// Reads the options about workers of debci; `None` if no broker is named.
pub(super) fn workers(wanted: &DebciWorkers) -> Result<Option<DebciWorkersOptions>> {
    let Some(broker) = &wanted.debci_workers else { return Ok(None) };
    let place = BrokerOptions {
        option: "--debci-workers",
        address: broker,
        password: wanted.debci_workers_password_file.as_deref(),
        authorities: wanted.debci_workers_ca.as_deref(),
        certificate: wanted.debci_workers_certificate.as_deref().zip(wanted.debci_workers_key.as_deref()),
    };
    let (address, tls) = place.read()?;
    for name in &wanted.debci_workers_arch {
        check_architecture(name)?;
    }
    Ok(Some(DebciWorkersOptions {
        address,
        tls,
        suite: wanted.debci_workers_suite.clone(),
        architectures: wanted.debci_workers_arch.clone(),
        backend: wanted.debci_workers_backend.clone(),
        after: wanted.debci_workers_after.map(|span| span.0),
        wait: wanted.debci_workers_wait.0,
        limit: wanted.debci_workers_limit.0,
        ahead: wanted.debci_workers_ahead,
    }))
}

/// What follows a `+` has to be a target: of any other word no job would ever go there.
fn check_architecture(name: &str) -> Result<()> {
    if let Some((_, target)) = name.split_once('+')
        && let Err(error) = target.parse::<gpu::Target>()
    {
        let what = format!("--debci-workers-arch: {name}: {error}");
        return Err(Advice::new(what, "write the target after the +, as in amd64+gfx1030").into());
    }
    Ok(())
}

/// The options about one broker.
struct BrokerOptions<'a> {
    /// The option with the address, to which those of the others add something.
    option: &'static str,
    address: &'a Secret,
    password: Option<&'a Path>,
    authorities: Option<&'a Path>,
    /// Certificate and key.
    certificate: Option<(&'a Path, &'a Path)>,
}

impl BrokerOptions<'_> {
    fn read(&self) -> Result<(BrokerAddress, TlsOptions)> {
        let option = self.option;
        let mut address = BrokerAddress::parse(self.address.reveal())
            .map_err(|error| Advice::new(format!("{option}: {error}"), error.help()))?;
        if let Some(path) = self.password {
            let text = text(path, &format!("{option}-password-file"))?;
            let password = Secret::new(text.trim_end_matches(['\r', '\n']));
            let user = address.login.take().map(|(user, _)| user).ok_or_else(|| {
                Advice::new(
                    format!("{option}: there is no user in the address"),
                    "write it as amqps://user@ci.example/vhost",
                )
            })?;
            address.login = Some((user, password));
        }
        let authorities = self.authorities.map(|path| text(path, &format!("{option}-ca"))).transpose()?;
        let identity = match self.certificate {
            Some((certificate, key)) => Some(Identity {
                certificate: text(certificate, &format!("{option}-certificate"))?,
                key: Secret::new(text(key, &format!("{option}-key"))?),
            }),
            None => None,
        };
        Ok((address, TlsOptions { authorities, identity }))
    }
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

    #[test]
    fn an_architecture_of_workers_has_a_target_after_the_plus() {
        for (name, is_one) in
            [("amd64", true), ("amd64+gfx1030", true), ("amd64+gfx10-3-generic", true), ("amd64+rx6800", false)]
        {
            assert_eq!(check_architecture(name).is_ok(), is_one, "{name}");
        }
    }
}
