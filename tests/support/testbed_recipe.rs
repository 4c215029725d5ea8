//! A recipe whose testbeds have an archive of a test's own in place of Debian's.

use std::fs;
use std::path::{Path, PathBuf};

use crate::TestArchive;

/// Where apt reads sources in these testbeds.
const SOURCES: &str = "/etc/apt/own.d";

/// Writes a recipe with its lock into a directory: the smoke recipe's root directory, in which apt knows the archive at this
/// address, the sources of a job, and nothing else. So no test waits for Debian's indexes.
pub fn testbed_recipe(directory: &Path, archive: &TestArchive, mirror: &str) -> PathBuf {
    let key = fs::read_to_string(archive.path().join("key.asc")).expect("the key");
    let key: String = key.lines().map(|line| format!(" {}\n", if line.is_empty() { "." } else { line })).collect();
    let sources = format!("Types: deb\nURIs: {mirror}\nSuites: sid\nComponents: main\nSigned-By:\n{key}");
    // autopkgtest puts own packages into a list beside Debian's, which is not read here.
    let settings = format!(
        "Dir::Etc::sourcelist \"/etc/apt/sources.list.d/autopkgtest.list\";\nDir::Etc::sourceparts \"{SOURCES}\";\n"
    );
    let mut recipe = "inherits = \"smoke\"\n".to_owned();
    for (path, content) in
        [("/etc/apt/apt.conf.d/95own".to_owned(), settings), (format!("{SOURCES}/own.sources"), sources)]
    {
        recipe.push_str(&format!("[[file]]\npath = {path:?}\ncontent = {content:?}\n"));
    }
    let of_job = "rocbed-job.sources";
    let (link, to) = (format!("{SOURCES}/{of_job}"), format!("/etc/apt/sources.list.d/{of_job}"));
    recipe.push_str(&format!("[[file]]\npath = {link:?}\nsymlink = {to:?}\n"));
    let path = directory.join("own.toml");
    fs::write(&path, recipe).expect("a recipe");
    fs::write(path.with_extension("lock"), include_str!("../../recipes/smoke.lock")).expect("its lock");
    path
}
