//! [`Keyring`]: the OpenPGP certificates that may sign Release files; one with Debian's is built in.

use sequoia_openpgp::{Cert, cert::CertParser, parse::Parse};

/// The embedded keyring; `keyrings/README.md` documents its origin.
const DEBIAN_ARCHIVE: &[u8] = include_bytes!("../../keyrings/debian-archive-keyring.pgp");

const ARMOR: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";

/// OpenPGP certificates whose signatures on Release files are accepted.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    pub(super) certs: Vec<Cert>,
}

/// A keyring that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// It contains data that is not a certificate.
    #[error("keyring {name}: {reason}: expected OpenPGP certificates, binary or ASCII-armored")]
    Malformed {
        /// Name of the keyring given by the caller.
        name: String,
        /// Error of the OpenPGP library.
        reason: String,
    },
    /// It contains no certificate.
    #[error("keyring {name} holds no certificate")]
    Empty {
        /// Name of the keyring given by the caller.
        name: String,
    },
}

impl Keyring {
    /// An empty keyring, which trusts no key.
    pub fn new() -> Self {
        Self::default()
    }

    /// The embedded keys that sign Debian's archive.
    pub fn debian_archive() -> Result<Self, KeyringError> {
        let mut keyring = Self::new();
        keyring.add("of the Debian archive", DEBIAN_ARCHIVE)?;
        Ok(keyring)
    }

    /// Adds the certificates in `bytes`, a binary keyring (`.pgp`, `.gpg`) or one or more ASCII-armored blocks
    /// (`.asc`). `name` is for messages. If one certificate is damaged, none is added.
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), KeyringError> {
        let malformed = |reason: String| KeyringError::Malformed { name: name.to_owned(), reason };
        let starts: Vec<_> = memchr::memmem::find_iter(bytes, ARMOR).collect();
        let mut parts = Vec::new();
        for (index, start) in starts.iter().enumerate() {
            let end = starts.get(index + 1).copied().unwrap_or(bytes.len());
            parts.extend(bytes.get(*start..end));
        }
        if parts.is_empty() {
            parts.push(bytes);
        }
        let mut certs = Vec::new();
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            let parser = CertParser::from_bytes(part).map_err(|error| malformed(error.to_string()))?;
            for cert in parser {
                certs.push(cert.map_err(|error| malformed(error.to_string()))?.strip_secret_key_material());
            }
        }
        if certs.is_empty() {
            return Err(KeyringError::Empty { name: name.to_owned() });
        }
        self.certs.extend(certs);
        Ok(())
    }

    /// Fingerprints of the certificates, in the order in which they were added.
    pub fn fingerprints(&self) -> Vec<String> {
        self.certs.iter().map(|cert| cert.fingerprint().to_hex()).collect()
    }
}
