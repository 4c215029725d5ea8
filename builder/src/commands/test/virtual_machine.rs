//! `rocbed test --vm`: testbeds that are virtual machines.
//!
//! autopkgtest runs in the recipe's root directory, as for other testbeds, and the virtualisation server with it, as both
//! copy files to each other. QEMU is the machine's, and has the machine's root directory.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use advice::Advice;
use anyhow::{Context as _, Result, bail};
use progress::Progress as _;
use vm::Accelerator;

use crate::cmdline::Test;
use crate::image::default_output;
use crate::recipe::Recipe;
use crate::report::Reporter;

/// Where autopkgtest and the server see the machine's root directory.
pub(super) const MACHINE_ROOT: &str = "/run/rocbed-machine";

/// apt's configuration in a root directory.
const APT: &str = "etc/apt";

/// What virtual machines are started from.
#[derive(Debug)]
pub(super) struct VmTestbed {
    /// Directory of the image.
    pub(super) image: PathBuf,
    /// Path of QEMU.
    qemu: PathBuf,
}

impl VmTestbed {
    /// Finds the image, by default the one that `rocbed build` makes of this recipe, and QEMU.
    ///
    /// # Errors
    /// What is missing, and how to get it.
    pub(super) fn find(image: Option<&Path>, recipe: &Recipe) -> Result<Self> {
        let image = image.map_or_else(|| default_output(recipe), Path::to_owned);
        let Ok(found) = image.canonicalize() else {
            bail!(Advice::new(
                format!("--vm: there is no image {}", image.display()),
                "make it with `rocbed build RECIPE`, or name its directory: --vm=images/NAME"
            ));
        };
        Ok(Self { image: found, qemu: vm::find_qemu()? })
    }

    /// Command line of this program as the virtualisation server. `scratch` is for what machines write, unless
    /// `--overlay-dir` says where.
    pub(super) fn server(&self, options: &Test, scratch: &Path, reporter: &Reporter) -> Result<Vec<OsString>> {
        let choice = Accelerator::probe(None)?;
        if choice.accelerator == Accelerator::Tcg {
            reporter.warn(&choice.reason);
        }
        let program = std::env::current_exe().context("finding this program")?;
        let directory = options.overlay_dir.as_deref().unwrap_or(scratch);
        let directory = directory.canonicalize().with_context(|| format!("finding {}", directory.display()))?;
        Ok(self.words(&program, choice.accelerator, &directory, options.memory.as_deref()))
    }

    fn words(&self, program: &Path, accelerator: Accelerator, disks: &Path, memory: Option<&str>) -> Vec<OsString> {
        let accelerator = match accelerator {
            Accelerator::Kvm => "kvm",
            Accelerator::Tcg => "tcg",
        };
        let mut words: Vec<OsString> = vec![program.into(), "virt".into()];
        let mut option = |name: &str, value: OsString| words.extend([name.into(), value]);
        option("--vm", self.image.clone().into());
        option("--qemu", self.qemu.clone().into());
        option("--accelerator", accelerator.into());
        option("--machine-root", MACHINE_ROOT.into());
        option("--disk-dir", disks.into());
        if let Some(memory) = memory {
            option("--memory", memory.into());
        }
        words
    }
}

/// Warns of addresses of this machine's loopback interface among apt's files: in a virtual machine they are its own.
pub(super) fn warn_of_loopback(files: &[(PathBuf, String)], reporter: &Reporter) {
    let is_own = |text: &str| ["://127.", "://localhost", "://[::1]"].iter().any(|start| text.contains(start));
    for (path, name) in files {
        // What cannot be read here cannot be copied either, and the copy says so.
        if std::fs::read_to_string(path).is_ok_and(|text| is_own(&text)) {
            let what = format!("{name} names an address that reaches only this machine, and not from a virtual one");
            reporter
                .warn_of(&Advice::new(what, "give --mirror an address of this machine, as 10.0.2.2 is there").into());
        }
    }
}

/// apt's files of the layer that other testbeds have, with the mirror of this run, and where they belong in the machine.
pub(super) fn apt_files(layer: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    let mut directories = vec![PathBuf::from(APT)];
    while let Some(directory) = directories.pop() {
        let entries = match layer.join(&directory).read_dir() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            let path = directory.join(entry.file_name());
            match (entry.file_type()?, path.to_str()) {
                (kind, _) if kind.is_dir() => directories.push(path),
                (kind, Some(name)) if kind.is_file() => found.push((entry.path(), format!("/{name}"))),
                _ => {}
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cmdline::Cli;

    #[test]
    fn an_image_may_be_named_and_what_machines_cannot_do_is_refused() {
        for (words, is_right) in [
            (&["--vm"][..], true),
            (&["--vm=images/other", "--memory", "4G", "--overlay-dir", "/srv"], true),
            (&["--vm", "--gpu"], false),
            (&["--vm", "--overlay-size", "4G"], false),
        ] {
            let parsed = Cli::try_parse_from(["rocbed", "test", "smoke", "gzip"].iter().chain(words));
            assert_eq!(parsed.is_ok(), is_right, "{words:?}");
        }
    }

    #[test]
    fn the_server_runs_the_machines_qemu() {
        let vm = VmTestbed { image: "/images/smoke".into(), qemu: "/usr/bin/qemu-system-x86_64".into() };
        let words = vm.words(Path::new("/usr/bin/rocbed"), Accelerator::Tcg, Path::new("/scratch"), Some("4G"));
        let text: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        assert_eq!(
            text.join(" "),
            "/usr/bin/rocbed virt --vm /images/smoke --qemu /usr/bin/qemu-system-x86_64 --accelerator tcg \
             --machine-root /run/rocbed-machine --disk-dir /scratch --memory 4G"
        );
    }

    #[test]
    fn apt_has_the_files_of_the_layer() {
        let layer = tempfile::tempdir().expect("a directory");
        assert!(apt_files(layer.path()).expect("no files").is_empty());
        for name in ["etc/apt/sources.list.d/debian.sources", "etc/apt/apt.conf.d/91rocbed", "etc/passwd"] {
            let path = layer.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
            std::fs::write(path, "").expect("a file");
        }
        let places: Vec<_> = apt_files(layer.path()).expect("files").into_iter().map(|(_, place)| place).collect();
        assert_eq!(places, ["/etc/apt/apt.conf.d/91rocbed", "/etc/apt/sources.list.d/debian.sources"]);
    }
}
