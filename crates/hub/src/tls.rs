//! The hub's certificate: read at the start, and again when its files have changed.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, RootCertStore, ServerConfig};

use crate::error::HubError;

/// Shortest time between two checks of the files, which new connections trigger.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A loaded certificate with its chain and key. Clones share them.
#[derive(Debug, Clone)]
pub struct Tls {
    pub(crate) config: Arc<ServerConfig>,
    pair: Arc<Pair>,
}

/// A fault in a certificate for which rocbed's workers and commands, and browsers, refuse it even if they trust its
/// authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateFault {
    /// It is the certificate of an authority (basicConstraints `CA:TRUE`), which `openssl req -x509` creates by
    /// default.
    Authority,
    /// It names no host: it has no subjectAltName, and a name in the subject does not count (RFC 9525, section 2).
    NoName,
    /// It is for other hosts than the hub's; their names.
    OtherName(Vec<String>),
    /// It has expired.
    Expired,
}

impl Tls {
    /// Reads a certificate (followed by its chain) and its key, both PEM files.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, or the two do not belong together.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, HubError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        // The stamps are taken before the files are read, so a change meanwhile is noticed the next time.
        let seen = Seen { stamps: [Stamp::of(certificate), Stamp::of(key)], looked: Instant::now() };
        let pair = Arc::new(Pair {
            current: RwLock::new(Arc::new(load(certificate, key, &provider)?)),
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            provider: Arc::clone(&provider),
            seen: Mutex::new(seen),
        });
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| HubError::Certificate { path: certificate.to_owned(), reason: error.to_string() })?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&pair) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), pair })
    }

    /// Reads both files again, whether they have changed or not. Existing connections continue; new ones use the new
    /// certificate.
    ///
    /// # Errors
    ///
    /// As [`Tls::read`]; then the previous certificate stays in use.
    pub fn reload(&self) -> Result<(), HubError> {
        self.pair.reload()
    }

    /// The fault of the certificate for clients that trust its authority and use this name or address, if there is one.
    pub fn fault(&self, host: Option<&str>) -> Option<CertificateFault> {
        let current = self.pair.current();
        let (end, chain) = current.cert.split_first()?;
        fault(end, chain, host, Arc::clone(&self.pair.provider))
    }
}

/// A certificate, its key, and their files.
#[derive(Debug)]
struct Pair {
    certificate: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
    seen: Mutex<Seen>,
}

/// State of the files when they were last checked.
#[derive(Debug)]
struct Seen {
    stamps: [Stamp; 2],
    looked: Instant,
}

/// Identifies a version of a file: device, inode, size, time of change in seconds and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp(Option<(u64, u64, u64, i64, i64)>);

impl Stamp {
    fn of(path: &Path) -> Self {
        let about = fs::metadata(path).ok();
        Self(about.map(|about| (about.dev(), about.ino(), about.size(), about.mtime(), about.mtime_nsec())))
    }
}

impl Pair {
    fn current(&self) -> Arc<CertifiedKey> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn reload(&self) -> Result<(), HubError> {
        let fresh = load(&self.certificate, &self.key, &self.provider)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
        Ok(())
    }

    /// Reloads the files if they have changed. An error is reported once, and the old pair stays: a renewal may have
    /// replaced only one of the two files so far.
    fn look(&self, every: Duration) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.looked.elapsed() < every {
            return;
        }
        seen.looked = Instant::now();
        let stamps = [Stamp::of(&self.certificate), Stamp::of(&self.key)];
        if stamps == seen.stamps {
            return;
        }
        seen.stamps = stamps;
        match self.reload() {
            Ok(()) => tracing::info!(certificate = %self.certificate.display(), "the certificate was read again"),
            Err(error) => {
                tracing::error!(%error, "the certificate has changed and cannot be used; the old one stays in use");
            }
        }
    }
}

impl ResolvesServerCert for Pair {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.look(LOOK_EVERY);
        Some(self.current())
    }
}

