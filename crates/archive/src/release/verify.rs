//! Verifies the OpenPGP signatures of a Release file (`InRelease`, or `Release` with `Release.gpg`) against a keyring.

use super::Keyring;
use advice::{Advise, Help};
use jiff::Timestamp;
use sequoia_openpgp::{
    Cert, Fingerprint, KeyHandle,
    cert::amalgamation::key::PrimaryKey,
    crypto::mpi::PublicKey,
    packet::Signature,
    parse::{
        Parse,
        stream::{
            DetachedVerifierBuilder, GoodChecksum, MessageLayer, MessageStructure, VerificationError,
            VerificationHelper, VerifierBuilder,
        },
    },
    policy::{AsymmetricAlgorithm, StandardPolicy},
    types::HashAlgorithm,
};
use std::{
    fmt,
    io::Read,
    time::{Duration, SystemTime},
};

/// Text signed by an accepted key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The signed text only.
    pub text: Vec<u8>,
    /// Accepted signatures, at least one.
    pub signers: Vec<Signer>,
    /// Further signatures that were not accepted, as happens when a new key is not in the keyring yet.
    pub rejected: Vec<Rejected>,
}

/// An accepted signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// Fingerprint of the certificate, hexadecimal.
    pub fingerprint: String,
    /// First user id of the certificate.
    pub user_id: String,
    /// Time of the signature, as it claims. The key's owner can write any date.
    pub signed: Option<Timestamp>,
    /// Time at which the key expires or has expired: see [`Release::check_signers`](super::Release::check_signers).
    pub expires: Option<Timestamp>,
}

/// A signature that was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Fingerprint or key id that the signature names; user id if the certificate is known.
    pub key: String,
    /// Why it was not accepted.
    pub problem: Problem,
    /// Error of the OpenPGP library.
    pub detail: String,
}

/// Reason why a signature is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// No certificate in the keyring has this key.
    MissingKey,
    /// This build of the OpenPGP library cannot compute with the key's algorithm or curve.
    UnsupportedKey,
    /// The key is expired or revoked, may not sign, or its own signatures use a hash that is no longer accepted.
    BadKey,
    /// The text is not what was signed, or the signature uses a hash that is no longer accepted or is itself expired.
    BadSignature,
    /// The signature cannot be parsed.
    Malformed,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, problem, detail } = self;
        match problem {
            Problem::MissingKey => write!(f, "key {key} is not in the keyring"),
            Problem::BadKey | Problem::UnsupportedKey => write!(f, "key {key} is not acceptable: {detail}"),
            Problem::BadSignature => write!(f, "signature of key {key} is not acceptable: {detail}"),
            Problem::Malformed => write!(f, "a signature cannot be read: {detail}"),
        }
    }
}

/// What to look at where something is too old or too new.
const CLOCK: &str = "or this machine's clock is wrong: check it";

/// Signed text that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The file is not exactly one cleartext-signed message.
    #[error("InRelease is not a signed message: {why}")]
    Framing {
        /// Description of the problem.
        why: &'static str,
    },
    /// The signatures cannot be read.
    #[error("the signature cannot be read: {reason}")]
    Unreadable {
        /// Error of the OpenPGP library.
        reason: String,
    },
    /// No signature is accepted.
    #[error("no acceptable signature: {}", list(rejected))]
    NotTrusted {
        /// All signatures; empty if there are none.
        rejected: Vec<Rejected>,
    },
}

