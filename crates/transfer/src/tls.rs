//! TLS settings of HTTP clients, and the authorities that clients of any protocol trust.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsConfigBuilder};

/// Certificate authorities that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {}: {error}", path.display())]
pub struct RootsError {
    /// Path of the file.
    pub path: PathBuf,
    /// The error of the operating system, or what is wrong with the file.
    pub error: io::Error,
}

/// Settings that trust the system's certificate authorities, and those in a PEM file.
///
/// The system's are those in `SSL_CERT_FILE` and `SSL_CERT_DIR`, or else where its distribution keeps them. If it has none,
/// only the given ones are trusted; without any, plain http still works.
///
/// # Errors
///
/// If a file that is named cannot be read, or contains no certificate.
pub fn trusting(given: Option<&Path>) -> Result<TlsConfig, RootsError> {
    let mut certificates = system()?;
    if let Some(path) = given {
        certificates.extend(read(path)?);
    }
    Ok(rooted_in(&certificates))
}

/// Settings that trust the system's certificate authorities, and those in the text of a PEM file.
///
/// # Errors
///
/// As [`trusting`]; the text counts as a file called `the given authorities`.
pub fn trusting_text(given: &str) -> Result<TlsConfig, RootsError> {
    let mut certificates = system()?;
    certificates.extend(parse(given.as_bytes(), Path::new("the given authorities"))?);
    Ok(rooted_in(&certificates))
}

/// Settings that accept every certificate: for a machine that has no certificate authorities yet and whose clock may be
/// wrong, and for data that is checked otherwise.
pub fn unverified() -> TlsConfig {
    config().disable_verification(true).build()
}

fn config() -> TlsConfigBuilder {
    // Connections are shared between agents with the same provider only.
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));
    TlsConfig::builder().unversioned_rustls_crypto_provider(Arc::clone(&PROVIDER))
}

/// The system's certificate authorities, as [`trusting`] trusts them: for connections other than HTTP.
///
/// # Errors
///
/// If the file that `SSL_CERT_FILE` names cannot be read, or contains no certificate; or if there is no other file of
/// authorities that can be read, and one that cannot.
pub fn system_authorities() -> Result<Vec<CertificateDer<'static>>, RootsError> {
    let system = rustls_native_certs::load_native_certs();
    // A faulty file among many is passed over; but who names one wants to know.
    if let Some(path) = std::env::var_os("SSL_CERT_FILE").filter(|value| !value.is_empty()) {
        read(Path::new(&path))?;
    }
    match system.errors.into_iter().next() {
        Some(error) if system.certs.is_empty() => Err(unreadable(error)),
        _ => Ok(system.certs),
    }
}

fn unreadable(error: rustls_native_certs::Error) -> RootsError {
    let said = error.to_string();
    match error.kind {
        rustls_native_certs::ErrorKind::Io { inner, path } => RootsError { path, error: inner },
        _ => RootsError { path: PathBuf::from("the system's certificate authorities"), error: io::Error::other(said) },
    }
}

fn system() -> Result<Vec<Certificate<'static>>, RootsError> {
    Ok(system_authorities()?.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect())
}

fn rooted_in(certificates: &[Certificate<'static>]) -> TlsConfig {
    config().root_certs(RootCerts::new_with_certs(certificates)).build()
}

fn read(path: &Path) -> Result<Vec<Certificate<'static>>, RootsError> {
    let pem = fs::read(path).map_err(|error| RootsError { path: path.to_owned(), error })?;
    parse(&pem, path)
}

fn parse(pem: &[u8], path: &Path) -> Result<Vec<Certificate<'static>>, RootsError> {
    let failed = |error| RootsError { path: path.to_owned(), error };
    let mut certificates = Vec::new();
    for item in ureq::tls::parse_pem(pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(failed(io::Error::other(error))),
        }
    }
    if certificates.is_empty() {
        return Err(failed(io::Error::other("there is no certificate in it")));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_named() -> io::Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        let error = trusting(Some(file.path())).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(
            error.contains("no certificate in it") && error.contains(&file.path().display().to_string()),
            "{error}"
        );
        Ok(())
    }
}
