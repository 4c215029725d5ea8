//! The configured root directory: from the cache, or made from the locked packages.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use advice::{Help, WithHelp as _};
use anyhow::{Context as _, Result};
use debian::deb::{Deb, EntryKind};
use fsimage::Timestamp;
use progress::Progress as _;
use rootfs::{Device, Package, Spec};
use sha256::Digest;
use store::fetch::Failure;
use store::{Condition, FetchError, Fetcher, PendingRemoval, Store, Tree};

use super::memo;
use super::modules::KERNEL_PACKAGES;
use crate::architecture::ARCHITECTURE;
use crate::lock::{Lock, LockedPackage};
use crate::mirror::NAME_ANOTHER;
use crate::package_sources::PackageSources;
use crate::recipe::Recipe;
use crate::report::Reporter;

/// Format version; raised whenever the same packages would become another directory.
const FORMAT: u32 = 3;

/// Programs that packages' scripts do not run. The build writes the indexes for the modules that the image keeps; depmod would take
/// seconds for all of them. Initramfs generators are there only because some kernels depend on one.
const STUBBED_PROGRAMS: [&str; 5] = ["depmod", "update-initramfs", "dracut", "mktirfs", "update-tirfs"];

/// What is said when a root directory cannot be made.
const MAKING: &str = "making the root directory";

/// Cache key of the recipe's root directory: its inputs, and the host ids that own its files.
pub fn key(recipe: &Recipe, lock: &Lock) -> Digest {
    Digest::of(format!("{}\nids {}\n", content_key(recipe, lock), id_mapping()).as_bytes())
}

/// Digest of the inputs of the recipe's root directory. Equal digests mean equal files.
pub fn content_key(recipe: &Recipe, lock: &Lock) -> Digest {
    let mut text = format!("root {FORMAT} {}\ndate {}\n", env!("CARGO_PKG_VERSION"), lock.date());
    for package in lock.root_packages() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "package {} {}", package.sha256, package.essential);
    }
    for line in &recipe.packages.preseed {
        let _ = writeln!(text, "preseed {line}");
    }
    Digest::of(text.as_bytes())
}

/// The host ids that the directory's files belong to: a directory made under one mapping reads wrong under another.
fn id_mapping() -> String {
    let maps = ["/proc/self/uid_map", "/proc/self/gid_map"];
    let words = maps.iter().map(|path| fs::read_to_string(path).unwrap_or_default());
    words.flat_map(|map| map.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect::<Vec<_>>().join(" ")
}

/// A configured root directory.
pub struct Root {
    /// Path of the directory.
    pub path: PathBuf,
    /// Device nodes that packages ship and that the directory cannot hold.
    pub devices: Vec<Device>,
    /// Whether it came from the cache.
    pub cached: bool,
    /// The previous directory that it replaced; to be removed.
    pub old: Option<PendingRemoval>,
    /// Keeps the directory from being removed while in use.
    _in_use: Tree,
}

/// Makes sure that every locked package's .deb is in the store, fetching what is missing.
pub fn fetch(
    recipe: &Recipe,
    lock: &Lock,
    fetcher: &Fetcher,
    sources: &PackageSources,
    reporter: &Reporter,
) -> Result<Debs> {
    let wanted = sources.downloads(lock.packages.iter(), lock, |package| is_stored(fetcher, package))?;
    let paths = fetcher.fetch_all(&wanted, reporter).map_err(|error| {
        let gone = matches!(&error, FetchError::Failed { failures, .. } if failures.iter().any(Failure::is_not_found));
        let newer = gone.then(|| {
            format!(
                "the mirror may have newer versions of these packages: `rocbed lock --update {}` locks what it has now",
                recipe.asked()
            )
        });
        anyhow::Error::new(error)
            .context(format!("fetching the packages; {}", sources.told()))
            .help(newer)
            .help(NAME_ANOTHER)
    })?;
    Ok(lock.packages.iter().map(|package| package.name.clone()).zip(paths).collect())
}

/// Whether the store has a package's .deb.
pub fn is_stored(fetcher: &Fetcher, package: &LockedPackage) -> Result<bool> {
    Ok(fetcher.store().has(&package.sha256, Some(package.size))?)
}

/// Paths of .deb files, by package name.
pub type Debs = HashMap<String, PathBuf>;

/// Inputs and options for a root directory.
pub struct RootRequest<'a> {
    /// The recipe.
    pub recipe: &'a Recipe,
    /// The recipe's lock.
    pub lock: &'a Lock,
    /// Where packages are fetched from.
    pub sources: &'a PackageSources,
    /// Make it anew even if one is cached.
    pub fresh: bool,
    /// Read all of a cached one, and use it only if it matches its digest.
    pub check: bool,
    /// Log file for dpkg's output.
    pub log: &'a Path,
}

