//! Builds image files from a locked recipe, with one stage per module.
//!
//! [`root`] makes the configured root directory, [`tree`] the finished file tree, [`initramfs`] and [`disk`] what
//! boots it, [`manifest`] the description, and [`publish`] gives everything its final name.

mod alone;
mod copy;
pub mod disk;
mod graft;
pub mod initramfs;
pub mod manifest;
pub(crate) mod memo;
pub mod modules;
pub mod programs;
pub mod publish;
pub mod reseal;
pub mod root;
pub mod root_image;
pub mod selected;
pub(crate) mod signed;
mod state;
pub mod tree;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use advice::{Advice, WithHelp as _};
use anyhow::{Context as _, Result, ensure};
use diskimage::blockmap::BlockMap;
use diskimage::{SectorSize, compress, uki};
use fsimage::{Content, FileTree, ext4};
use serde::Serialize;
use sha256::Digest;
use store::{Fetcher, Lock as FileLock, Removal, Store, Wait};

use crate::lock::Lock;
use crate::mirror::Mirror;
use crate::recipe::Recipe;
use crate::report::Reporter;
use manifest::ImageFile;
use modules::{Chooser, Kernel, Selection};
use publish::Staging;
use root_image::RootImage;

/// Path of the stub in its package.
const STUB: &str = "usr/lib/systemd/boot/efi/linuxx64.efi.stub";

/// Files that only some builds make; a build that does not make them removes those of an earlier one.
const OPTIONAL: [&str; 2] = ["disk.img.zst", "disk.img.bmap"];

/// Description of the image and the digests of its files.
const MANIFEST: &str = "manifest.json";

/// Options of a build.
pub struct BuildOptions {
    /// Output directory.
    pub output: PathBuf,
    /// Mirror to fetch packages from.
    pub mirror: Mirror,
    /// Also write the compressed disk and its block map.
    pub compress: bool,
    /// Logical sector size of the disk.
    pub sector_size: SectorSize,
    /// Ignore a cached root directory.
    pub fresh: bool,
    /// Use a cached root directory only after comparing all of it with its digest.
    pub check: bool,
    /// Wait for another build that uses the same output directory.
    pub wait: bool,
}

/// Result of a build.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Built {
    /// Output directory.
    pub directory: PathBuf,
    /// Image files, by name.
    pub files: Vec<ImageFile>,
    /// Partition UUID of the root.
    pub root_partition: String,
    /// Kernel version.
    pub kernel: String,
    /// Number of packages installed in the root.
    pub packages: usize,
    /// Whether the configured root directory came from the cache.
    pub root_cached: bool,
    /// Duration of each stage in seconds.
    pub seconds: Vec<(&'static str, f64)>,
}

