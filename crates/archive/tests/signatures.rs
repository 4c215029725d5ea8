//! Whose signatures on Release files are accepted. All keys are made here and now.

use advice::Advise as _;
use archive::release::{Keyring, Problem, Verified, VerifyError, verify_detached, verify_inrelease};
use jiff::Timestamp;
use sequoia_openpgp::{
    Cert,
    cert::{CertBuilder, CertRevocationBuilder, CipherSuite},
    policy::StandardPolicy,
    serialize::{
        SerializeInto,
        stream::{Armorer, Message, Signer},
    },
    types::{HashAlgorithm, ReasonForRevocation},
};
use std::{
    io::Write,
    time::{Duration, SystemTime},
};

const DAY: Duration = Duration::from_secs(24 * 3600);
const TEXT: &[u8] = b"Suite: unstable\nDate: Fri, 30 Oct 2026 08:08:01 UTC\nSHA256:\n";

/// A fixed time, so that the tests do not depend on the clock.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_793_347_681)
}

/// A key made a hundred days before [`now`], valid for `days`.
fn key(name: &str, days: Option<u32>) -> Cert {
    let (cert, _) = CertBuilder::new()
        .add_userid(name)
        .set_cipher_suite(CipherSuite::Cv25519)
        .set_creation_time(now() - 100 * DAY)
        .set_validity_period(days.map(|days| days * DAY))
        .add_signing_subkey()
        .generate()
        .unwrap();
    cert
}

fn keyring(certs: &[&Cert]) -> Keyring {
    let mut keyring = Keyring::new();
    for cert in certs {
        keyring.add("test", &cert.to_vec().unwrap()).unwrap();
    }
    keyring
}

#[derive(Clone, Copy)]
enum Form {
    InRelease,
    Detached,
}

/// Signs [`TEXT`] with the signing subkeys of `certs`, all at `time`.
fn sign_with(certs: &[&Cert], time: SystemTime, hash: HashAlgorithm, form: Form) -> Vec<u8> {
    let policy = StandardPolicy::new();
    let keypair = |cert: &Cert| {
        let key = cert.keys().secret().with_policy(&policy, now() - 99 * DAY).for_signing().next().unwrap();
        key.key().clone().into_keypair().unwrap()
    };
    let mut out = Vec::new();
    let message = Message::new(&mut out);
    let message = match form {
        Form::InRelease => message,
        Form::Detached => Armorer::new(message).kind(sequoia_openpgp::armor::Kind::Signature).build().unwrap(),
    };
    let mut signer = Signer::new(message, keypair(certs[0])).unwrap().hash_algo(hash).unwrap().creation_time(time);
    for cert in &certs[1..] {
        signer = signer.add_signer(keypair(cert)).unwrap();
    }
    let signer = match form {
        Form::InRelease => signer.cleartext(),
        Form::Detached => signer.detached(),
    };
    let mut message = signer.build().unwrap();
    message.write_all(TEXT).unwrap();
    message.finalize().unwrap();
    out
}

fn sign(certs: &[&Cert], time: SystemTime) -> Vec<u8> {
    sign_with(certs, time, HashAlgorithm::SHA256, Form::InRelease)
}

/// The problems of an untrusted message.
fn problems(result: Result<Verified, VerifyError>) -> Vec<Problem> {
    match result {
        Err(VerifyError::NotTrusted { rejected }) => rejected.iter().map(|one| one.problem).collect(),
        other => panic!("expected an untrusted message, got {other:?}"),
    }
}

#[test]
fn a_good_signature() {
    let cert = key("Test Archive <archive@example.org>", None);
    let verified = verify_inrelease(&sign(&[&cert], now() - DAY), &keyring(&[&cert]), now()).unwrap();
    assert_eq!(verified.text.trim_ascii(), TEXT.trim_ascii());
    assert_eq!(verified.signers.len(), 1);
    assert_eq!(verified.signers[0].user_id, "Test Archive <archive@example.org>");
    assert_eq!(verified.signers[0].fingerprint, cert.fingerprint().to_hex());
    assert_eq!(verified.signers[0].signed.unwrap().as_second(), 1_793_347_681 - 24 * 3600);
    assert!(verified.rejected.is_empty());
}

#[test]
fn one_of_two_signers_is_enough() {
    let (known, unknown) = (key("known", None), key("unknown", None));
    let text = sign(&[&known, &unknown], now() - DAY);
    let verified = verify_inrelease(&text, &keyring(&[&known]), now()).unwrap();
    assert_eq!(verified.signers.len(), 1);
    assert_eq!(verified.rejected.len(), 1);
    assert_eq!(verified.rejected[0].problem, Problem::MissingKey);
    assert_eq!(verify_inrelease(&text, &keyring(&[&unknown, &known]), now()).unwrap().signers.len(), 2);
}

#[test]
fn an_unknown_key_is_named_with_what_to_do() {
    let (cert, other) = (key("signer", None), key("other", None));
    let error = verify_inrelease(&sign(&[&cert], now() - DAY), &keyring(&[&other]), now()).unwrap_err();
    let subkey = cert.keys().subkeys().next().unwrap().key().fingerprint().to_hex();
    assert!(error.to_string().contains(&format!("key {subkey} is not in the keyring")), "{error}");
    assert!(error.help().to_string().contains("archive.keyrings"), "{error:?}");
}