/// The root directory for a lock, and the result of `beside` for its kernel. Unpacking uses all processors and
/// configuring only one, so `beside` runs during the latter.
///
/// Packages are fetched where they are needed. A stored package that does not match its digest is removed and fetched
/// again, and the root directory is begun anew.
pub fn obtain<T: Send>(
    wanted: &RootRequest,
    fetcher: &Fetcher,
    reporter: &Reporter,
    beside: impl Fn(&Path) -> Result<T> + Send + Sync,
) -> Result<(Root, T)> {
    let RootRequest { recipe, lock, sources, fresh, check, .. } = *wanted;
    let store = fetcher.store();
    let key = key(recipe, lock);
    reporter.stage("unpack", "unpacking packages into a root directory");
    if !fresh && let Some((tree, devices)) = cached(store, &key, check, reporter)? {
        let path = tree.path().to_owned();
        reporter.detail(&format!("root directory from the cache: {}", path.display()));
        let made = beside(&path)?;
        return Ok((Root { devices, path, cached: true, old: None, _in_use: tree }, made));
    }
    let mut fetched_anew = false;
    loop {
        let debs = fetch(recipe, lock, fetcher, sources, reporter)?;
        let error = match make(wanted, &debs, &key, store, reporter, &beside) {
            Err(error) if !fetched_anew => error,
            done => return done,
        };
        let Some(rootfs::Error::Damaged(files)) = advice::find(&error) else { return Err(error) };
        for file in files {
            reporter.warn(&format!("the stored file of {} is damaged; fetching it anew", file.package));
            store.remove(&file.sha256)?;
        }
        fetched_anew = true;
    }
}

/// The cached root directory and its device nodes, if both are there; with `check`, only if it matches its digest.
fn cached(store: &Store, key: &Digest, check: bool, reporter: &Reporter) -> Result<Option<(Tree, Vec<Device>)>> {
    let Some(tree) = store.tree(key)? else { return Ok(None) };
    let Some(devices) = devices(store, key)? else { return Ok(None) };
    if check {
        let began = Instant::now();
        let what = match tree.condition().context("checking the cached root directory")? {
            Condition::Whole => {
                reporter.detail(&format!("cached root directory checked in {:.2} s", began.elapsed().as_secs_f64()));
                return Ok(Some((tree, devices)));
            }
            Condition::Damaged(_) => "is not what it was when it was made",
            Condition::Unknown => "was stored without a digest",
        };
        reporter.warn(&format!("the cached root directory {what}; making it anew"));
        return Ok(None);
    }
    Ok(Some((tree, devices)))
}

