//! `rocbed oci`: writes a container image of a recipe's root directory.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;

use advice::AtPath as _;
use anyhow::{Context as _, Result};
use fsimage::{FileTree, Timestamp};
use oci::{Compression, Image, Layer};

use super::print;
use crate::cmdline::Oci;
use crate::context::Context;
use crate::image::selected::Selected;
use crate::image::{root, tree};
use crate::locking::{self, Relock};
use crate::package_sources::PackageSources;
use crate::{image, recipe};

pub fn run(context: &Context, options: &Oci) -> Result<()> {
    // Before any thread starts: for an unprivileged caller this process is run again as root of a user namespace.
    rootfs::sandbox::become_root()?;
    let recipe = recipe::load(&options.recipe)?;
    let config = fs::read(&options.config).at_path("reading", &options.config)?;
    let config = serde_json::from_slice(&config).with_context(|| format!("reading {}", options.config.display()))?;
    let found = locking::find(&recipe, &options.source)?;
    let fetcher = context.fetcher(&options.source)?;
    let sources = PackageSources::of(&recipe, &options.source)?;
    let lock = locking::current(context, &recipe, &sources, &found, &fetcher, Relock::Never)?.lock;
    let log = context.cache_directory()?.join(format!("{}.log", recipe.key()));
    let wanted =
        root::RootRequest { recipe: &recipe, lock: &lock, sources: &sources, fresh: false, check: true, log: &log };
    let (mut root, ()) = root::obtain(&wanted, &fetcher, &context.reporter, |_| Ok(()))?;
    if let Some(old) = root.old.take() {
        old.remove()?;
    }

    context.reporter.stage("layers", "writing layers");
    let only = if options.only.is_empty() { Selected::All } else { Selected::These(options.only.clone()) };
    let base = tree::of_container(&root, &recipe, &lock, &only, lock.date())?;
    let created = image::source_date_epoch()?.unwrap_or(lock.date());
    let compression = if options.quick { Compression::fast() } else { Compression::default() };
    let directory = options.output.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let layer = |tree: &FileTree, what: &str| Layer::write(tree, what, compression, directory);
    let what = format!("packages of Debian {} of {}", lock.archive.suite, jiff::Timestamp::from_second(lock.date())?);
    let mut layers = vec![layer(&base, &what)?];
    if let Some(files) = &options.files {
        layers.push(layer(&owned_by_root(files, created)?, &format!("files of {}", options.name))?);
    }
    let image = Image { name: options.name.clone(), config, layers, created };
    let digest = write(&image, &options.output)?;
    print(&format!("{} {digest}\n", options.name))
}

/// The files below a directory, owned by root, all of one time, for everybody to read.
fn owned_by_root(directory: &Path, time: i64) -> Result<FileTree> {
    let mut tree = fsimage::scan(directory).with_context(|| format!("reading {}", directory.display()))?;
    let paths: Vec<Vec<u8>> = tree.iter().map(|(path, _)| path.to_vec()).collect();
    for path in paths {
        if let Some(node) = tree.get_mut(&path) {
            let is_directory = node.is_directory();
            let metadata = &mut node.metadata;
            (metadata.uid, metadata.gid) = (0, 0);
            metadata.mtime = Timestamp::from_seconds(time);
            // Directories have the caller's umask.
            metadata.mode = if is_directory || metadata.mode & 0o100 != 0 { 0o755 } else { 0o644 };
            metadata.xattrs.clear();
        }
    }
    Ok(tree)
}

/// Writes the image; it has its name once it is whole.
fn write(image: &Image, path: &Path) -> Result<oci::Digest> {
    let partial = path.with_extension("partial");
    let written = File::create(&partial)
        .with_context(|| format!("making {}", partial.display()))
        .and_then(|file| Ok(image.write(BufWriter::new(file))?))
        .and_then(|digest| fs::rename(&partial, path).context("naming the image").map(|()| digest));
    written.inspect_err(|_| {
        // Best effort: the error that matters is the one returned.
        let _ = fs::remove_file(&partial);
    })
}
