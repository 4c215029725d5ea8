//! The files of the checkout that packages are made of.

use std::fs;
use std::path::Path;
use std::process::Command;

use advice::Advice;
use anyhow::{Context, Result, ensure};

use crate::run::{output, run};

/// Which files are packaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Files {
    /// The files of the checkout as they are now, without what git ignores: for trying changes.
    Checkout,
    /// The files of the last commit.
    Commit,
}

impl Files {
    /// Copies files and directories to an existing directory. Times and permissions are not those of the checkout:
    /// `epoch` is the time, in seconds since 1970.
    pub(super) fn copy(self, checkout: &Path, needed: &[&str], epoch: &str, to: &Path) -> Result<()> {
        let archive = to.with_extension("tar");
        match self {
            Self::Commit => {
                let mut archived = git(checkout);
                archived.args(["-c", "tar.umask=0022", "archive", "--format=tar", "--output"]).arg(&archive);
                run(archived.args(["HEAD", "--"]).args(needed))?;
            }
            Self::Checkout => {
                let list = to.with_extension("list");
                let mut names = git(checkout);
                names.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate", "--"]);
                let names = output(names.args(needed))?;
                fs::write(&list, names).with_context(|| format!("writing {}", list.display()))?;
                let mut tar = Command::new("tar");
                tar.arg("--create").arg("--file").arg(&archive).arg("--directory").arg(checkout);
                tar.args(["--no-recursion", "--mode=u=rwX,go=rX", &format!("--mtime=@{epoch}"), "--null"]);
                run(tar.arg("--verbatim-files-from").arg("--files-from").arg(&list))?;
            }
        }
        // The umask is for directories: only git's archives have entries of these.
        let extract = "umask 022; exec tar --extract --no-same-owner --file \"$1\" --directory \"$2\"";
        run(Command::new("sh").args(["-euc", extract, "sh"]).arg(&archive).arg(to))
    }
}

/// Checks that a checkout is its last commit: what is released is said to be made from it.
///
/// # Errors
///
/// If a file was changed, or is there that git does not know and does not ignore.
pub(super) fn ensure_committed(checkout: &Path) -> Result<()> {
    let changed = output(git(checkout).args(["status", "--porcelain"]))?;
    let names: Vec<&str> = changed.lines().filter_map(|line| line.get(3..)).collect();
    ensure!(
        names.is_empty(),
        Advice::new(
            format!("the checkout is not its last commit: {} changed: {}", names.len(), names.join(", ")),
            "commit that, or `git stash --include-untracked`; `cargo xtask deb` packages a checkout as it is"
        )
    );
    Ok(())
}

fn git(checkout: &Path) -> Command {
    let mut git = Command::new("git");
    git.current_dir(checkout);
    git
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const EPOCH: &str = "1700000000";

    /// A checkout with one commit: `docs/page` has `committed`, and git ignores `*.swp`.
    fn checkout() -> Result<tempfile::TempDir> {
        let directory = tempfile::tempdir()?;
        let path = directory.path();
        fs::create_dir(path.join("docs"))?;
        fs::write(path.join(".gitignore"), "*.swp\n")?;
        fs::write(path.join("docs/page"), "committed")?;
        fs::set_permissions(path.join("docs/page"), PermissionsExt::from_mode(0o600))?;
        let author = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"];
        for words in [&["init", "--quiet"][..], &["add", "--all"], &["commit", "--quiet", "--message", "x"]] {
            let mut git = git(path);
            git.env("GIT_AUTHOR_DATE", format!("@{EPOCH}")).env("GIT_COMMITTER_DATE", format!("@{EPOCH} +0000"));
            run(git.args(author).args(words))?;
        }
        Ok(directory)
    }

    fn copied(files: Files, checkout: &Path) -> Result<(tempfile::TempDir, Vec<String>)> {
        let scratch = tempfile::tempdir()?;
        let to = scratch.path().join("to");
        fs::create_dir(&to)?;
        files.copy(checkout, &["docs"], EPOCH, &to)?;
        let found = output(Command::new("find").current_dir(&to).args([".", "-type", "f", "-printf", "%P %m %Ts\n"]))?;
        let mut found: Vec<String> = found.lines().map(str::to_owned).collect();
        found.sort();
        Ok((scratch, found))
    }

    #[test]
    fn a_release_has_the_files_of_the_commit_and_nothing_else() -> Result<()> {
        let checkout = checkout()?;
        let docs = checkout.path().join("docs");
        fs::write(docs.join("page"), "changed")?;
        fs::write(docs.join("new"), "")?;
        fs::write(docs.join(".page.swp"), "")?;
        let (scratch, found) = copied(Files::Commit, checkout.path())?;
        assert_eq!(found, ["docs/page 644 1700000000"]);
        assert_eq!(fs::read_to_string(scratch.path().join("to/docs/page"))?, "committed");
        Ok(())
    }

    #[test]
    fn a_try_has_the_files_as_they_are_without_ignored_ones() -> Result<()> {
        let checkout = checkout()?;
        let docs = checkout.path().join("docs");
        fs::write(docs.join("page"), "changed")?;
        fs::write(docs.join("new"), "")?;
        fs::write(docs.join(".page.swp"), "")?;
        let (scratch, found) = copied(Files::Checkout, checkout.path())?;
        assert_eq!(found, ["docs/new 644 1700000000", "docs/page 644 1700000000"]);
        assert_eq!(fs::read_to_string(scratch.path().join("to/docs/page"))?, "changed");
        Ok(())
    }

    #[test]
    fn a_file_that_cannot_be_read_is_not_left_out() -> Result<()> {
        let checkout = checkout()?;
        fs::remove_file(checkout.path().join("docs/page"))?;
        assert!(copied(Files::Checkout, checkout.path()).is_err());
        assert!(copied(Files::Commit, checkout.path()).is_ok());
        Ok(())
    }

    #[test]
    fn only_a_checkout_that_is_its_commit_is_released() -> Result<()> {
        let checkout = checkout()?;
        fs::write(checkout.path().join("docs/.page.swp"), "ignored")?;
        ensure_committed(checkout.path())?;
        for (name, content) in [("docs/new", ""), ("docs/page", "changed")] {
            fs::write(checkout.path().join(name), content)?;
            let error = ensure_committed(checkout.path()).expect_err("a change").to_string();
            assert!(error.contains(name), "{error}");
        }
        Ok(())
    }
}