fn list(rejected: &[Rejected]) -> String {
    if rejected.is_empty() {
        return "there is none at all".to_owned();
    }
    rejected.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Advise for VerifyError {
    fn help(&self) -> Help {
        match self {
            Self::Framing { .. } => {
                "a proxy or captive portal may have answered instead of the mirror: try another mirror".into()
            }
            Self::Unreadable { .. } => Help::none(),
            Self::NotTrusted { rejected } => of_rejected(rejected),
        }
    }
}

fn of_rejected(rejected: &[Rejected]) -> Help {
    let has = |problem| rejected.iter().any(|one| one.problem == problem);
    if has(Problem::BadSignature) {
        ["the file was changed after it was signed: try another mirror", CLOCK].into()
    } else if has(Problem::UnsupportedKey) {
        "ask the archive's owner to sign with Ed25519, RSA or a NIST curve too".into()
    } else if has(Problem::BadKey) {
        ["a newer keyring may have the key renewed: name it in the recipe's archive.keyrings", CLOCK].into()
    } else if has(Problem::MissingKey) {
        "if you trust the key, name a keyring that holds it in the recipe's archive.keyrings".into()
    } else {
        "try another mirror".into()
    }
}

/// When apt in sid stops accepting what Sequoia accepts longer (its `default-sequoia.config`), in seconds since 1970: an
/// image whose own apt refuses its archive is of no use. What apt accepts longer than Sequoia has run out by now.
const APT_CUTOFFS: [(AsymmetricAlgorithm, u64); 7] = [
    (AsymmetricAlgorithm::DSA2048, FEBRUARY_2024),
    (AsymmetricAlgorithm::DSA3072, FEBRUARY_2024),
    (AsymmetricAlgorithm::DSA4096, FEBRUARY_2024),
    (AsymmetricAlgorithm::BrainpoolP256, FEBRUARY_2028),
    (AsymmetricAlgorithm::BrainpoolP384, FEBRUARY_2028),
    (AsymmetricAlgorithm::BrainpoolP512, FEBRUARY_2028),
    (AsymmetricAlgorithm::RSA2048, FEBRUARY_2030),
];
const FEBRUARY_2024: u64 = 1_706_745_600;
/// The same for SHA-224.
const FEBRUARY_2026: u64 = 1_769_904_000;
const FEBRUARY_2028: u64 = 1_832_976_000;
const FEBRUARY_2030: u64 = 1_896_134_400;

/// What is accepted as of `now`: Sequoia's standard policy with apt's dates.
fn policy_at(now: SystemTime) -> StandardPolicy<'static> {
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let mut policy = StandardPolicy::at(now);
    for (algorithm, seconds) in APT_CUTOFFS {
        policy.reject_asymmetric_algo_at(algorithm, at(seconds));
    }
    policy.reject_hash_at(HashAlgorithm::SHA224, at(FEBRUARY_2026));
    policy
}

/// Checks an `InRelease` file as apt does with sqv: it needs at least one good signature of a key in `keyring`, good
/// by Sequoia's standard policy with apt's dates as of `now`, and by the key's validity at the time of signing. Text before, between or
/// after the signed message is an error.
pub fn verify_inrelease(bytes: &[u8], keyring: &Keyring, now: SystemTime) -> Result<Verified, VerifyError> {
    check_framing(bytes)?;
    let policy = policy_at(now);
    let unreadable = |reason: String| VerifyError::Unreadable { reason };
    let mut verifier = VerifierBuilder::from_bytes(bytes)
        .and_then(|builder| builder.with_policy(&policy, now, Collector::new(keyring, now)))
        .map_err(|error| unreadable(error.to_string()))?;
    let mut text = Vec::new();
    verifier.read_to_end(&mut text).map_err(|error| unreadable(error.to_string()))?;
    // Without this, signatures at the end of a very long message might be overlooked.
    if !verifier.message_processed() {
        return Err(unreadable("the message does not end".to_owned()));
    }
    verifier.into_helper().finish(text)
}

/// As [`verify_inrelease`] for a `Release` file with a detached signature (`Release.gpg`, binary or ASCII-armored).
pub fn verify_detached(
    text: &[u8],
    signature: &[u8],
    keyring: &Keyring,
    now: SystemTime,
) -> Result<Verified, VerifyError> {
    let policy = policy_at(now);
    let unreadable = |reason: String| VerifyError::Unreadable { reason };
    let mut verifier = DetachedVerifierBuilder::from_bytes(signature)
        .and_then(|builder| builder.with_policy(&policy, now, Collector::new(keyring, now)))
        .map_err(|error| unreadable(error.to_string()))?;
    verifier.verify_bytes(text).map_err(|error| unreadable(error.to_string()))?;
    verifier.into_helper().finish(text.to_vec())
}