/// Makes the root directory from packages, replacing an existing one.
fn make<T: Send>(
    wanted: &RootRequest,
    debs: &Debs,
    key: &Digest,
    store: &Store,
    reporter: &Reporter,
    beside: &(impl Fn(&Path) -> Result<T> + Send + Sync),
) -> Result<(Root, T)> {
    let RootRequest { recipe, lock, log, .. } = *wanted;
    let builder = store.new_tree(key, &format!("root directory of {}", recipe.name))?;
    let root = builder.path();
    if log.exists() {
        fs::remove_file(log).with_context(|| format!("removing {}", log.display()))?;
    }
    let mut preseeds = recipe.packages.preseed.join("\n");
    if !preseeds.is_empty() {
        preseeds.push('\n');
    }
    let spec = Spec {
        packages: lock.root_packages().map(|package| spec_package(package, debs)).collect::<Result<_>>()?,
        architecture: ARCHITECTURE.to_owned(),
        preseeds,
        epoch: lock.date(),
        threads: None,
        stubbed_programs: STUBBED_PROGRAMS.map(ToOwned::to_owned).to_vec(),
        log: log.to_owned(),
    };
    let began = Instant::now();
    // It has not run yet if the packages could not even be unpacked.
    let said = || {
        if log.exists() {
            Help::from(format!("everything that dpkg said is in {}", log.display()))
        } else {
            Help::none()
        }
    };
    let unpacked = rootfs::unpack_packages(&spec, &root, reporter).context(MAKING).with_help(said)?;
    reporter.stage("configure", "configuring packages");
    // So far no package of the kernel has had a preinst. If one gets one, its files appear only when dpkg unpacks it.
    let now = !unpacked.left_to_dpkg().iter().any(|name| name.starts_with(KERNEL_PACKAGES));
    let (report, made) = thread::scope(|scope| {
        let made = now.then(|| scope.spawn(|| beside(&root)));
        let report = unpacked.configure(reporter);
        (report, made.map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))))
    });
    let report = report.context(MAKING).with_help(said)?;
    reporter.detail(&format!(
        "root directory: reading {:.1} s, unpacking {:.1} s, dpkg's database {:.1} s, configuring {:.1} s, in all {:.1} s",
        report.reading.as_secs_f64(),
        report.unpacking.as_secs_f64(),
        report.database.as_secs_f64(),
        report.configuring.as_secs_f64(),
        began.elapsed().as_secs_f64(),
    ));
    set_devices(store, key, &report.devices)?;
    let size = lock.root_packages().map(|package| package.installed_size).sum();
    // Replaces an existing one, which was rejected above.
    let (tree, old) = builder.replace(size)?;
    let path = tree.path().to_owned();
    let made = match made {
        Some(made) => made?,
        None => beside(&path)?,
    };
    Ok((Root { path, devices: report.devices, cached: false, old, _in_use: tree }, made))
}

fn spec_package(package: &LockedPackage, debs: &Debs) -> Result<Package> {
    let path = debs.get(package.name.as_str()).with_context(|| format!("{} is locked twice", package.name))?;
    Ok(Package {
        name: package.name.clone(),
        version: package.version.clone(),
        architecture: package.architecture.clone(),
        path: path.clone(),
        sha256: Some(package.sha256),
        essential: package.essential,
    })
}

/// Memo question under which the list of device nodes is stored.
const DEVICES: &str = "device nodes, a line each";

/// Stores the device nodes beside the cached directory, because a user namespace cannot create them in it.
fn set_devices(store: &Store, key: &Digest, devices: &[Device]) -> Result<()> {
    let lines: Vec<String> = devices.iter().map(device_line).collect::<Result<_>>()?;
    memo::remember(store, &format!("devices-{key}"), DEVICES, lines.join("\n").as_bytes())
}

fn device_line(device: &Device) -> Result<String> {
    use fsimage::NodeKind::{BlockDevice, CharDevice};
    let (kind, major, minor) = match device.node.kind {
        CharDevice { major, minor } => ('c', major, minor),
        BlockDevice { major, minor } => ('b', major, minor),
        _ => anyhow::bail!("{} is not a device node", String::from_utf8_lossy(&device.path)),
    };
    let metadata = &device.node.metadata;
    let (mode, uid, gid, time) = (metadata.mode, metadata.uid, metadata.gid, metadata.mtime.seconds);
    Ok(format!("{kind} {major} {minor} {mode} {uid} {gid} {time} {}", hex::encode(&device.path)))
}