/// Builds an image.
pub fn run(
    recipe: &Recipe,
    lock: &Lock,
    options: &BuildOptions,
    fetcher: &Fetcher,
    reporter: &Reporter,
) -> Result<Built> {
    ensure!(
        recipe.kernel.flavour.is_some(),
        Advice::new(
            format!("the recipe {} has no kernel, and an image needs one", recipe.name),
            "name one by kernel.flavour; `rocbed test` runs tests without"
        )
    );
    let _guard = guard(recipe, options, reporter)?;
    let mut clock = Clock::default();
    let epoch = source_date_epoch()?.unwrap_or(lock.archive.date);
    let mut staging = Staging::begin(&options.output)?;
    let init = programs::init()?;

    reporter.stage("fetch", "fetching packages");
    // All of them, even if the root directory is cached: parts of the image come from packages outside of it.
    root::fetch(recipe, lock, fetcher, &options.mirror, reporter)?;
    clock.lap("packages");

    let log = options.output.join(".dpkg.log");
    let wanted = root::RootRequest {
        recipe,
        lock,
        mirror: &options.mirror,
        fresh: options.fresh,
        check: options.check,
        log: &log,
    };
    let store = fetcher.store();
    let request = BootRequest { recipe, lock, init: &init, epoch, store, fresh: options.fresh, reporter };
    let (mut root, parts) = root::obtain(&wanted, fetcher, reporter, |root| request.parts(root))?;
    let kernel = Kernel::find(&root.path, lock)?;
    let removal = root.old.take().map(|old| thread::spawn(|| old.remove()));
    clock.lap("root directory");

    let identity = tree::identity(recipe, lock, epoch);
    let root_uuid = diskimage::Guid::from_digest(&identity, "rocbed root file system");
    let unchanged = if options.fresh { None } else { state::unchanged(&staging, &identity)? };
    let root_image = if let Some(state::Unchanged { image, .. }) = unchanged {
        reporter.detail("root.img: nothing in it changes, it stays");
        staging.keep("root.img", image.size, image.sha256);
        image
    } else {
        reporter.stage("finish", "finishing the file tree");
        let tree = tree::finish(&root, recipe, &kernel, &parts.kept, epoch)?;
        clock.lap("file tree");
        reporter.stage("write_root", "writing root.img");
        write_root(&tree, recipe, epoch, root_uuid, &mut staging, reporter)?
    };
    clock.lap("root.img");

    reporter.stage("write_boot", "writing kernel, initramfs and uki.efi");
    staging.write("netboot.img", &parts.netboot)?;
    let initrd = parts.initrd;
    staging.write("initrd.img", &initrd)?;
    let vmlinuz = read(&kernel.image)?;
    staging.write("vmlinuz", &vmlinuz)?;
    let words = recipe.kernel.cmdline.join(" ");
    staging.write("cmdline", format!("root=UUID={root_uuid} {words}\n").as_bytes())?;
    clock.lap("initramfs");

    let files = PackageFiles { recipe, lock, fetcher, mirror: &options.mirror, reporter };
    let stub = files.read(&recipe.image.stub_package, STUB, "uki-stub")?;
    let os_release = read(&root.path.join("usr/lib/os-release"))?;
    let cmdline = format!("root=PARTUUID={} {words}", root_image.partition());
    let programs = if recipe.image.secure_boot {
        Some(signed::Programs::obtain(&files, &kernel.version, &vmlinuz, &os_release, &cmdline)?)
    } else {
        None
    };
    let parts = uki::Parts {
        os_release: os_release.into(),
        cmdline,
        uname: Some(kernel.version.clone()),
        splash: None,
        kernel: vmlinuz.into(),
        initrd: initrd.into(),
        sbat: None,
    };
    disk::write_uki(&stub, &parts, &mut staging)?;
    clock.lap("uki.efi");

    reporter.stage("write_disk", "writing disk.img");
    let wanted = disk::DiskRequest {
        root: root_image,
        unchanged,
        whole: options.compress,
        signed: programs.as_ref(),
        image: &recipe.image,
        sector_size: options.sector_size,
        epoch,
    };
    let disk_layout = disk::write_disk(&wanted, &mut staging, reporter)?;
    clock.lap("disk.img");
    if options.compress {
        reporter.stage("compress", "compressing disk.img");
        map_disk(&mut staging, "disk.img", reporter)?;
        compress_disk(&mut staging, "disk.img", reporter)?;
        clock.lap("compressing");
    }

    reporter.stage("publish", "waiting for the disk");
    let manifest = manifest::document(&recipe.name, lock, &init, &staging.files());
    staging.write(MANIFEST, manifest.as_bytes())?;
    let files = staging.publish(&OPTIONAL)?;
    state::remember(&options.output, &identity, &files, disk_layout)?;
    clock.lap("waiting for the disk");
    if let Some(removal) = removal {
        if removal.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))? == Removal::InUse {
            reporter.say("the old root directory is in use: a later build removes it");
        }
        clock.lap("removing the old root directory");
    }
    Ok(Built {
        directory: options.output.clone(),
        files,
        root_partition: root_image.partition().to_string(),
        kernel: kernel.version,
        packages: lock.root_packages().count(),
        root_cached: root.cached,
        seconds: clock.laps,
    })
}

/// Names of an image's files. A build replaces files of these names.
pub const IMAGE_FILES: [&str; 10] = [
    "disk.img",
    "disk.img.zst",
    "disk.img.bmap",
    "root.img",
    "uki.efi",
    "vmlinuz",
    "initrd.img",
    "netboot.img",
    "cmdline",
    "manifest.json",
];

