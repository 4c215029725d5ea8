//! The demo's directory: what an earlier demo left in it is removed, and nothing else ever.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use advice::{Advice, WithHelp as _};
use anyhow::{Context as _, Result, bail};
use progress::Progress;
use store::{Lock, LockError, Wait};

/// File that marks a directory as the demo's, and is locked while one runs in it.
const MARKER: &str = ".rocbed-demo";

/// What a demo leaves and the next one makes anew. `images` stays: an image that is there already is built in a second.
const MADE: [&str; 4] = ["hub", "demo.toml", "console.log", "report.html"];

/// Makes the directory, or empties that of an earlier demo. A directory with other things in it is an error, and so is one
/// in which another demo runs. It is this demo's until the lock is dropped.
pub(super) fn prepare(directory: &Path, progress: &dyn Progress) -> Result<Lock> {
    let failed = || format!("preparing {}", directory.display());
    fs::create_dir_all(directory).with_context(failed)?;
    let marker = directory.join(MARKER);
    if !marker.is_file() && fs::read_dir(directory).with_context(failed)?.next().is_some() {
        bail!(Advice::new(
            format!("{} is not empty, and no earlier demo made it", directory.display()),
            "name another directory with --output"
        ));
    }
    let lock = match Lock::acquire(&marker, "rocbed demo", Wait::No, progress) {
        Err(held @ LockError::Held { .. }) => {
            let help = "wait until that demo has ended, or name another directory with --output";
            return Err(anyhow::Error::new(held).context(failed()).help(help));
        }
        other => other.with_context(failed)?,
    };
    for name in MADE {
        remove(&directory.join(name)).with_context(failed)?;
    }
    Ok(lock)
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use anyhow::ensure;
    use progress::Silent;

    use super::*;

    /// What a demo in this directory says, which must not start.
    fn refused(directory: &Path) -> String {
        let error = prepare(directory, &Silent).expect_err("the directory is not free");
        crate::error::report(&error).to_string()
    }

    #[test]
    fn an_earlier_demo_is_removed_but_for_its_image() -> Result<()> {
        let scratch = tempfile::tempdir()?;
        let directory = scratch.path().join("new/demo");
        drop(prepare(&directory, &Silent)?);
        for name in ["hub/bundles", "images/smoke"] {
            fs::create_dir_all(directory.join(name))?;
        }
        fs::write(directory.join("report.html"), "old")?;
        drop(prepare(&directory, &Silent)?);
        assert!(directory.join("images/smoke").is_dir());
        assert!(!directory.join("hub").exists() && !directory.join("report.html").exists());
        Ok(())
    }

    #[test]
    fn a_second_demo_leaves_the_directory_of_a_running_one_alone() -> Result<()> {
        let scratch = tempfile::tempdir()?;
        let running = prepare(scratch.path(), &Silent)?;
        fs::create_dir(scratch.path().join("hub"))?;
        let error = refused(scratch.path());
        assert!(error.contains("rocbed demo") && error.contains("--output"), "{error}");
        assert!(scratch.path().join("hub").is_dir());
        drop(running);
        // A process that another test starts has the lock's file open until it becomes another program.
        let end = Instant::now() + Duration::from_secs(20);
        while let Err(error) = prepare(scratch.path(), &Silent) {
            ensure!(Instant::now() < end, error);
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(!scratch.path().join("hub").exists());
        Ok(())
    }

    #[test]
    fn a_directory_with_other_things_is_left_alone() -> Result<()> {
        let scratch = tempfile::tempdir()?;
        fs::write(scratch.path().join("report.html"), "somebody's")?;
        let error = refused(scratch.path());
        assert!(error.contains("is not empty") && error.contains("--output"), "{error}");
        assert_eq!(fs::read_to_string(scratch.path().join("report.html"))?, "somebody's");
        Ok(())
    }
}
