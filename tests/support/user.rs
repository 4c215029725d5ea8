//! A temporary user for a test.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{seed_cache, tool};

/// A user with subordinate ids and a home directory, removed with this.
pub struct TestUser {
    /// Name of the user.
    pub name: String,
    /// Home directory of the user.
    pub home: PathBuf,
}

impl TestUser {
    /// Creates a user; the last part of its name distinguishes the users of one test program.
    pub fn new(what: &str) -> Self {
        let name = format!("rocbed-{what}-{}", std::process::id());
        let home = Path::new("/var/tmp").join(&name);
        tool("useradd", ["--create-home", "--home-dir", &home.to_string_lossy(), "--add-subids-for-system", &name]);
        let ids = fs::read_to_string("/etc/subuid").expect("reading /etc/subuid");
        assert!(ids.contains(&name), "useradd gave {name} no subordinate ids:\n{ids}");
        Self { name, home }
    }

    /// Copies the smoke recipe's packages to the user's cache, `cache` in the home directory.
    pub fn seed(&self) {
        let cache = self.home.join("cache");
        seed_cache(&cache);
        tool("chown", ["-R", &format!("{}:", self.name), &cache.to_string_lossy()]);
    }
}

impl Drop for TestUser {
    fn drop(&mut self) {
        tool("userdel", ["--force", "--remove", &self.name]);
    }
}