#[test]
fn a_changed_text_is_refused() {
    let cert = key("signer", None);
    let signed = String::from_utf8(sign(&[&cert], now() - DAY)).unwrap().replace("unstable", "instable");
    assert_eq!(problems(verify_inrelease(signed.as_bytes(), &keyring(&[&cert]), now())), [Problem::BadSignature]);
}

#[test]
fn an_expired_key_is_refused_for_what_it_signed_afterwards() {
    let cert = key("expired", Some(50));
    let late = verify_inrelease(&sign(&[&cert], now() - DAY), &keyring(&[&cert]), now());
    let error = late.as_ref().unwrap_err();
    assert!(error.to_string().contains("expired"), "{error}");
    assert!(error.help().to_string().contains("archive.keyrings"), "{error:?}");
    assert_eq!(problems(late), [Problem::BadKey]);
    // What it signed while it was valid stays good, as with sqv; Valid-Until looks after old files.
    assert!(verify_inrelease(&sign(&[&cert], now() - 60 * DAY), &keyring(&[&cert]), now()).is_ok());
}

#[test]
fn a_revoked_key_is_refused() {
    let cert = key("revoked", None);
    let policy = StandardPolicy::new();
    let mut primary = cert.primary_key().key().clone().parts_into_secret().unwrap().into_keypair().unwrap();
    for (reason, refused) in [(ReasonForRevocation::KeyCompromised, true), (ReasonForRevocation::KeyRetired, false)] {
        let revocation = CertRevocationBuilder::new()
            .set_signature_creation_time(now() - Duration::from_secs(3600))
            .unwrap()
            .set_reason_for_revocation(reason, b"test")
            .unwrap()
            .build(&mut primary, &cert, None)
            .unwrap();
        let (revoked, _) = cert.clone().insert_packets(revocation).unwrap();
        assert!(revoked.with_policy(&policy, now()).is_ok());
        let result = verify_inrelease(&sign(&[&cert], now() - DAY), &keyring(&[&revoked]), now());
        // A compromised key never counts; of a retired one, older signatures do.
        if refused {
            assert_eq!(problems(result), [Problem::BadKey]);
        } else {
            assert!(result.is_ok());
        }
    }
}