/// Checks that there is no text around the signed message, which the OpenPGP library skips. apt refuses such files
/// too: other readers of the file must not see other text than this one.
fn check_framing(bytes: &[u8]) -> Result<(), VerifyError> {
    #[derive(PartialEq)]
    enum In {
        Start,
        Headers,
        Text,
        Signature,
        End,
    }
    let error = |why| Err(VerifyError::Framing { why });
    let mut place = In::Start;
    for line in bytes.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii_end();
        place = match place {
            In::Start if line == b"-----BEGIN PGP SIGNED MESSAGE-----" => In::Headers,
            In::Start => return error("it does not begin with \"-----BEGIN PGP SIGNED MESSAGE-----\""),
            In::Headers if line.is_empty() => In::Text,
            In::Headers if line.starts_with(b"Hash:") => In::Headers,
            In::Headers => return error("a header other than \"Hash\" stands before the text"),
            In::Text if line == b"-----BEGIN PGP SIGNATURE-----" => In::Signature,
            // Inside of the message such lines are escaped with "- ".
            In::Text if line.starts_with(b"-") && !line.starts_with(b"- ") => {
                return error("the text has an unescaped line that begins with \"-\"");
            }
            In::Text => In::Text,
            In::Signature if line == b"-----END PGP SIGNATURE-----" => In::End,
            In::Signature if line.starts_with(b"-----") => return error("the signature is cut off"),
            In::Signature => In::Signature,
            In::End if line.is_empty() => In::End,
            In::End => return error("there is text behind the signature"),
        };
    }
    if place == In::End { Ok(()) } else { error("its end is missing") }
}

/// Collects the library's results for each signature. They are judged in [`finish`](Collector::finish), since an error
/// from inside the library's callback would lose its type.
struct Collector {
    now: SystemTime,
    certs: Vec<Cert>,
    signers: Vec<Signer>,
    rejected: Vec<Rejected>,
}

impl Collector {
    fn new(keyring: &Keyring, now: SystemTime) -> Self {
        Self { now, certs: keyring.certs.clone(), signers: Vec::new(), rejected: Vec::new() }
    }

    fn finish(self, text: Vec<u8>) -> Result<Verified, VerifyError> {
        if self.signers.is_empty() {
            return Err(VerifyError::NotTrusted { rejected: self.rejected });
        }
        Ok(Verified { text, signers: self.signers, rejected: self.rejected })
    }
}

impl VerificationHelper for Collector {
    fn get_certs(&mut self, _ids: &[KeyHandle]) -> sequoia_openpgp::Result<Vec<Cert>> {
        Ok(self.certs.clone())
    }

    fn check(&mut self, structure: MessageStructure<'_>) -> sequoia_openpgp::Result<()> {
        for layer in structure {
            // Other layers mean compressed or encrypted data, in which signatures are not accepted.
            let MessageLayer::SignatureGroup { results } = layer else {
                return Err(std::io::Error::other("compressed or encrypted instead of signed").into());
            };
            for result in results {
                match result {
                    Ok(GoodChecksum { sig, ka }) => self.signers.push(Signer {
                        fingerprint: ka.cert().fingerprint().to_hex(),
                        user_id: user_id(ka.cert()),
                        signed: sig.signature_creation_time().and_then(|time| Timestamp::try_from(time).ok()),
                        expires: expiry(ka.cert(), &ka.key().fingerprint(), self.now),
                    }),
                    Err(error) => self.rejected.push(reject(&error)),
                }
            }
        }
        Ok(())
    }
}

/// Expiry time of a certificate's key, or of its primary key if earlier, by its owner's latest statement.
fn expiry(cert: &Cert, key: &Fingerprint, now: SystemTime) -> Option<Timestamp> {
    let policy = policy_at(now);
    let keys = cert.keys().with_policy(&policy, now);
    let expiries = keys.filter(|found| found.primary() || found.key().fingerprint() == *key);
    let times = expiries.filter_map(|found| Timestamp::try_from(found.key_expiration_time()?).ok());
    times.min()
}

