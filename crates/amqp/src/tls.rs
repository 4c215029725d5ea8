//! TLS: whom to trust, who we are, and clear words for what fails.

use std::sync::Arc;

use advice::{Advise, Help};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};
use safetext::Secret;

/// Settings for encrypted connections.
#[derive(Debug, Clone, Default)]
pub struct TlsOptions {
    /// Text of a PEM file with authorities to trust besides the system's.
    pub authorities: Option<String>,
    /// Our certificate, for brokers that ask for one.
    pub identity: Option<Identity>,
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Text of a PEM file with the certificate, and those of authorities between it and the broker's.
    pub certificate: String,
    /// Text of a PEM file with the private key.
    pub key: Secret,
}

/// Reason why there is no encrypted connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct TlsError {
    what: String,
    help: &'static str,
}

impl Advise for TlsError {
    fn help(&self) -> Help {
        self.help.into()
    }
}

impl TlsError {
    fn new(what: impl Into<String>, help: &'static str) -> Self {
        Self { what: what.into(), help }
    }

    /// Explains an error of a connection to this host.
    pub(crate) fn of(error: &rustls::Error, host: &str) -> Self {
        use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage};
        let certificate =
            |reason: &str, help| Self::new(format!("the certificate of {host} is refused: {reason}"), help);
        match error {
            InvalidCertificate(CertificateError::UnknownIssuer) => certificate(
                "the authority that has signed it is not known here",
                "give the file of that authority: debci-ca",
            ),
            InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
                certificate("it has expired", "renew it at the broker; if this machine's clock is wrong, set it")
            }
            InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
                certificate("it is not valid yet", "this machine's clock may be wrong: set it")
            }
            InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) => {
                certificate(
                    "it is for another host",
                    "use a name that is in the certificate (subjectAltName) in the address, or make another certificate",
                )
            }
            InvalidCertificate(other) => certificate(&other.to_string(), "make another certificate for the broker"),
            AlertReceived(AlertDescription::CertificateRequired) => Self::new(
                format!("{host} asks for a certificate of this machine, and there is none"),
                "set debci-certificate and debci-key",
            ),
            AlertReceived(
                AlertDescription::UnknownCA
                | AlertDescription::BadCertificate
                | AlertDescription::CertificateUnknown
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateRevoked
                | AlertDescription::DecryptError
                | AlertDescription::AccessDenied,
            ) => Self::new(
                format!("{host} refuses this machine's certificate: {error}"),
                "have it signed by an authority that the broker trusts (RabbitMQ: ssl_options.cacertfile), and not expired",
            ),
            AlertReceived(AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure) => Self::new(
                format!("{host} speaks no version or cipher of TLS that is known here: {error}"),
                "TLS 1.2 and 1.3 are known: RabbitMQ's ssl_options.versions",
            ),
            InvalidMessage(_) => Self::new(
                format!("{host} does not speak TLS at this port"),
                "5671 is the usual port for amqps://; a plain port wants amqp://",
            ),
            other => {
                Self::new(format!("the encrypted connection to {host} failed: {other}"), "look into the broker's log")
            }
        }
    }
}

/// Prepares connections.
pub(crate) fn config(options: &TlsOptions) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    let system = transfer::tls::system_authorities();
    let system = system
        .map_err(|error| TlsError::new(error.to_string(), "mend that file, or name another one with SSL_CERT_FILE"))?;
    // One that rustls cannot read does not keep the others from being trusted.
    let (_added, _ignored) = roots.add_parsable_certificates(system);
    if let Some(text) = &options.authorities {
        let found = certificates(text, "debci-ca")?;
        for certificate in found {
            let added = roots.add(certificate);
            added.map_err(|error| TlsError::new(format!("debci-ca: {error}"), "give the authority's certificate"))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let failed = |error: rustls::Error| TlsError::new(format!("preparing TLS: {error}"), "report this");
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .with_root_certificates(roots);
    let config = match &options.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = certificates(&identity.certificate, "debci-certificate")?;
            let key = PrivateKeyDer::from_pem_slice(identity.key.reveal().as_bytes()).map_err(|_| {
                TlsError::new(
                    "debci-key: there is no private key in it",
                    "give the text of its PEM file, without a passphrase",
                )
            })?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                TlsError::new(
                    format!("debci-certificate and debci-key do not belong together: {error}"),
                    "give the certificate that was made for this key",
                )
            })?
        }
    };
    Ok(Arc::new(config))
}

fn certificates(text: &str, setting: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(TlsError::new(
            format!("{setting}: there is no certificate in it"),
            "give the text of a PEM file, or its path",
        )),
    }
}

#[cfg(test)]
mod tests;
