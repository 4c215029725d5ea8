//! The packages of the programs under test.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rocbed_tests::{rocbed_path, scratch, tool};

/// Version of packages that are older than any other.
const OLD: &str = "0.0.1-1";

/// Paths of built packages.
pub struct Packages {
    /// The packages, as `cargo xtask deb` makes them.
    pub new: Vec<PathBuf>,
    /// The same files with an older version.
    pub old: Vec<PathBuf>,
}

impl Packages {
    /// Builds them once, from the programs under test: compiling those that are released takes minutes.
    pub fn of_programs_under_test() -> &'static Self {
        static BUILT: OnceLock<Packages> = OnceLock::new();
        BUILT.get_or_init(|| {
            let programs = rocbed_path().parent().expect("a directory").to_owned();
            let directory = scratch().join("packages");
            let xtask = programs.join("xtask");
            let words = ["deb", "--quick", "--programs", text(&programs), "--output", text(&directory)];
            tool(text(&xtask), words);
            let listed = tool("sh", ["-euc", "ls \"$1\"/*.deb", "sh", text(&directory)]);
            let new: Vec<PathBuf> = listed.lines().map(PathBuf::from).filter(|path| is_current(path)).collect();
            let old = directory.join("old");
            std::fs::create_dir_all(&old).expect("a directory");
            let old = new.iter().map(|package| older(package, &old)).collect();
            Self { new, old }
        })
    }
}

/// Whether a package is of the version that was built last; others may be there from earlier runs.
fn is_current(package: &Path) -> bool {
    let newest = package.parent().and_then(|directory| {
        let changes = std::fs::read_dir(directory).ok()?.filter_map(Result::ok).map(|entry| entry.path());
        let changes = changes.filter(|path| path.extension().is_some_and(|end| end == "changes"));
        changes.max_by_key(|path| path.metadata().and_then(|metadata| metadata.modified()).ok())
    });
    let changes = newest.map(|path| std::fs::read_to_string(path).expect("a list of changes")).unwrap_or_default();
    package.file_name().is_some_and(|name| changes.contains(&*name.to_string_lossy()))
}

/// The same package with an older version, as an upgrade's beginning.
fn older(package: &Path, directory: &Path) -> PathBuf {
    let version = tool("dpkg-deb", ["--field", text(package), "Version"]).trim().to_owned();
    let to = directory.join(package.file_name().expect("a name"));
    let repack = r#"
        rm -rf "$2.d"
        dpkg-deb --raw-extract "$1" "$2.d"
        sed -i "s/$3/$4/" "$2.d/DEBIAN/control"
        dpkg-deb --root-owner-group -Zgzip -z1 --build "$2.d" "$2"
        rm -r "$2.d"
    "#;
    tool("sh", ["-euc", repack, "sh", text(package), text(&to), &version, OLD]);
    to
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}
