//! Switches from the initramfs to the real root.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::statfs;

use crate::fatal::Fatal;
use crate::system::System;
use appliance::paths::PROGRAM;

/// `RAMFS_MAGIC` and `TMPFS_MAGIC` of linux/magic.h: the file systems that an initramfs can be.
const IN_MEMORY: [u64; 2] = [0x8584_58f6, 0x0102_1994];

/// Moves the kernel's file systems into the new root, frees the initramfs, makes the new root `/` and runs the second
/// stage from there.
pub fn switch_root(new_root: &Path, system: &mut dyn System) -> Result<std::convert::Infallible, Fatal> {
    const BROKEN: &str = "the root image is damaged or made for something else: build and write it again";
    let failed = |what: String| move |error: io::Error| Fatal::new(format!("{what}: {error}"), BROKEN);
    let program = Path::new("/proc/self/exe");
    system.bind_file(program, Path::new(PROGRAM)).map_err(failed(format!("showing rocbed-init at {PROGRAM}")))?;
    for name in ["dev", "proc", "sys", "run"] {
        let (from, to) = (Path::new("/").join(name), new_root.join(name));
        system.create_directory(&to).map_err(failed(format!("making {}", to.display())))?;
        system.move_mount(&from, &to).map_err(failed(format!("moving {} to {}", from.display(), to.display())))?;
    }
    let spared = new_root.join(PROGRAM.trim_start_matches('/'));
    system.delete_initramfs(&spared).map_err(failed("freeing the initramfs".to_owned()))?;
    system.change_root(new_root).map_err(failed(format!("switching root to {}", new_root.display())))?;
    let error = system.execute(Path::new(PROGRAM), &["second-stage"]);
    Err(failed(format!("starting {PROGRAM}"))(error))
}

/// Deletes everything below a directory that is on the same file system, except the file `spared`. Refuses if the
/// file system is not in memory: then it is not an initramfs, and the files belong to the machine's owner.
pub fn delete_initramfs(root: &Path, spared: &Path) -> io::Result<()> {
    let kind = statfs(root)?.f_type;
    if !IN_MEMORY.contains(&(kind as u64)) {
        return Err(io::Error::other("/ is not an initramfs, nothing was deleted"));
    }
    delete_below(root, fs::metadata(spared)?.ino())
}

fn delete_below(root: &Path, spared: u64) -> io::Result<()> {
    let device = fs::symlink_metadata(root)?.dev();
    let mut found: Vec<PathBuf> = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let metadata = fs::symlink_metadata(&path)?;
            if metadata.dev() != device {
                continue; // something is mounted here
            }
            if metadata.is_dir() {
                todo.push(path.clone());
                found.push(path);
            } else if metadata.ino() != spared {
                fs::remove_file(&path)?;
            }
        }
    }
    for directory in found.iter().rev() {
        match fs::remove_dir(directory) {
            // Mount points and what is above them stay.
            Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::ResourceBusy) => {}
            other => other?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::recording::Recording;

    #[test]
    fn moves_everything_then_starts_the_second_stage() {
        let mut system = Recording::default();
        let Err(error) = switch_root(Path::new("/newroot"), &mut system);
        assert_eq!(
            system.calls,
            [
                "bind /proc/self/exe /run/rocbed/rocbed-init",
                "directory /newroot/dev",
                "move /dev /newroot/dev",
                "directory /newroot/proc",
                "move /proc /newroot/proc",
                "directory /newroot/sys",
                "move /sys /newroot/sys",
                "directory /newroot/run",
                "move /run /newroot/run",
                "delete initramfs but /newroot/run/rocbed/rocbed-init",
                "root /newroot",
                "execute /run/rocbed/rocbed-init second-stage",
            ]
        );
        assert!(error.to_string().starts_with("starting /run/rocbed/rocbed-init: "), "{error}");
    }

    #[test]
    fn a_failed_move_is_named() {
        let mut system = Recording { fails: vec!["move /sys"], ..Recording::default() };
        let Err(error) = switch_root(Path::new("/newroot"), &mut system);
        assert!(error.to_string().starts_with("moving /sys to /newroot/sys: "), "{error}");
    }

    #[test]
    fn deletes_all_files_and_directories_but_this_program() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        fs::create_dir_all(root.path().join("usr/lib/modules"))?;
        fs::write(root.path().join("usr/lib/modules/x.ko"), "x")?;
        std::os::unix::fs::symlink("/etc", root.path().join("etc"))?;
        fs::write(root.path().join("init"), "program")?;
        delete_below(root.path(), fs::metadata(root.path().join("init"))?.ino())?;
        let left: Vec<_> = fs::read_dir(root.path())?.flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left, ["init"]);
        assert!(Path::new("/etc").exists());
        Ok(())
    }
}
