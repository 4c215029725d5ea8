//! [`BootParts`]: the initramfs, and which modules the root keeps.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;
use fsimage::Content;
use progress::Progress as _;
use sha256::Digest;
use store::Store;

use super::modules::{Chooser, Kernel, Selection};
use super::{initramfs, memo, modules, programs, root};
use crate::lock::Lock;
use crate::recipe::{KernelChoice, Recipe};
use crate::report::Reporter;

/// Parts that depend on the kernel only, and not on what maintainer scripts do.
pub(super) struct BootParts {
    /// Modules kept in the root.
    pub(super) kept: Selection,
    /// Initramfs.
    pub(super) initrd: Vec<u8>,
    /// Archive that follows it for network boot.
    pub(super) netboot: Vec<u8>,
    /// Whether the kernel can check the root by its hash tree.
    pub(super) can_verify: bool,
}

/// The module that checks the root by its hash tree.
const VERITY: &str = "dm-verity";

/// What [`BootParts`] are made from, besides the root directory.
pub(super) struct BootRequest<'a> {
    pub(super) recipe: &'a Recipe,
    pub(super) lock: &'a Lock,
    /// The program `rocbed-init`.
    pub(super) init: &'a [u8],
    /// Timestamp for the content, in seconds since 1970.
    pub(super) epoch: i64,
    pub(super) store: &'a Store,
    /// Ignore what is cached.
    pub(super) fresh: bool,
    pub(super) reporter: &'a Reporter,
}

impl BootRequest<'_> {
    pub(super) fn parts(&self, root: &Path) -> Result<BootParts> {
        let kernel = Kernel::find(root, self.lock)?;
        let wanted = &self.recipe.kernel;
        let is_own = matches!(wanted.choice, KernelChoice::Package(_));
        let chooser = Chooser::new(&kernel, self.store, self.fresh, self.reporter).leaving_out_missing(is_own);
        let early = modules::initramfs_requests(&wanted.initramfs_modules);
        let early = chooser.choose(&early, "kernel.initramfs-modules")?;
        let network = modules::network_requests(&wanted.initramfs_modules);
        let network = chooser.choose(&network, "netboot-modules")?;
        let kept = chooser.choose(&wanted.modules, "kernel.modules")?;
        let archives = Archives { request: self, kernel: &kernel, root };
        let initrd = archives.initrd(&early)?;
        let (netboot, can_verify) = (archives.netboot(&network, &early.paths)?, chooser.has(VERITY)?);
        if !can_verify {
            self.reporter.warn(&format!(
                "the kernel {} has no {VERITY}: the image starts without a check of its root's blocks",
                kernel.version
            ));
        }
        Ok(BootParts { kept, initrd, netboot, can_verify })
    }
}

/// Inputs for the archives of the initramfs.
struct Archives<'a> {
    request: &'a BootRequest<'a>,
    kernel: &'a Kernel,
    root: &'a Path,
}

impl Archives<'_> {
    /// The settings and the large archive.
    fn initrd(&self, modules: &Selection) -> Result<Vec<u8>> {
        let BootRequest { recipe, init, epoch, .. } = *self.request;
        let mut initrd = initramfs::settings(&recipe.name, &recipe.settings, epoch)?;
        let content = Content::from(init.to_vec());
        let none = BTreeSet::new();
        let parts = initramfs::Parts { init: Some(content), ..self.parts(modules, &none) };
        initrd.extend(self.cached("initramfs", &Digest::of(init).to_string(), &parts)?);
        Ok(initrd)
    }

    /// The archive with network drivers, which follows the initramfs.
    fn netboot(&self, modules: &Selection, besides: &BTreeSet<String>) -> Result<Vec<u8>> {
        let firmware = self.root.join("usr/lib/firmware");
        let parts = initramfs::Parts { firmware: Some(&firmware), ..self.parts(modules, besides) };
        // Firmware comes from packages of the root.
        let what = root::content_key(self.request.recipe, self.request.lock).to_string();
        self.cached("netboot", &what, &parts)
    }

    fn parts<'b>(&'b self, modules: &'b Selection, besides: &'b BTreeSet<String>) -> initramfs::Parts<'b> {
        let (kernel, directory) = (self.kernel.version.as_str(), self.kernel.directory.as_path());
        let epoch = self.request.epoch;
        initramfs::Parts { init: None, kernel, modules, besides, firmware: None, directory, epoch }
    }

    /// Returns an archive from the cache, or makes it. The cache holds one of a kind for each recipe.
    fn cached(&self, kind: &str, made_of: &str, parts: &initramfs::Parts) -> Result<Vec<u8>> {
        let BootRequest { recipe, epoch, store, fresh, .. } = *self.request;
        let paths: Vec<&str> = parts.modules.paths.iter().map(String::as_str).collect();
        let identity = &self.kernel.identity;
        let what = format!("{}\n{made_of}\n{identity}\n{}\n{}", programs::stamp()?, epoch, paths.join("\n"));
        let name = format!("{kind}-of-{}", recipe.key());
        if !fresh && let Some(archive) = memo::recall(store, &name, &what)? {
            return Ok(archive);
        }
        let archive = initramfs::compressed(&initramfs::tree(parts)?)?;
        memo::remember(store, &name, &what, &archive)?;
        Ok(archive)
    }
}
