//! Trusted certificate authorities: the system's, and those in a given file.

use std::fs;
use std::path::{Path, PathBuf};

use ureq::tls::{Certificate, PemItem, RootCerts};

use crate::error::ClientError;

/// Paths of the system's bundle: Debian, Fedora, openSUSE.
const SYSTEM: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];

/// Reads the trusted authorities: the system's, and those in a PEM file. If the system has none, only the given ones
/// are trusted; without any, plain http still works.
///
/// # Errors
///
/// If a file cannot be read, or contains no certificate.
pub fn roots(given: Option<&Path>) -> Result<RootCerts, ClientError> {
    let system = std::env::var_os("SSL_CERT_FILE").filter(|value| !value.is_empty()).map(PathBuf::from);
    let system = system.or_else(|| SYSTEM.iter().map(PathBuf::from).find(|path| path.exists()));
    let mut certificates = Vec::new();
    for path in system.as_deref().into_iter().chain(given) {
        certificates.extend(read(path)?);
    }
    Ok(RootCerts::new_with_certs(&certificates))
}

fn read(path: &Path) -> Result<Vec<Certificate<'static>>, ClientError> {
    let failed = |error| ClientError::File { path: path.to_owned(), error };
    let pem = fs::read(path).map_err(failed)?;
    let mut certificates = Vec::new();
    for item in ureq::tls::parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(failed(std::io::Error::other(error))),
        }
    }
    if certificates.is_empty() {
        return Err(failed(std::io::Error::other("there is no certificate in it")));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_named() -> std::io::Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        let error = roots(Some(file.path())).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("no certificate in it"), "{error}");
        Ok(())
    }
}
