//! iPXE for firmware that supports only PXE: from Debian's package `ipxe`, installed or fetched.

use std::fs;
use std::path::Path;

use advice::WithHelp as _;
use anyhow::{Context as _, Result};
use netboot::dnsmasq::{BIOS_LOADER, UEFI_LOADER};
use store::{Download, Fetcher};

use crate::archive;
use crate::cmdline::Source;
use crate::context::{Context, mirror};
use crate::image::memo;
use crate::image::root::package_file;
use crate::recipe;

/// Directory of the boot loaders in the package.
const HOME: &str = "usr/lib/ipxe";

/// The boot loaders, as bytes.
pub struct Loaders {
    /// For UEFI.
    pub uefi: Vec<u8>,
    /// For BIOS.
    pub bios: Vec<u8>,
}

impl Loaders {
    /// Both, by the names under which they are served.
    pub fn files(self) -> [(String, Vec<u8>); 2] {
        [(UEFI_LOADER.to_owned(), self.uefi), (BIOS_LOADER.to_owned(), self.bios)]
    }

    /// Writes both into a directory.
    pub fn write(&self, directory: &Path) -> Result<()> {
        fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
        for (name, bytes) in [(UEFI_LOADER, &self.uefi), (BIOS_LOADER, &self.bios)] {
            let path = directory.join(name);
            fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }
}

/// Finds the loaders: installed on this machine, in the cache, or in the archive, whose signature is checked as for a
/// build.
pub fn find(context: &Context, source: &Source) -> Result<Loaders> {
    let installed = |name: &str| fs::read(Path::new("/").join(HOME).join(name)).ok();
    if let (Some(uefi), Some(bios)) = (installed(UEFI_LOADER), installed(BIOS_LOADER)) {
        return Ok(Loaders { uefi, bios });
    }
    let fetcher = context.fetcher(source)?;
    let kept = |name: &str| memo::recall(fetcher.store(), &key(name), name);
    if let (Some(uefi), Some(bios)) = (kept(UEFI_LOADER)?, kept(BIOS_LOADER)?) {
        return Ok(Loaders { uefi, bios });
    }
    context.reporter.say("the package ipxe is not installed: fetching it from the archive, once");
    fetch(context, source, &fetcher).context("fetching iPXE").help("or install the package: apt install ipxe")
}

/// Key of a loader in the cache.
fn key(name: &str) -> String {
    format!("ipxe-{name}")
}

fn fetch(context: &Context, source: &Source, fetcher: &Fetcher) -> Result<Loaders> {
    let mut recipe = recipe::load_shipped("base").context("reading the shipped recipe base")?;
    recipe.archive.check_valid_until &= !source.ignore_valid_until;
    let mirror = mirror(&recipe, source);
    let archive = archive::open(&recipe.archive, &mirror, fetcher, &context.reporter)?;
    let package = archive.universe.candidates("ipxe").first().and_then(|id| archive.universe.get(*id));
    let package = package.context("there is no package ipxe in the archive")?;
    let digest = package.sha256()?;
    let download = Download {
        urls: vec![format!("{}/{}", mirror.url, archive::quote(package.filename()?))],
        size: Some(package.size()?),
        digest,
        label: format!("ipxe {}", package.version()),
    };
    let paths = fetcher.fetch_checked(&[download], &context.reporter)?;
    let deb = paths.first().context("the store has lost the package ipxe")?;
    let take = |name: &str| -> Result<Vec<u8>> {
        let bytes = package_file(deb, &format!("{HOME}/{name}"))?;
        let bytes = bytes.with_context(|| format!("the package ipxe has no {HOME}/{name}"))?;
        memo::remember(fetcher.store(), &key(name), name, &bytes)?;
        Ok(bytes)
    };
    Ok(Loaders { uefi: take(UEFI_LOADER)?, bios: take(BIOS_LOADER)? })
}
