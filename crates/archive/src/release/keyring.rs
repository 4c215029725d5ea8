//! [`Keyring`]: the OpenPGP certificates that may sign Release files; one with Debian's is built in.

use advice::{Advise, Help};
use sequoia_openpgp::{Cert, cert::CertParser, parse::Parse, serialize::SerializeInto};

/// The embedded keyring; `keyrings/README.md` documents its origin.
const DEBIAN_ARCHIVE: &[u8] = include_bytes!("../../keyrings/debian-archive-keyring.pgp");

const ARMOR: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const SECRET_ARMOR: &str = "-----BEGIN PGP PRIVATE KEY BLOCK-----";
/// What a keybox of GnuPG has at its ninth byte.
const KEYBOX: &[u8] = b"KBXf";

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
    /// It contains a private key, which must not get to where keyrings go: into images, and before other people's eyes.
    #[error("keyring {name} holds a private key: a keyring has public keys only")]
    Secret {
        /// Name of the keyring given by the caller.
        name: String,
    },
    /// It is a keybox, a format of GnuPG alone.
    #[error("keyring {name} is a keybox of GnuPG, which apt does not read either")]
    Keybox {
        /// Name of the keyring given by the caller.
        name: String,
    },
    /// A certificate cannot be written.
    #[error("the keyring cannot be written: {reason}")]
    Unwritable {
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

impl Advise for KeyringError {
    fn help(&self) -> Help {
        match self {
            Self::Malformed { .. } | Self::Empty { .. } => {
                "name the file that the archive's owner gives out, or write one with `gpg --armor --export KEY`".into()
            }
            Self::Secret { .. } => [
                "write the public key alone with `gpg --armor --export KEY`, and name that file",
                "delete this one if it is where others can read it",
            ]
            .into(),
            Self::Keybox { .. } => {
                "write its keys with `gpg --no-default-keyring --keyring FILE --armor --export`, and name that file"
                    .into()
            }
            Self::Unwritable { .. } => Help::none(),
        }
    }
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
    /// (`.asc`). `name` is for messages. If one certificate is damaged, none is added. Private keys are refused.
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), KeyringError> {
        let secret = || KeyringError::Secret { name: name.to_owned() };
        if memchr::memmem::find(bytes, SECRET_ARMOR.as_bytes()).is_some() {
            return Err(secret());
        }
        if bytes.get(8..8 + KEYBOX.len()) == Some(KEYBOX) {
            return Err(KeyringError::Keybox { name: name.to_owned() });
        }
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
                let cert = cert.map_err(|error| malformed(error.to_string()))?;
                if cert.is_tsk() {
                    return Err(secret());
                }
                certs.push(cert);
            }
        }
        if certs.is_empty() {
            return Err(KeyringError::Empty { name: name.to_owned() });
        }
        self.certs.extend(certs);
        Ok(())
    }

    /// The certificates as a binary keyring: what was understood of the files, and nothing else that was in them.
    pub fn to_bytes(&self) -> Result<Vec<u8>, KeyringError> {
        let certs = self.certs.iter().map(SerializeInto::to_vec);
        let certs = certs.collect::<Result<Vec<_>, _>>();
        certs.map(|certs| certs.concat()).map_err(|error| KeyringError::Unwritable { reason: error.to_string() })
    }

    /// Fingerprints of the certificates, in the order in which they were added.
    pub fn fingerprints(&self) -> Vec<String> {
        self.certs.iter().map(|cert| cert.fingerprint().to_hex()).collect()
    }
}
