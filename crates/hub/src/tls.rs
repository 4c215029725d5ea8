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

/// The files are looked at no more often than this, when somebody connects.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A certificate with its chain and key, ready for use. Copies share them.
#[derive(Debug, Clone)]
pub struct Tls {
    pub(crate) config: Arc<ServerConfig>,
    pair: Arc<Pair>,
}

/// What rocbed's own workers and commands, and browsers, refuse in a certificate even if they trust its authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateFault {
    /// It is an authority's (basicConstraints `CA:TRUE`), which `openssl req -x509` makes unless it is told otherwise.
    Authority,
    /// It names no host: there is no subjectAltName, and a name in the subject does not count (RFC 9525, section 2).
    NoName,
    /// It is for other hosts than the one that the hub is called by.
    OtherName(Vec<String>),
    /// Its time is over.
    Expired,
}

impl Tls {
    /// Reads a certificate (with the chain after it) and its key, both PEM files.
    ///
    /// # Errors
    /// If a file cannot be read, or the two do not belong together.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, HubError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        // Before they are read: what changes meanwhile is seen the next time.
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

    /// Reads both files again, whether they have changed or not. Connections that exist go on; new ones get what was read.
    ///
    /// # Errors
    /// As [`Tls::read`]; then what was there before stays in use.
    pub fn reload(&self) -> Result<(), HubError> {
        self.pair.reload()
    }

    /// What is wrong with the certificate for those who trust its authority, where it is used under this name or address.
    pub fn fault(&self, host: Option<&str>) -> Option<CertificateFault> {
        let current = self.pair.current();
        let (end, chain) = current.cert.split_first()?;
        fault(end, chain, host, Arc::clone(&self.pair.provider))
    }
}

/// A certificate and a key, and the files that they come from.
#[derive(Debug)]
struct Pair {
    certificate: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
    seen: Mutex<Seen>,
}

/// The files as they were when they were looked at.
#[derive(Debug)]
struct Seen {
    stamps: [Stamp; 2],
    looked: Instant,
}

/// What tells a file from what is there after a change: device, inode, size, time of change in seconds and nanoseconds.
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

    /// Takes what is in the files if they have changed. What cannot be used is told once, and the old pair stays: a renewal
    /// may have put only one of the two files in place so far.
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

/// Looks at a certificate as a client does that trusts it and all that comes with it.
fn fault(
    end: &CertificateDer<'_>,
    chain: &[CertificateDer<'static>],
    host: Option<&str>,
    provider: Arc<CryptoProvider>,
) -> Option<CertificateFault> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(chain.iter().cloned().chain([end.clone().into_owned()]));
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().ok()?;
    // Any name will do to hear whether it has names.
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
            // rustls has no word of its own for it, and webpki's is part of its text.
            CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
                Some(CertificateFault::Authority)
            }
            // Others depend on whom the client trusts.
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Makes `cert.pem` and `key.pem` as `openssl req -x509` does, with these options more.
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
        // The key is another one's.
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
