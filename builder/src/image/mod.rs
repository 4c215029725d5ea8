//! Builds image files from a locked recipe, with one stage per module.
//!
//! [`root`] makes the configured root directory, [`tree`] the finished file tree, [`initramfs`] and [`disk`] what
//! boots it, [`manifest`] the description, and [`publish`] gives everything its final name.

mod alone;
mod apt;
mod boot_parts;
mod compressed;
mod content;
mod copy;
pub mod disk;
mod graft;
pub mod initramfs;
pub mod manifest;
pub(crate) mod memo;
pub mod modules;
mod output;
mod package_files;
pub mod programs;
pub mod publish;
pub mod reseal;
pub mod root;
pub mod root_image;
pub mod selected;
pub(crate) mod signed;
mod state;
pub mod tree;

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use advice::Advice;
use anyhow::{Context as _, Result, ensure};
use diskimage::{SectorSize, uki};
use fsimage::{FileTree, ext4};
use serde::Serialize;
use store::{Fetcher, Removal, Wait};
use verity::HashTree;

use crate::lock::Lock;
use crate::package_sources::PackageSources;
use crate::recipe::{KernelChoice, Recipe};
use crate::report::Reporter;
use boot_parts::BootRequest;
use compressed::{compress_disk, map_disk};
use manifest::ImageFile;
use modules::Kernel;
use output::guard;
pub use output::{IMAGE_FILES, default_output};
use package_files::PackageFiles;
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
    /// Where packages are fetched from.
    pub sources: PackageSources,
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
        recipe.kernel.choice != KernelChoice::None,
        Advice::new(
            format!("the recipe {} has no kernel, and an image needs one", recipe.name),
            "name one by kernel.flavour or kernel.package; `rocbed test` runs tests without"
        )
    );
    let wait = if options.wait { Wait::Forever } else { Wait::No };
    let _guard = guard(&options.output, recipe, wait, reporter)?;
    let mut clock = Clock::default();
    let epoch = source_date_epoch()?.unwrap_or(lock.date());
    let mut staging = Staging::begin(&options.output)?;
    let init = programs::init()?;

    reporter.stage("fetch", "fetching packages");
    // All of them, even if the root directory is cached: parts of the image come from packages outside of it.
    root::fetch(recipe, lock, fetcher, &options.sources, reporter)?;
    clock.lap("packages");

    let log = options.output.join(".dpkg.log");
    let wanted = root::RootRequest {
        recipe,
        lock,
        sources: &options.sources,
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
        let tree = tree::finish(&root, recipe, lock, &kernel, &parts.kept, epoch)?;
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
    // A kernel that cannot check the root would refuse to start with the word.
    let check = parts.can_verify.then(|| root_image.cmdline_word());
    let words: Vec<_> = check.into_iter().chain(recipe.kernel.cmdline.iter().cloned()).collect();
    let words = words.join(" ");
    staging.write("cmdline", format!("root=UUID={root_uuid} {words}\n").as_bytes())?;
    clock.lap("initramfs");

    let files = PackageFiles { lock, fetcher, sources: &options.sources, reporter };
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
    state::remember(&options.output, &identity, &root_image, disk_layout)?;
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
    // The salt is the file system's UUID, which follows from what it is made of: the same inputs have the same tree.
    let hash_tree = HashTree::new(options.uuid);
    let each = |offset, bytes: &[u8]| hash_tree.add(offset, bytes);
    let written = ext4::write_watched(tree, &file, 0, &options, reporter, &each).context("writing root.img")?;
    let (report, hasher) = written;
    let (behind, protection) = hash_tree.finish(report.size, options.uuid).context("making the root's hash tree")?;
    file.write_all_at(&behind, report.size).context("writing the hash tree into root.img")?;
    let sha256 = hasher.context("the file system writer gave no digest")?.chain(&behind).finish();
    let root = RootImage { sha256, size: report.size + behind.len() as u64, protection };
    staging.finished("root.img", root.size, root.sha256);
    Ok(root)
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
