//! Version and date of packages, from the checkout.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::run::{output, workspace};

/// Version and date of what is packaged.
pub(super) struct Version {
    /// Debian's version with its revision: `0.1.0-1`, or `0.1.0~git20261129.150301.6312b35-1` between releases.
    pub(super) debian: String,
    /// When the last commit was made, in seconds since 1970: everything that is made has this time.
    pub(super) epoch: String,
}

impl Version {
    /// The version of `debian/changelog` if the last commit has the tag of that version; else one that sorts before it,
    /// and after those of earlier commits.
    pub(super) fn of_checkout() -> Result<Self> {
        let git = |words: &[&str]| -> Result<String> {
            Ok(output(Command::new("git").current_dir(workspace()).env("TZ", "UTC").args(words))?.trim().to_owned())
        };
        let epoch = git(&["log", "-1", "--format=%ct"])?;
        let changelog = fs::read_to_string(workspace().join("debian/changelog")).context("reading debian/changelog")?;
        let released = of_changelog(&changelog)?;
        let (upstream, revision) =
            released.rsplit_once('-').context("debian/changelog: the version has no revision")?;
        if git(&["tag", "--points-at", "HEAD"])?.lines().any(|tag| tag.strip_prefix('v') == Some(upstream)) {
            return Ok(Self { debian: released.to_owned(), epoch });
        }
        let commit = git(&["log", "-1", "--format=%cd.%h", "--date=format-local:%Y%m%d.%H%M%S", "--abbrev=7"])?;
        Ok(Self { debian: format!("{upstream}~git{commit}-{revision}"), epoch })
    }

    /// The version without Debian's revision.
    pub(super) fn upstream(&self) -> &str {
        self.debian.rsplit_once('-').map_or(&self.debian, |(upstream, _)| upstream)
    }
}

/// The version of the first entry of a changelog: `rocbed (0.1.0-1) unstable; urgency=medium`.
fn of_changelog(text: &str) -> Result<&str> {
    let version = text.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(version, _)| version);
    let version = version.context("debian/changelog does not begin with an entry")?;
    ensure!(version.starts_with(|first: char| first.is_ascii_digit()), "debian/changelog: {version} is not a version");
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_and_cargo_have_the_same_version() -> Result<()> {
        let changelog = include_str!("../../../../debian/changelog");
        assert_eq!(of_changelog(changelog)?.rsplit_once('-').unwrap().0, env!("CARGO_PKG_VERSION"));
        Ok(())
    }

    #[test]
    fn a_text_without_an_entry_is_an_error() {
        for text in ["", "rocbed", "rocbed (x) y"] {
            assert!(of_changelog(text).is_err(), "{text}");
        }
    }
}
