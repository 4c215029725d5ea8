//! The Release file of a suite: fetched, its signature checked against a trusted keyring, and not out of date.

use std::fs;
use std::time::SystemTime;

use advice::AtPath as _;
use anyhow::{Context, Result, bail};
use archive::release::{self, Keyring, Release, ValidUntil, verify_detached, verify_inrelease};
use progress::Progress;
use safetext::without_password;
use sha256::Digest;
use store::{FetchError, Fetcher};

use super::quote;
use crate::mirror::Mirror;
use crate::recipe;

/// Size limit of `InRelease` in bytes; sid's has under 200 KiB.
const MAX_RELEASE: u64 = 16 << 20;
/// Size limit of `Release.gpg` in bytes; it holds a few signatures.
const MAX_SIGNATURE: u64 = 1 << 20;

/// A Release file that a trusted key has signed.
pub struct Verified {
    /// URL of the directory that it is in.
    pub base: String,
    /// Parsed content.
    pub release: Release,
    /// Digest of the signed text.
    pub digest: Digest,
}

/// A Release file as it was fetched.
enum Signed {
    /// `InRelease`: text and signatures in one file.
    Inline(Vec<u8>),
    /// `Release` with `Release.gpg`.
    Apart(Vec<u8>, Vec<u8>),
}

impl Verified {
    /// Fetches the Release file and checks it.
    pub fn fetch(
        wish: &recipe::Archive,
        keyring: &Keyring,
        mirror: &Mirror,
        fetcher: &Fetcher,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let base = base(&mirror.url, &wish.suite);
        let (name, signed) =
            fetch(&base, fetcher).with_context(|| format!("fetching the Release file of {}", wish.suite))?;
        let url = format!("{}/{name}", without_password(&base));
        let now = SystemTime::now();
        let verified = match &signed {
            Signed::Inline(bytes) => verify_inrelease(bytes, keyring, now),
            Signed::Apart(text, signature) => verify_detached(text, signature, keyring, now),
        };
        let verified = verified.with_context(|| format!("verifying {url}"))?;
        for rejected in &verified.rejected {
            // Usual while keys rotate; one good signature is enough.
            progress.warn(&format!("{url}: signature by {} not counted: {}", rejected.key, rejected.detail));
        }
        let release = Release::parse(&verified.text).with_context(|| format!("reading {url}"))?;
        if let Some(first) = release.unusable.first() {
            let count = release.unusable.len();
            progress
                .warn(&format!("{url}: {count} lines of SHA256 cannot be used and are skipped, the first {first:?}"));
        }
        release.check_signers(&verified.signers).with_context(|| format!("verifying {url}"))?;
        check_suite(&release, &wish.suite, &url)?;
        let policy = if wish.check_valid_until { ValidUntil::Check } else { ValidUntil::Ignore };
        release.check_valid_until(now, policy).with_context(|| format!("checking {url}"))?;
        Ok(Self { base, digest: Digest::of(&verified.text), release })
    }
}

/// URL of the directory of a suite's Release file: below `dists`, or, in a flat archive, where the suite says.
fn base(mirror: &str, suite: &str) -> String {
    match suite.strip_suffix('/') {
        None => format!("{mirror}/dists/{}", quote(suite)),
        Some("" | ".") => mirror.to_owned(),
        Some(directory) => format!("{mirror}/{}", quote(directory.strip_prefix("./").unwrap_or(directory))),
    }
}

/// Fetches `InRelease`, or, where the archive has none, `Release` and `Release.gpg`. An existing `InRelease` is used
/// even if it turns out to be bad: there is no fallback then.
fn fetch(base: &str, fetcher: &Fetcher) -> Result<(&'static str, Signed), FetchError> {
    let get = |name: &str, limit| fetcher.fetch_bytes(&format!("{base}/{name}"), limit);
    let missing = match get("InRelease", MAX_RELEASE) {
        Ok(bytes) => return Ok(("InRelease", Signed::Inline(bytes))),
        Err(error) if error.is_not_found() => error,
        Err(error) => return Err(error),
    };
    let text = match get("Release", MAX_RELEASE) {
        // Neither is there: report `InRelease` as missing, which is what the archive should have.
        Err(error) if error.is_not_found() => return Err(missing),
        other => other?,
    };
    Ok(("Release", Signed::Apart(text, get("Release.gpg", MAX_SIGNATURE)?)))
}

/// Checks that the Release file is for this suite. A mirror must not pass one suite off as another, whose Release file
/// is signed by the same keys. Flat archives have no suites.
fn check_suite(release: &Release, suite: &str, url: &str) -> Result<()> {
    let names: Vec<&str> = [&release.suite, &release.codename].into_iter().flatten().map(String::as_str).collect();
    // Small archives' Release files often name no suite; Debian's all do.
    if suite.ends_with('/') || names.is_empty() || names.contains(&suite) {
        return Ok(());
    }
    bail!("{url} is of another distribution: it says {}, and the recipe asks for {suite}", names.join(" and "))
}

/// The keys that may have signed an archive. Whatever is wrong with them is not its mirror's fault.
pub fn keyring(wish: &recipe::Archive) -> Result<Keyring> {
    if wish.keyrings.is_empty() {
        return release::Keyring::debian_archive().context("reading the Debian archive keyring inside the program");
    }
    let mut keyring = Keyring::new();
    for path in &wish.keyrings {
        let bytes = fs::read(path).at_path("reading the keyring", path)?;
        keyring.add(&path.display().to_string(), &bytes)?;
    }
    Ok(keyring)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_below_dists_and_flat_archives_where_they_say() {
        for (suite, expected) in [
            ("sid", "http://m/debian/dists/sid"),
            ("trixie/updates", "http://m/debian/dists/trixie/updates"),
            ("./", "http://m/debian"),
            ("/", "http://m/debian"),
            ("amd64/", "http://m/debian/amd64"),
            ("./a+b/", "http://m/debian/a%2bb"),
        ] {
            assert_eq!(base("http://m/debian", suite), expected, "{suite}");
        }
    }

    #[test]
    fn a_release_file_of_another_suite_is_refused() {
        let release =
            |names: &str| Release::parse(format!("{names}Date: Fri, 30 Oct 2026 08:08:01 UTC\nSHA256:\n").as_bytes());
        let check = |names: &str, suite: &str| check_suite(&release(names).unwrap(), suite, "u").is_ok();
        assert!(
            check("Suite: unstable\nCodename: sid\n", "sid") && check("Suite: unstable\nCodename: sid\n", "unstable")
        );
        assert!(!check("Suite: unstable\nCodename: sid\n", "trixie"));
        assert!(check("", "sid") && check("", "./") && check("Suite: other\n", "x/"));
    }
}