/// Refuses a directory that has files of these names but was not written by a build: they would be replaced.
fn refuse_others(directory: &Path) -> Result<()> {
    let has = |name: &str| directory.join(name).symlink_metadata().is_ok();
    if has(LOCK) || has(publish::SUMS) {
        return Ok(());
    }
    let found: Vec<&str> = IMAGE_FILES.into_iter().filter(|name| has(name)).collect();
    ensure!(
        found.is_empty(),
        Advice::new(
            format!(
                "{} holds no image of rocbed's, and a build would replace what is there: {}",
                directory.display(),
                found.join(", ")
            ),
            "give a directory of its own with --output, or move these files away"
        )
    );
    Ok(())
}

/// Lock file of an image directory. Its presence also marks a directory as an image directory.
const LOCK: &str = ".lock";

/// Takes the lock on the output directory: one build at a time.
fn guard(recipe: &Recipe, options: &BuildOptions, reporter: &Reporter) -> Result<FileLock> {
    refuse_others(&options.output)?;
    fs::create_dir_all(&options.output).with_context(|| format!("making {}", options.output.display()))?;
    let wait = if options.wait { Wait::Forever } else { Wait::No };
    let path = options.output.join(LOCK);
    let lock = FileLock::acquire(&path, &format!("building {}", recipe.name), wait, reporter);
    lock.context("another build into this directory is running")
        .help("--wait waits for its end, --output names another directory")
}

/// Timestamp for the build's content: `SOURCE_DATE_EPOCH` of reproducible-builds.org, in seconds since 1970.
pub(crate) fn source_date_epoch() -> Result<Option<i64>> {
    match std::env::var_os("SOURCE_DATE_EPOCH") {
        Some(text) => {
            let text = text.to_string_lossy();
            let complaint = || format!("SOURCE_DATE_EPOCH={text:?} is not a number of seconds since 1970");
            let seconds: i64 = text.parse().with_context(complaint)?;
            ensure!((0..=u32::MAX.into()).contains(&seconds), complaint());
            Ok(Some(seconds))
        }
        None => Ok(None),
    }
}

/// Parts that depend on the kernel only, and not on what maintainer scripts do.
struct BootParts {
    /// Modules kept in the root.
    kept: Selection,
    /// Initramfs.
    initrd: Vec<u8>,
    /// Archive that follows it for network boot.
    netboot: Vec<u8>,
}

/// What [`BootParts`] are made from, besides the root directory.
struct BootRequest<'a> {
    recipe: &'a Recipe,
    lock: &'a Lock,
    /// The program `rocbed-init`.
    init: &'a [u8],
    /// Timestamp for the content, in seconds since 1970.
    epoch: i64,
    store: &'a Store,
    /// Ignore what is cached.
    fresh: bool,
    reporter: &'a Reporter,
}

impl BootRequest<'_> {
    fn parts(&self, root: &Path) -> Result<BootParts> {
        let kernel = Kernel::find(root, self.lock)?;
        let wanted = &self.recipe.kernel;
        let chooser = Chooser::new(&kernel, self.store, self.fresh, self.reporter);
        let early = modules::initramfs_requests(&wanted.initramfs_modules);
        let early = chooser.choose(&early, "kernel.initramfs-modules")?;
        let network = modules::network_requests(&wanted.initramfs_modules);
        let network = chooser.choose(&network, "netboot-modules")?;
        let kept = chooser.choose(&wanted.modules, "kernel.modules")?;
        let archives = Archives { request: self, kernel: &kernel, root };
        let initrd = archives.initrd(&early)?;
        Ok(BootParts { kept, initrd, netboot: archives.netboot(&network, &early.paths)? })
    }
}

fn write_root(
    tree: &FileTree,
    recipe: &Recipe,
    epoch: i64,
    uuid: diskimage::Guid,
    staging: &mut Staging,
    reporter: &Reporter,
) -> Result<RootImage> {
    let file = staging.create("root.img")?;
    let mut options = ext4::Ext4Options::new(uuid.to_bytes(), epoch as u64);
    options.size = ext4::Size::ExactFit { reserve: recipe.image.root_free };
    options.label = "rocbed-root".into();
    options.digest = true;
    let report = ext4::write(tree, &file, 0, &options, reporter).context("writing root.img")?;
    let sha256 = report.sha256.context("the file system writer gave no digest")?;
    let root = RootImage { sha256, size: report.size };
    staging.finished("root.img", root.size, root.sha256);
    Ok(root)
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

/// Reads single files of packages that are not installed in the root.
struct PackageFiles<'a> {
    recipe: &'a Recipe,
    lock: &'a Lock,
    fetcher: &'a Fetcher,
    mirror: &'a Mirror,
    reporter: &'a Reporter,
}

