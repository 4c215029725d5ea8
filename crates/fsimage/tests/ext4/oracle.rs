//! Checks of images with other programs and the kernel.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fsimage::ext4::{self, Ext4Options, Ext4Report, Limits, Reader};
use fsimage::{FileTree, compare, scan};
use progress::Silent;
use tempfile::TempDir;

/// A fresh image of a tree, in a directory that is removed on drop.
pub struct Image {
    pub directory: TempDir,
    pub path: PathBuf,
    pub report: Ext4Report,
}

impl Image {
    pub fn of(tree: &FileTree, options: &Ext4Options) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image");
        let report = ext4::write(tree, &File::create_new(&path).unwrap(), 0, options, &Silent).unwrap();
        Self { directory, path, report }
    }

    pub fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.path).unwrap()
    }

    /// Fails unless e2fsck finds no problem.
    pub fn check(&self) -> &Self {
        fsck(&self.path.display().to_string());
        self
    }

    /// Fails unless the kernel sees this tree in it.
    pub fn check_mounted(&self, tree: &FileTree) -> &Self {
        if let Some(mount) = self.mount("ro") {
            assert_same(tree, scan(mount.root()).unwrap());
        }
        self
    }

    /// Fails unless our own reader sees this tree in it.
    pub fn check_read(&self, tree: &FileTree) -> &Self {
        let mut reader = Reader::open(File::open(&self.path).unwrap(), 0).unwrap();
        assert_same(tree, reader.tree(Limits::default()).unwrap());
        self
    }

    /// Mounts the image. `None` if `ROCBED_TEST_NO_MOUNT` is set.
    pub fn mount(&self, options: &str) -> Option<Mount> {
        if std::env::var_os("ROCBED_TEST_NO_MOUNT").is_some() {
            return None;
        }
        let point = self.directory.path().join("mounted");
        std::fs::create_dir_all(&point).unwrap();
        let arguments = ["-o", &format!("loop,{options}"), &shown(&self.path), &shown(&point)];
        let mut output = tool("mount", "mount", &arguments);
        // Another test may have taken the loop device that mount had found free.
        for _ in 0..5 {
            if output.status.success() || !String::from_utf8_lossy(&output.stderr).contains("loop device") {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(200));
            output = tool("mount", "mount", &arguments);
        }
        assert!(
            output.status.success(),
            "cannot mount an image (run as root, or set ROCBED_TEST_NO_MOUNT=1 to leave this out): {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Some(Mount { point })
    }

    /// The answer of debugfs to a request.
    pub fn debugfs(&self, request: &str) -> String {
        let output = tool("debugfs", "e2fsprogs", &["-R", request, &shown(&self.path)]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// A mounted image, until it is dropped.
pub struct Mount {
    point: PathBuf,
}

impl Mount {
    pub fn root(&self) -> &Path {
        &self.point
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let mut output = tool("umount", "mount", &[&shown(&self.point)]);
        // A child that another test has just started may still have a file of ours open.
        for _ in 0..20 {
            if output.status.success() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
            output = tool("umount", "mount", &[&shown(&self.point)]);
        }
        assert!(output.status.success() || std::thread::panicking(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Fails unless both are equal, except for `lost+found`, which the writer adds.
pub fn assert_same(tree: &FileTree, mut other: FileTree) {
    if tree.get("lost+found").is_none() {
        other.remove("lost+found").unwrap();
    }
    let differences = compare(tree, &other).unwrap();
    let shown: Vec<_> = differences.iter().take(20).map(ToString::to_string).collect();
    assert!(differences.is_empty(), "{} differences: {shown:#?}", differences.len());
}

/// Fails unless e2fsck finds no problem. The image may be `FILE?offset=BYTES`.
pub fn fsck(image: &str) {
    let output = tool("e2fsck", "e2fsprogs", &["-fn", image]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "e2fsck found something: {text}");
}

/// Runs a program from a Debian package.
pub fn tool(program: &str, package: &str, arguments: &[&str]) -> Output {
    // e2fsck and similar programs may not be in the user's path.
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    Command::new(program)
        .args(arguments)
        .env("PATH", path)
        .env("LC_ALL", "C")
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}: install the package {package}"))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
