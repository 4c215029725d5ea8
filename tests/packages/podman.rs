//! podman, run by a user of the machine without root.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rocbed_tests::{TestUser, tool};

/// podman of a user with subordinate ids. Its images and containers are in the user's home, which is removed with this.
pub struct Podman {
    user: TestUser,
    runtime: tempfile::TempDir,
}

impl Podman {
    /// Makes a user, who has no image yet.
    pub fn new() -> Self {
        let user = TestUser::new("podman");
        let runtime = tempfile::tempdir().expect("a directory");
        fs::set_permissions(runtime.path(), fs::Permissions::from_mode(0o700)).expect("setting its permissions");
        let id = |option: &str| tool("id", [option, &user.name]).trim().parse().expect("a number");
        chown(runtime.path(), Some(id("-u")), Some(id("-g"))).expect("setting its owner");
        Self { user, runtime }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &self.user.name, "--regid", &self.user.name, "--init-groups", "podman"]);
        // What works on every file system and without systemd.
        command.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none"]);
        // crun, which is the default, refuses machines with both versions of cgroups mounted.
        if Path::new("/sys/fs/cgroup/unified").exists() {
            command.args(["--runtime", "runc"]);
        }
        command.args(words).current_dir(&self.user.home);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", &self.user.home).env("XDG_RUNTIME_DIR", self.runtime.path());
        command
    }

    /// Runs podman to its end.
    pub fn output(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("starting podman")
    }

    /// Runs podman, which must succeed; returns what it printed on stdout.
    pub fn run(&self, words: &[&str]) -> String {
        let output = self.output(words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "podman {words:?}: {}\n{said}", output.status);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Loads an image; returns its name.
    pub fn load(&self, image: &Path) -> String {
        let image: PathBuf = image.canonicalize().expect("an image");
        let said = self.run(&["load", "--quiet", "--input", image.to_str().expect("UTF-8")]);
        said.trim().rsplit(' ').next().expect("a name").to_owned()
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // Containers that a failed test has left running, and files that belong to subordinate ids.
        let _ = self.output(&["rm", "--all", "--force", "--time", "0"]);
        let _ = self.output(&["unshare", "rm", "-rf", ".local/share/containers"]);
    }
}
