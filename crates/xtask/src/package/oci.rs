//! Container images of the hub and of the builder: a layer of Debian, made by `rocbed oci` from `oci/`, and one of rocbed's programs.
//!
//! The hub's has what one program needs and nothing else: the C library, certificate authorities, names of services. The builder's
//! is a small Debian, since CI systems run jobs by a shell, and apt adds to it what a job needs besides (QEMU to boot images).

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use advice::Advice;
use anyhow::{Context, Result, ensure};
use clap::Args;

use super::version::Version;
use super::{programs, scratch};
use crate::host;
use crate::run::{output, target_directory, workspace};

/// A container image; `oci/` has its recipe and how it is started.
struct Container {
    name: &'static str,
    /// Packages and paths of the recipe's root that it has; all if there are none.
    only: &'static [&'static str],
    /// Names of the programs, and where they go.
    programs: &'static [(&'static str, &'static str)],
}

const CONTAINERS: [Container; 2] = [
    Container {
        name: "hub",
        only: &[
            "base-files",
            "libc6",
            "libgcc-s1",
            "netbase",
            "/etc/group",
            "/etc/nsswitch.conf",
            "/etc/passwd",
            "/etc/ssl/certs/ca-certificates.crt",
            "/usr/share/doc/ca-certificates/copyright",
        ],
        programs: &[("rocbed", "usr/bin/rocbed")],
    },
    Container {
        name: "builder",
        only: &[],
        programs: &[("rocbed", "usr/bin/rocbed"), ("rocbed-init", "usr/lib/rocbed/rocbed-init")],
    },
];

/// End of the names of images.
const SUFFIX: &str = "-x86_64.oci.tar";

/// What to make.
#[derive(Args)]
pub(crate) struct OciOptions {
    /// Package the programs in this directory instead of compiling them: rocbed, rocbed-init
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Compress them less: for tests
    #[arg(long)]
    quick: bool,
    /// Where the images go [default: target/oci]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// `cargo xtask oci`: makes the images, and prints their paths.
pub(crate) fn run_oci(options: &OciOptions) -> Result<()> {
    host::install(&[host::to_build()])?;
    let programs = programs(options.programs.as_deref())?;
    let scratch = scratch()?;
    let images = Images {
        rocbed: &programs.join("rocbed"),
        init: &programs.join("rocbed-init"),
        version: &Version::of_checkout()?,
        quick: options.quick,
    };
    let own = target_directory().join("oci");
    // Documentation says `rocbed-hub-*.oci.tar`. Elsewhere, earlier images are the user's.
    if options.output.is_none() {
        super::remove_earlier(&own, is_image)?;
    }
    for path in images.write(scratch.path(), options.output.as_ref().unwrap_or(&own))? {
        println!("{}", path.display());
    }
    Ok(())
}

/// Whether a file has the name of an image of ours.
fn is_image(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()?.strip_suffix(SUFFIX));
    name.is_some_and(|name| CONTAINERS.iter().any(|container| name.starts_with(&format!("rocbed-{}-", container.name))))
}

/// How the images are made.
pub(super) struct Images<'a> {
    /// Path of the program that makes them, and is in them.
    pub(super) rocbed: &'a Path,
    /// Path of rocbed-init.
    pub(super) init: &'a Path,
    pub(super) version: &'a Version,
    /// Compress less.
    pub(super) quick: bool,
}

impl Images<'_> {
    /// Writes all images into a directory, which is made; returns their paths. The same programs, version and lock give the same bytes.
    pub(super) fn write(&self, scratch: &Path, directory: &Path) -> Result<Vec<PathBuf>> {
        fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
        let directory = directory.canonicalize().with_context(|| format!("finding {}", directory.display()))?;
        CONTAINERS.iter().map(|container| self.write_one(container, scratch, &directory)).collect()
    }

    fn write_one(&self, container: &Container, scratch: &Path, directory: &Path) -> Result<PathBuf> {
        let name = container.name;
        let files = scratch.join("container-files").join(name);
        for (program, to) in container.programs {
            let from = if *program == "rocbed" { self.rocbed } else { self.init };
            let missing = || Advice::new(format!("{} is not there", from.display()), "`cargo xtask build` compiles it");
            ensure!(from.is_file(), missing());
            copy(from, &files.join(to), 0o755)?;
        }
        copy(&workspace().join("debian/copyright"), &files.join("usr/share/doc/rocbed/copyright"), 0o644)?;
        let upstream = self.version.upstream();
        let path = directory.join(format!("rocbed-{name}-{upstream}{SUFFIX}"));
        let own = workspace().join("oci");
        let mut rocbed = Command::new(self.rocbed);
        rocbed.current_dir(workspace()).env("SOURCE_DATE_EPOCH", &self.version.epoch).arg("oci");
        rocbed.arg(own.join(format!("{name}.toml"))).arg("--lock").arg(own.join("base.lock"));
        rocbed.arg("--config").arg(own.join(format!("{name}.json"))).arg("--files").arg(&files);
        rocbed.arg("--name").arg(format!("rocbed-{name}:{}", tag(upstream))).arg("--output").arg(&path);
        if !container.only.is_empty() {
            rocbed.arg("--only").arg(container.only.join(","));
        }
        rocbed.args(self.quick.then_some("--quick"));
        eprint!("{}", output(&mut rocbed)?);
        Ok(path)
    }
}

/// Copies a file, and makes the directories above it; permissions are not those of the checkout.
fn copy(from: &Path, to: &Path, mode: u32) -> Result<()> {
    let context = || format!("copying {} to {}", from.display(), to.display());
    if let Some(above) = to.parent() {
        fs::create_dir_all(above).with_context(context)?;
    }
    fs::copy(from, to).with_context(context)?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).with_context(context)
}

/// A version as a tag, which takes no `~` (distribution specification, "Pulling manifests").
fn tag(version: &str) -> String {
    version.replace(|char: char| !(char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '-')), "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_images_of_ours_are_removed() {
        assert!(is_image(Path::new("target/oci/rocbed-hub-0.1.0~git20261129.150301.6312b35-x86_64.oci.tar")));
        for other in ["rocbed-hub.oci.tar", "debian-x86_64.oci.tar", "rocbed-0.1.0-x86_64.tar.xz"] {
            assert!(!is_image(Path::new(other)), "{other}");
        }
    }

    #[test]
    fn versions_become_tags() {
        assert_eq!(tag("0.1.0"), "0.1.0");
        assert_eq!(tag("0.1.0~git20261129.150301.6312b35"), "0.1.0-git20261129.150301.6312b35");
    }
}