#[test]
fn hashes_that_apt_does_not_accept_any_more_are_refused() {
    let cert = key("signer", None);
    for (hash, name) in [(HashAlgorithm::SHA1, "SHA1"), (HashAlgorithm::SHA224, "SHA224")] {
        let signed = sign_with(&[&cert], now() - DAY, hash, Form::InRelease);
        let error = verify_inrelease(&signed, &keyring(&[&cert]), now()).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_signature_from_the_future_points_to_the_clock() {
    let cert = key("signer", None);
    let error = verify_inrelease(&sign(&[&cert], now() + 2 * DAY), &keyring(&[&cert]), now()).unwrap_err();
    assert!(error.help().to_string().contains("clock"), "{error}");
}

#[test]
fn text_around_the_message_is_refused() {
    let cert = key("signer", None);
    let signed = sign(&[&cert], now() - DAY);
    let wrapped = |before: &[u8], after: &[u8]| [before, &signed, after].concat();
    for bytes in [
        wrapped(b"Suite: evil\n\n", b""),
        wrapped(b"\n", b""),
        wrapped(b"", b"\nSuite: evil\n"),
        wrapped(&signed, b""),
        signed[..signed.len() / 2].to_vec(),
        TEXT.to_vec(),
        Vec::new(),
        String::from_utf8(signed.clone())
            .unwrap()
            .replace("Hash: SHA256\n", "Hash: SHA256\nSuite: evil\n")
            .into_bytes(),
    ] {
        let result = verify_inrelease(&bytes, &keyring(&[&cert]), now());
        assert!(
            matches!(result, Err(VerifyError::Framing { .. })),
            "{result:?} for {}",
            String::from_utf8_lossy(&bytes)
        );
    }
    // White space at the end is harmless, and Windows line ends change nothing.
    assert!(verify_inrelease(&wrapped(b"", b"\n \n"), &keyring(&[&cert]), now()).is_ok());
}

#[test]
fn signature_apart() {
    let (cert, other) = (key("signer", None), key("other", None));
    let signature = sign_with(&[&cert], now() - DAY, HashAlgorithm::SHA512, Form::Detached);
    let verified = verify_detached(TEXT, &signature, &keyring(&[&cert]), now()).unwrap();
    assert_eq!(verified.text, TEXT);
    assert_eq!(
        problems(verify_detached(b"other text", &signature, &keyring(&[&cert]), now())),
        [Problem::BadSignature]
    );
    assert_eq!(problems(verify_detached(TEXT, &signature, &keyring(&[&other]), now())), [Problem::MissingKey]);
    assert!(verify_detached(TEXT, b"", &keyring(&[&cert]), now()).is_err());
    assert!(verify_detached(TEXT, b"no signature", &keyring(&[&cert]), now()).is_err());
}

#[test]
fn keyrings_binary_armored_and_several_in_one_file() {
    let (one, two) = (key("one", None), key("two", None));
    let armored = [one.armored().to_vec().unwrap(), two.armored().to_vec().unwrap()].concat();
    let binary = [one.to_vec().unwrap(), two.to_vec().unwrap()].concat();
    let expected = [one.fingerprint().to_hex(), two.fingerprint().to_hex()];
    for bytes in [armored, binary] {
        let mut keyring = Keyring::new();
        keyring.add("test", &bytes).unwrap();
        assert_eq!(keyring.fingerprints(), expected);
        assert!(verify_inrelease(&sign(&[&two], now() - DAY), &keyring, now()).is_ok());
    }
    for bytes in [b"".as_slice(), b"not a keyring"] {
        assert!(Keyring::new().add("broken.asc", bytes).unwrap_err().to_string().contains("broken.asc"));
    }
}

#[test]
fn private_keys_are_refused_in_either_form() {
    let cert = key("owner", None);
    let (public, secret) = (cert.armored().to_vec().unwrap(), cert.as_tsk().armored().to_vec().unwrap());
    for bytes in [cert.as_tsk().to_vec().unwrap(), secret.clone(), [public.clone(), secret].concat()] {
        let error = Keyring::new().add("own.asc", &bytes).unwrap_err();
        assert!(error.to_string().contains("own.asc holds a private key"), "{error}");
        assert!(error.help().to_string().contains("gpg --armor --export"), "{error:?}");
    }
    // What is written has the certificates only, whatever else the file has.
    let mut keyring = Keyring::new();
    keyring.add("own.asc", &[b"\xef\xbb\xbf", public.as_slice(), b"behind it"].concat()).unwrap();
    assert_eq!(keyring.to_bytes().unwrap(), cert.to_vec().unwrap());
    let keybox = b"\0\0\0\x20\x01\x01\0\x02KBXf\0\0";
    assert!(Keyring::new().add("pubring.kbx", keybox).unwrap_err().help().to_string().contains("gpg"));
}

#[test]
fn debians_own_keyring_is_compiled_in() {
    let fingerprints = Keyring::debian_archive().unwrap().fingerprints();
    // Debian Archive Automatic Signing Key (13/trixie).
    assert!(fingerprints.iter().any(|one| one == "04B54C3CDCA79751B16BC6B5225629DF75B188BD"), "{fingerprints:?}");
}

#[test]
fn a_signature_that_is_dated_back_before_its_key_expired_is_refused() {
    use archive::release::{Release, ReleaseError};
    let expired = key("expired", Some(50));
    let good = key("good", None);
    // `TEXT` says that it was made now; the signature, that it is older than the key's expiry 50 days ago.
    let back_dated = |certs: &[&Cert]| {
        let verified = verify_inrelease(&sign(certs, now() - 60 * DAY), &keyring(certs), now()).unwrap();
        Release::parse(&verified.text).unwrap().check_signers(&verified.signers)
    };
    let error = back_dated(&[&expired]).unwrap_err();
    assert!(matches!(&error, ReleaseError::KeyExpired { key, .. } if key == "expired"), "{error}");
    assert!(error.help().to_string().contains("archive.keyrings"), "{error:?}");
    assert_eq!(back_dated(&[&expired, &good]), Ok(()), "one good signature is enough");
    assert_eq!(back_dated(&[&good]), Ok(()));
    // A key that expires later.
    assert_eq!(back_dated(&[&key("expiring", Some(101))]), Ok(()));
}

#[test]
fn a_renewed_key_expires_when_its_owner_said_last() {
    use archive::release::Release;
    let cert = key("renewed", Some(50));
    let policy = StandardPolicy::new();
    let mut signer = cert.primary_key().key().clone().parts_into_secret().unwrap().into_keypair().unwrap();
    let mut packets = Vec::new();
    let valid = cert.with_policy(&policy, now() - 60 * DAY).unwrap();
    let later = Some(now() + 1000 * DAY);
    for key in valid.keys().for_signing().subkeys() {
        let mut secret = key.key().clone().parts_into_secret().unwrap().into_keypair().unwrap();
        packets.extend(key.set_expiration_time(&mut signer, Some(&mut secret), later).unwrap());
    }
    packets.extend(valid.primary_key().set_expiration_time(&mut signer, later).unwrap());
    let (renewed, _) = cert.clone().insert_packets(packets).unwrap();
    // It was renewed just now, by this machine's clock, and signed 60 days before the fixed moment.
    let now_or_later = SystemTime::now().max(now()) + Duration::from_secs(1);
    let verified = verify_inrelease(&sign(&[&cert], now() - 60 * DAY), &keyring(&[&renewed]), now_or_later).unwrap();
    assert_eq!(Release::parse(&verified.text).unwrap().check_signers(&verified.signers), Ok(()));
    assert_eq!(verified.signers[0].expires.map(Timestamp::as_second), Some(1_793_347_681 + 1000 * 24 * 3600));
}