fn reject(error: &VerificationError<'_>) -> Rejected {
    let known = |cert: &Cert| format!("{} ({})", cert.fingerprint().to_hex(), user_id(cert));
    if let Some((cert, algorithm)) = unsupported(error) {
        let detail = format!("rocbed does not support keys of {algorithm}");
        return Rejected { key: known(cert), problem: Problem::UnsupportedKey, detail };
    }
    let (key, problem, cause) = match error {
        VerificationError::MissingKey { sig } => (issuer(sig), Problem::MissingKey, None),
        VerificationError::UnboundKey { cert, error, .. } => (known(cert), Problem::BadKey, Some(error)),
        VerificationError::BadKey { ka, error, .. } => (known(ka.cert()), Problem::BadKey, Some(error)),
        VerificationError::BadSignature { ka, error, .. } => (known(ka.cert()), Problem::BadSignature, Some(error)),
        VerificationError::MalformedSignature { sig, error } => (issuer(sig), Problem::Malformed, Some(error)),
        // An unknown type of signature, or an error that a later version of the library adds: not a good signature.
        _ => ("unknown".to_owned(), Problem::Malformed, None),
    };
    let detail = cause.map_or_else(
        || error.to_string(),
        |cause| cause.chain().map(ToString::to_string).collect::<Vec<_>>().join(": "),
    );
    Rejected { key, problem, detail }
}

/// The certificate of a signature's key, and the algorithm or curve of it that is not supported. The library only says
/// that it found no valid binding signature.
fn unsupported<'a>(error: &VerificationError<'a>) -> Option<(&'a Cert, String)> {
    let (sig, cert) = match error {
        VerificationError::UnboundKey { sig, cert, .. } => (sig, *cert),
        VerificationError::BadKey { sig, ka, .. } | VerificationError::BadSignature { sig, ka, .. } => (sig, ka.cert()),
        _ => return None,
    };
    // Other keys of the certificate, such as those to encrypt with, do not matter here.
    let issuers = sig.get_issuers();
    let signed = |key: KeyHandle| issuers.iter().any(|issuer| issuer.aliases(&key));
    let mut keys = cert.keys().filter(|found| found.primary() || signed(found.key().key_handle()));
    let algorithm = keys.find_map(|found| match found.key().mpis() {
        PublicKey::ECDSA { curve, .. } | PublicKey::EdDSA { curve, .. } if !curve.is_supported() => {
            Some(format!("the curve {curve}"))
        }
        _ => Some(found.key().pk_algo()).filter(|algorithm| !algorithm.is_supported()).map(|known| known.to_string()),
    })?;
    Some((cert, algorithm))
}

fn issuer(sig: &Signature) -> String {
    sig.get_issuers().first().map_or_else(|| "unknown".to_owned(), KeyHandle::to_hex)
}

fn user_id(cert: &Cert) -> String {
    cert.userids()
        .next()
        .map_or_else(|| "no user id".to_owned(), |id| String::from_utf8_lossy(id.userid().value()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sequoia_openpgp::policy::HashAlgoSecurity;

    #[test]
    fn what_apt_gave_up_is_given_up_and_nothing_is_taken_longer() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_793_347_681);
        let (ours, standard) = (policy_at(now), StandardPolicy::at(now));
        let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        for algorithm in AsymmetricAlgorithm::variants() {
            let (ours, standard) = (ours.asymmetric_algo_cutoff(algorithm), standard.asymmetric_algo_cutoff(algorithm));
            assert!(standard.is_none() || (ours.is_some() && ours <= standard), "{algorithm:?}");
        }
        assert_eq!(ours.asymmetric_algo_cutoff(AsymmetricAlgorithm::DSA2048), at(FEBRUARY_2024));
        assert_eq!(ours.asymmetric_algo_cutoff(AsymmetricAlgorithm::Ed25519), None);
        for security in [HashAlgoSecurity::CollisionResistance, HashAlgoSecurity::SecondPreImageResistance] {
            assert_eq!(ours.hash_cutoff(HashAlgorithm::SHA224, security), at(FEBRUARY_2026));
            assert_eq!(ours.hash_cutoff(HashAlgorithm::SHA256, security), None);
            assert_eq!(
                ours.hash_cutoff(HashAlgorithm::SHA1, security),
                standard.hash_cutoff(HashAlgorithm::SHA1, security)
            );
        }
    }
}