/// `None` if the list is missing or damaged: then the directory is incomplete, and is made anew.
fn devices(store: &Store, key: &Digest) -> Result<Option<Vec<Device>>> {
    let Some(bytes) = memo::recall(store, &format!("devices-{key}"), DEVICES)? else { return Ok(None) };
    let lines = String::from_utf8(bytes).ok();
    Ok(lines.and_then(|lines| lines.lines().map(|line| read_device(line).ok()).collect()))
}

fn read_device(line: &str) -> Result<Device> {
    use fsimage::{Metadata, Node, NodeKind};
    let words: Vec<&str> = line.split(' ').collect();
    let [kind, major, minor, mode, uid, gid, time, path] = words.as_slice() else { anyhow::bail!("not eight words") };
    let (major, minor) = (major.parse()?, minor.parse()?);
    let kind = match *kind {
        "c" => NodeKind::CharDevice { major, minor },
        "b" => NodeKind::BlockDevice { major, minor },
        _ => anyhow::bail!("neither a character nor a block device"),
    };
    let mut metadata = Metadata::root(mode.parse()?, Timestamp::from_seconds(time.parse()?));
    (metadata.uid, metadata.gid) = (uid.parse()?, gid.parse()?);
    Ok(Device { path: hex::decode(path)?, node: Node { kind, metadata } })
}

/// The content of one regular file in a .deb, by its path without leading slash; `None` if the package has no such
/// file.
pub fn package_file(deb: &Path, wanted: &str) -> Result<Option<Vec<u8>>> {
    let context = || format!("reading {wanted} in {}", deb.display());
    let mut file = File::open(deb).with_context(context)?;
    let control = Deb::read(&mut file).with_context(context)?;
    let mut entries = control.data(file).with_context(context)?;
    while let Some(entry) = entries.next_entry().with_context(context)? {
        if entry.path == wanted.as_bytes() && entry.kind == EntryKind::File {
            let mut bytes = Vec::new();
            entries.read_to_end(&mut bytes).with_context(context)?;
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_nodes_that_are_damaged_are_not_there() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let store = Store::open(directory.path())?;
        let key = Digest::of(b"root");
        assert!(devices(&store, &key)?.is_none());
        set_devices(&store, &key, &[read_device("c 1 3 438 0 5 1793347681 6465762f6e756c6c")?])?;
        assert_eq!(devices(&store, &key)?.map(|devices| devices.len()), Some(1));
        let file = directory.path().join(format!("meta/devices-{key}"));
        let mut bytes = fs::read(&file)?;
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&file, bytes)?;
        assert!(devices(&store, &key)?.is_none());
        for text in [&b"not a device"[..], b"\xff"] {
            store.set_meta(&format!("devices-{key}"), text)?;
            assert!(devices(&store, &key)?.is_none());
        }
        Ok(())
    }

    #[test]
    fn device_nodes_survive_the_cache() {
        let line = "c 1 3 438 0 5 1793347681 6465762f6e756c6c";
        let device = read_device(line).unwrap();
        assert_eq!(device.path, b"dev/null");
        assert_eq!(device_line(&device).unwrap(), line);
        assert!(read_device("c 1").is_err());
    }

    #[test]
    fn a_damaged_list_of_device_nodes_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let (store, key) = (Store::open(directory.path()).unwrap(), Digest::of(b"root"));
        assert_eq!(devices(&store, &key).unwrap(), None);
        let null = read_device("c 1 3 438 0 5 1793347681 6465762f6e756c6c").unwrap();
        set_devices(&store, &key, std::slice::from_ref(&null)).unwrap();
        assert_eq!(devices(&store, &key).unwrap(), Some(vec![null]));
        set_devices(&store, &key, &[]).unwrap();
        assert_eq!(devices(&store, &key).unwrap(), Some(vec![]));
        for damaged in [&b""[..], b"c 1 3", b"\xff\xfe", b"c 1 3 438 0 5 1793347681 6465762f6e756c6c"] {
            store.set_meta(&format!("devices-{key}"), damaged).unwrap();
            assert_eq!(devices(&store, &key).unwrap(), None, "{damaged:?}");
        }
    }
}