fn load(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, HubError> {
    let wrong = |path: &Path, reason: String| HubError::Certificate { path: path.to_owned(), reason };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(wrong(certificate, "there is no certificate in it".into()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, error.to_string()))?;
    CertifiedKey::from_der(chain, private, provider).map_err(|error| wrong(certificate, error.to_string()))
}

/// Checks a certificate like a client that trusts it and its chain.
fn fault(
    end: &CertificateDer<'_>,
    chain: &[CertificateDer<'static>],
    host: Option<&str>,
    provider: Arc<CryptoProvider>,
) -> Option<CertificateFault> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(chain.iter().cloned().chain([end.clone().into_owned()]));
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().ok()?;
    // Any name serves to find out whether the certificate has names.
    let name = host.unwrap_or("rocbed.invalid");
    let server = match name.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) => ServerName::IpAddress(address.into()),
        Err(_) => ServerName::try_from(name).ok()?,
    };
    let outcome = verifier.verify_server_cert(end, chain, &server, &[], UnixTime::now());
    match outcome.err()? {
        rustls::Error::InvalidCertificate(error) => match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Some(CertificateFault::Expired),
            CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
                Some(CertificateFault::NoName)
            }
            CertificateError::NotValidForNameContext { presented, .. } => {
                host.map(|_| CertificateFault::OtherName(presented))
            }
            // rustls has no error of its own for this; webpki's is part of the text.
            CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
                Some(CertificateFault::Authority)
            }
            // Other errors depend on the client's trust anchors.
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Creates `cert.pem` and `key.pem` with `openssl req -x509` and these additional options.
    fn make(directory: &Path, more: &[&str]) {
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "30",
            ])
            .args(["-subj", "/CN=hub.example", "-keyout", "key.pem", "-out", "cert.pem"])
            .args(more)
            .current_dir(directory)
            .output()
            .expect("this test needs openssl: install the package openssl");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    const END: [&str; 2] = ["-addext", "basicConstraints=critical,CA:FALSE"];
    const NAMED: [&str; 2] = ["-addext", "subjectAltName=DNS:hub.example,IP:192.0.2.7"];

    fn read(directory: &Path) -> Result<Tls, HubError> {
        Tls::read(&directory.join("cert.pem"), &directory.join("key.pem"))
    }

    #[test]
    fn what_clients_refuse_in_a_certificate_is_found() -> Result<(), Box<dyn std::error::Error>> {
        let temp = tempfile::tempdir()?;
        make(temp.path(), &[]);
        assert_eq!(
            read(temp.path())?.fault(Some("hub.example")),
            Some(CertificateFault::Authority),
            "openssl's default"
        );
        make(temp.path(), &END);
        assert_eq!(read(temp.path())?.fault(None), Some(CertificateFault::NoName));
        make(temp.path(), &[END, NAMED].concat());
        let tls = read(temp.path())?;
        for host in [None, Some("hub.example"), Some("192.0.2.7")] {
            assert_eq!(tls.fault(host), None, "{host:?}");
        }
        assert!(matches!(tls.fault(Some("[::1]")), Some(CertificateFault::OtherName(names)) if names.len() == 2));
        Ok(())
    }

    #[test]
    fn a_renewed_certificate_is_read_and_a_broken_one_is_not_used() -> Result<(), Box<dyn std::error::Error>> {
        let temp = tempfile::tempdir()?;
        let good = [END, NAMED].concat();
        make(temp.path(), &good);
        let tls = read(temp.path())?;
        let end = || tls.pair.current().cert[0].clone();
        let first = end();
        tls.pair.look(Duration::ZERO);
        assert!(end() == first, "nothing has changed");
        make(temp.path(), &good);
        tls.pair.look(Duration::from_secs(3_600));
        assert!(end() == first, "it is not looked at all the time");
        tls.pair.look(Duration::ZERO);
        let second = end();
        assert!(second != first);
        // The key belongs to another certificate.
        let key = fs::read(temp.path().join("key.pem"))?;
        make(temp.path(), &good);
        let (new_certificate, new_key) = (temp.path().join("cert.pem"), fs::read(temp.path().join("key.pem"))?);
        fs::write(temp.path().join("key.pem"), key)?;
        tls.pair.look(Duration::ZERO);
        assert!(end() == second);
        assert!(tls.reload().is_err() && end() == second);
        fs::write(temp.path().join("key.pem"), new_key)?;
        tls.pair.look(Duration::ZERO);
        assert!(end() != second && new_certificate.exists());
        fs::write(&new_certificate, "not PEM")?;
        let error = tls.reload().expect_err("it is broken").to_string();
        assert!(error.contains("cert.pem"), "{error}");
        Ok(())
    }
}
