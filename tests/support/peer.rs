//! Runs mmdebstrap with the same packages as rocbed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{rocbed, tool};

/// Makes a root directory with mmdebstrap from the packages of a recipe's lock in rocbed's store. It uses a small
/// archive of links to them, so that both sides have the same bytes and neither needs the network.
pub fn mmdebstrap(recipe: &Path, directory: &Path) -> PathBuf {
    let plan = rocbed(["plan", "--locked", "--json"]).arg(recipe).ok();
    let plan: Value = serde_json::from_str(&plan).expect("a plan in JSON");
    let packages = plan["packages"].as_array().expect("the plan has packages");
    let packages: Vec<_> = packages.iter().filter(|package| package["role"].is_null()).collect();

    let archive = directory.join("archive");
    let pool = archive.join("pool");
    if archive.exists() {
        fs::remove_dir_all(&archive).expect("removing an old archive");
    }
    fs::create_dir_all(&pool).expect("making the archive");
    let mut names = Vec::new();
    for package in packages {
        let text = |key: &str| package[key].as_str().unwrap_or_else(|| panic!("no {key} in {package}")).to_owned();
        let file = text("filename");
        let name = file.rsplit('/').next().expect("a file name");
        symlink(text("cached"), pool.join(name)).expect("linking a package");
        names.push(text("name"));
    }
    let scan = format!("cd {} && dpkg-scanpackages --multiversion pool 2>/dev/null >Packages", archive.display());
    tool("sh", ["-c", &scan]);

    let root = directory.join("root");
    if root.exists() {
        fs::remove_dir_all(&root).expect("removing an old root");
    }
    let words = [
        "--quiet".to_owned(),
        "--mode=root".into(),
        "--variant=custom".into(),
        format!("--include={}", names.join(",")),
        "sid".into(),
        root.display().to_string(),
        format!("deb [trusted=yes] copy:{} ./", archive.display()),
    ];
    tool("mmdebstrap", words);
    root
}
