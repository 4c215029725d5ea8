//! The programs that documented commands find: rocbed, and a stand-in for sudo that has the `PATH` of Debian's.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use rocbed_tests::{rocbed_path, scratch};
use tempfile::TempDir;

/// What sudo has for `PATH`, whatever its caller has: `secure_path` of Debian's `/etc/sudoers`.
const SECURE_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Whether rocbed's packages are installed. If not, rocbed is only in the user's own `PATH`, and sudo does not find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packages {
    /// They are.
    Installed,
    /// They are not.
    Missing,
}

/// Directories with the programs.
pub struct Programs(TempDir);

impl Programs {
    /// Makes them.
    pub fn new() -> Self {
        let programs = Self(tempfile::tempdir_in(scratch()).expect("a directory"));
        fs::create_dir(programs.rocbed()).expect("a directory");
        symlink(rocbed_path(), programs.rocbed().join("rocbed")).expect("a link");
        for packages in [Packages::Installed, Packages::Missing] {
            let path = match packages {
                // The directory stands for /usr/bin.
                Packages::Installed => format!("{}:{SECURE_PATH}", programs.rocbed().display()),
                Packages::Missing => SECURE_PATH.to_owned(),
            };
            let directory = programs.sudo(packages);
            fs::create_dir(&directory).expect("a directory");
            let sudo = directory.join("sudo");
            fs::write(&sudo, format!("#!/bin/sh\nexport PATH='{path}'\nexec \"$@\"\n")).expect("a program");
            fs::set_permissions(&sudo, fs::Permissions::from_mode(0o755)).expect("a program");
        }
        programs
    }

    /// The user's `PATH`, which has rocbed in either case.
    pub fn path(&self, packages: Packages) -> String {
        let machine = std::env::var("PATH").unwrap_or_default();
        format!("{}:{}:{machine}", self.sudo(packages).display(), self.rocbed().display())
    }

    fn rocbed(&self) -> PathBuf {
        self.0.path().join("rocbed")
    }

    fn sudo(&self, packages: Packages) -> PathBuf {
        let name = match packages {
            Packages::Installed => "sudo-with-packages",
            Packages::Missing => "sudo-without-packages",
        };
        self.0.path().join(name)
    }
}

#[test]
fn sudo_finds_rocbed_where_it_is_installed_or_where_its_path_is_given() {
    let programs = Programs::new();
    let finds = |packages: Packages, line: &str| {
        let output = Command::new("sh").args(["-c", line]).env("PATH", programs.path(packages)).output();
        let found = String::from_utf8(output.expect("a shell").stdout).expect("a path");
        found.trim() == programs.rocbed().join("rocbed").display().to_string()
    };
    let (alone, with_path) = ("sudo sh -c 'command -v rocbed'", "sudo env \"PATH=$PATH\" sh -c 'command -v rocbed'");
    assert!(finds(Packages::Installed, alone));
    assert!(!finds(Packages::Missing, alone));
    // As the README says.
    assert!(finds(Packages::Missing, with_path));
}
