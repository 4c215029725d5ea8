//! [`ReleaseDirectory`]: where a release goes. Nothing is removed there but the files of an earlier release.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use advice::Advice;
use anyhow::{Context, Result, bail};

use super::copy_into;

/// The file with the digests of all others; it has their names.
pub(super) const SUMS: &str = "SHA256SUMS";

/// A directory that is not there yet, is empty, or has an earlier release and nothing else.
#[derive(Debug)]
pub(super) struct ReleaseDirectory {
    path: PathBuf,
    earlier: Vec<PathBuf>,
}

impl ReleaseDirectory {
    /// Looks at what is there, and changes nothing.
    ///
    /// # Errors
    ///
    /// If there is anything that no earlier release has put there.
    pub(super) fn open(path: PathBuf) -> Result<Self> {
        let reading = || format!("reading {}", path.display());
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self { path, earlier: Vec::new() }),
            Err(error) => return Err(error).with_context(reading),
        };
        let sums = match fs::read_to_string(path.join(SUMS)) {
            Ok(sums) => sums,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.join(SUMS).display())),
        };
        let released: BTreeSet<&str> = names(&sums).filter(|name| is_of_release(name)).collect();
        let mut earlier = Vec::new();
        for entry in entries {
            let entry = entry.with_context(reading)?;
            let name = entry.file_name();
            let is_file = entry.file_type().with_context(reading)?.is_file();
            // Other people's directories have this file as well.
            let is_sums = name == SUMS && !released.is_empty();
            if !is_file || !(is_sums || name.to_str().is_some_and(|name| released.contains(name))) {
                let found = entry.path();
                let what = format!("{} is not of an earlier release, and would be lost", found.display());
                bail!(Advice::new(what, "name an empty directory by --output, or move the file away"));
            }
            if !is_sums {
                earlier.push(entry.path());
            }
        }
        Ok(Self { path, earlier })
    }

    /// Replaces the earlier release by the files of another directory; returns its path.
    pub(super) fn replace(self, staged: &Path) -> Result<PathBuf> {
        let Self { path, earlier } = self;
        fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
        for file in earlier {
            fs::remove_file(&file).with_context(|| format!("removing {}", file.display()))?;
        }
        // First the names: if the rest fails, what is there is still known as a release.
        copy_into(&staged.join(SUMS), &path)?;
        let sums = fs::read_to_string(staged.join(SUMS)).with_context(|| format!("reading {SUMS}"))?;
        for name in names(&sums) {
            copy_into(&staged.join(name), &path)?;
        }
        path.canonicalize().with_context(|| format!("finding {}", path.display()))
    }
}

/// Names of the files in the output of sha256sum(1).
fn names(sums: &str) -> impl Iterator<Item = &str> {
    sums.lines().filter_map(|line| Some(line.split_once("  ")?.1))
}

/// Whether a release may have a file of this name.
fn is_of_release(name: &str) -> bool {
    name == "CHANGELOG.md" || ["rocbed-", "rocbed_", "autopkgtest-virt-rocbed_"].iter().any(|own| name.starts_with(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[(&str, &str)]) -> Result<tempfile::TempDir> {
        let directory = tempfile::tempdir()?;
        for (name, content) in files {
            fs::write(directory.path().join(name), content)?;
        }
        Ok(directory)
    }

    fn listed(path: &Path) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    #[test]
    fn a_release_replaces_an_earlier_one() -> Result<()> {
        let old = directory(&[
            ("CHANGELOG.md", ""),
            ("rocbed_0.1.0-1_amd64.deb", "old"),
            (SUMS, "0  CHANGELOG.md\n0  rocbed_0.1.0-1_amd64.deb\n"),
        ])?;
        let new = directory(&[("rocbed_0.2.0-1_amd64.deb", "new"), (SUMS, "1  rocbed_0.2.0-1_amd64.deb\n")])?;
        ReleaseDirectory::open(old.path().to_owned())?.replace(new.path())?;
        assert_eq!(listed(old.path())?, [SUMS, "rocbed_0.2.0-1_amd64.deb"]);
        assert_eq!(fs::read_to_string(old.path().join("rocbed_0.2.0-1_amd64.deb"))?, "new");
        let made = old.path().join("a/b");
        ReleaseDirectory::open(made.clone())?.replace(new.path())?;
        assert_eq!(listed(&made)?, [SUMS, "rocbed_0.2.0-1_amd64.deb"]);
        Ok(())
    }

    #[test]
    fn what_is_of_no_release_is_kept() -> Result<()> {
        for (files, foreign) in [
            (&[("letter.txt", "")][..], "letter.txt"),
            (&[("rocbed_0.1.0-1_amd64.deb", "")], "rocbed_0.1.0-1_amd64.deb"),
            (&[("rocbed-1.tar.gz", ""), ("letter.txt", ""), (SUMS, "0  rocbed-1.tar.gz\n")], "letter.txt"),
            (&[("debian.iso", ""), (SUMS, "0  debian.iso\n")], ""),
        ] {
            let there = directory(files)?;
            let before = listed(there.path())?;
            let error = ReleaseDirectory::open(there.path().to_owned()).expect_err("foreign files").to_string();
            assert!(error.contains(foreign) && error.contains("is not of an earlier release"), "{error}");
            assert_eq!(listed(there.path())?, before);
        }
        let there = directory(&[])?;
        fs::create_dir(there.path().join("rocbed-1"))?;
        fs::write(there.path().join(SUMS), "0  rocbed-1\n")?;
        assert!(ReleaseDirectory::open(there.path().to_owned()).is_err(), "a directory");
        Ok(())
    }
}