impl PackageFiles<'_> {
    /// The file at `path` of a locked package. It is kept in the cache under the name `kept`: finding a file in a
    /// package takes a tenth of a second.
    fn read(&self, name: &str, path: &str, kept: &str) -> Result<Vec<u8>> {
        let Self { recipe, lock, fetcher, mirror, reporter } = *self;
        let store = fetcher.store();
        let package = lock
            .package(name)
            .with_context(|| format!("{name} is not in the lock"))
            .help("run `rocbed lock --update`")?;
        let question = package.sha256.to_string();
        if let Some(bytes) = memo::recall(store, kept, &question)? {
            return Ok(bytes);
        }
        let wanted =
            root::downloads(std::iter::once(package), &mirror.url, &recipe.archive.snapshot, lock.archive.date);
        fetcher.fetch_checked(&wanted, reporter).with_context(|| format!("fetching {name}"))?;
        let bytes = root::package_file(&store.path(&package.sha256), path)?;
        let bytes = bytes.with_context(|| format!("{name} {} has no /{path}", package.version))?;
        memo::remember(store, kept, &question, &bytes)?;
        Ok(bytes)
    }
}

/// Writes the block map of a finished disk.
fn map_disk(staging: &mut Staging, name: &str, reporter: &Reporter) -> Result<()> {
    let source = staging.current(name);
    let disk = fs::File::open(&source).with_context(|| format!("opening {}", source.display()))?;
    let map = BlockMap::of(&disk, reporter).with_context(|| format!("mapping the blocks of {name}"))?;
    staging.write(&format!("{name}.bmap"), map.to_xml().as_bytes())
}

/// Compresses a finished disk.
fn compress_disk(staging: &mut Staging, name: &str, reporter: &Reporter) -> Result<()> {
    let (source, compressed) = (staging.current(name), format!("{name}.zst"));
    let disk = fs::File::open(&source).with_context(|| format!("opening {}", source.display()))?;
    let target = staging.create(&compressed)?;
    let options = compress::CompressOptions::default();
    compress::compress(&disk, &target, options, reporter).with_context(|| format!("compressing {name}"))?;
    let size = target.metadata().with_context(|| format!("examining {compressed}"))?.len();
    let sha256 = diskimage::sparse::sha256(&target).with_context(|| format!("hashing {compressed}"))?;
    staging.finished(&compressed, size, sha256);
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}

/// Measures the duration of each stage.
struct Clock {
    last: Instant,
    laps: Vec<(&'static str, f64)>,
}

impl Default for Clock {
    fn default() -> Self {
        Self { last: Instant::now(), laps: Vec::new() }
    }
}

impl Clock {
    fn lap(&mut self, stage: &'static str) {
        let now = Instant::now();
        let took: Duration = now - self.last;
        self.laps.push((stage, took.as_secs_f64()));
        self.last = now;
    }
}

/// The default output directory.
pub fn default_output(recipe: &Recipe) -> PathBuf {
    Path::new("images").join(&recipe.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_image_directories_are_built_into() -> Result<()> {
        let directory = tempfile::tempdir()?;
        refuse_others(&directory.path().join("new"))?;
        fs::write(directory.path().join("notes"), "")?;
        refuse_others(directory.path())?;
        fs::write(directory.path().join("vmlinuz"), "somebody's kernel")?;
        let refused = refuse_others(directory.path()).map_err(|error| crate::error::report(&error).to_string());
        assert!(
            refused.is_err_and(|text| text.contains("replace what is there: vmlinuz\n") && text.contains("--output"))
        );
        // The remains of an interrupted build, and the files it had finished.
        for ours in [LOCK, publish::SUMS] {
            fs::write(directory.path().join(ours), "")?;
            refuse_others(directory.path())?;
            fs::remove_file(directory.path().join(ours))?;
        }
        Ok(())
    }
}
