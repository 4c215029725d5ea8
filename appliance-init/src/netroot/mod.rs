//! A root that comes over the network: brings interfaces up, fetches the root into compressed memory, checks it, and
//! then finds it there as it would on a disk.
//!
//! `rocbed.root-url=` says where it is and `rocbed.root-sha256=` what it is: the SHA-256 of `root.img`, whether it is
//! sent as it is or compressed with Zstandard. Nothing of it is used before the digest is known to be right. With
//! `rocbed.root-index-sha256=` it is not fetched but read when needed ([`on_demand`]).

pub mod addresses;
pub mod boot_report;
pub mod download;
pub mod image;
mod links;
pub mod memory;
mod meter;
pub mod on_demand;
pub mod zram;

pub use links::settings as network_settings;
use machineinfo::Memory;
use sha256::Digest;

use std::io::Read;
use std::path::Path;

use crate::fatal::Fatal;
use crate::search::Search;
use crate::uevent::Uevents;
use appliance::block::{self, BlockDevice};
use appliance::cmdline::{CommandLine, RootSpec};
use appliance::paths;
use appliance::superblock::Superblock;
use download::{Download, DownloadError, DownloadOptions};
use image::{ImageError, Incoming};
use meter::Meter;
use zram::Zram;

/// Location and digest of a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// `rocbed.root-url=`: an http or https URL.
    pub url: String,
    /// `rocbed.root-sha256=`: the digest of the uncompressed `root.img`.
    pub sha256: Digest,
    /// `rocbed.root-index-sha256=`: the digest of `root.index`, to read the root when needed.
    pub index_sha256: Option<Digest>,
}

impl Source {
    /// Reads the source from the command line; `None` if the root is on a disk.
    ///
    /// # Errors
    /// If there is a URL without a digest, or one that is not valid: a root without a digest is never started.
    pub fn of(line: &CommandLine) -> Result<Option<Self>, Fatal> {
        let Some(url) = &line.root_url else { return Ok(None) };
        if !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) {
            let what = format!("rocbed.root-url={url} is not the address of a root");
            return Err(Fatal::new(what, "give one that begins with http:// or https://"));
        }
        let Some(digest) = &line.root_sha256 else {
            let what = "the kernel command line has rocbed.root-url= and no rocbed.root-sha256=";
            let advice = "add the digest of root.img, as SHA256SUMS beside it has it: nothing else says that it is the right one";
            return Err(Fatal::new(what, advice));
        };
        let sha256 = digest.parse().map_err(|_| {
            let what = format!("rocbed.root-sha256={digest} is not a SHA-256 digest");
            Fatal::new(what, "give the 64 hexadecimal digits that SHA256SUMS has for root.img")
        })?;
        let index_sha256 = line.root_index_sha256.as_ref().map(|digest| {
            digest.parse().map_err(|_| {
                let what = format!("rocbed.root-index-sha256={digest} is not a SHA-256 digest");
                Fatal::new(what, "give the 64 hexadecimal digits of the digest of root.index, or leave the word out")
            })
        });
        Ok(Some(Self { url: url.clone(), sha256, index_sha256: index_sha256.transpose()? }))
    }
}

/// Fetches the root. Returns its device and file system type.
///
/// # Errors
/// With advice. The network stays up, so that the error can be reported.
pub(crate) fn reach(
    source: &Source,
    line: &CommandLine,
    search: &mut Search,
    events: &mut dyn Uevents,
) -> Result<(BlockDevice, String), Fatal> {
    let network = links::bring_up(line, search, events)?;
    // The machine's own disks are not ours, whatever the root is on.
    search.insist(None)?;
    search.load("ext4");
    let options = DownloadOptions { patience: line.network_timeout, ..DownloadOptions::default() };
    let device = if let Some(device) = on_demand::start(source, &options, search)? {
        device
    } else {
        search.load("zram");
        fetch(source, &options, search)?;
        zram::NAME.to_owned()
    };
    // The second stage takes over: interfaces and addresses stay.
    let kept = addresses::of(&network.status());
    drop(network);
    if let Err(error) = addresses::write(Path::new(paths::NETROOT_ADDRESSES), &kept) {
        search.console.say(&format!("{error}; the addresses will be asked for anew"));
    }
    found(&device, line, search)
}

/// Downloads the root into memory.
fn fetch(source: &Source, options: &DownloadOptions, search: &mut Search) -> Result<(), Fatal> {
    let console = std::cell::RefCell::new(&mut *search.console);
    let mut say = |text: &str| console.borrow_mut().say(&format!("root: {text}"));
    let download = Download::open(&source.url, options, &mut say).map_err(|error| failed_download(&error))?;
    let length = download.length();
    let mut meter = Meter::new(length);
    let mut count = |bytes: usize| {
        if let Some(line) = meter.add(bytes) {
            console.borrow_mut().say(&format!("root: {line}"));
        }
    };
    let available = Memory::read().map(|memory| memory.available).map_err(|error| {
        Fatal::new(format!("reading {}: {error}", Memory::PATH), "report this as a bug of rocbed, with this text")
    })?;
    let incoming = Incoming::open(Counting { inner: download, count: &mut count }, length)
        .map_err(|error| failed_image(error, available))?;
    if let Some(length) = length {
        check_memory(memory::needed(length, incoming.is_compressed()), available)?;
        let shown = memory::shown(length);
        console.borrow_mut().say(&format!("root: {shown} from {}, {} are free", source.url, memory::shown(available)));
    }
    let limit = available.saturating_sub(memory::RESERVE / 2);
    let algorithm = memory::algorithm(incoming.size().unwrap_or_default(), available);
    let mut device = Zram::new(&search.paths.sys, &search.paths.dev, limit, algorithm);
    let received = incoming.receive(&source.sha256, &mut device);
    drop(device);
    let size = received.map_err(|error| failed_image(error, available))?;
    let held = Zram::memory(&search.paths.sys).map_or_else(String::new, |bytes| {
        format!(", {} of it in {} of memory", memory::shown(size), memory::shown(bytes))
    });
    search.console.say(&format!("root: {}; the digest is right{held}", meter.end()));
    Ok(())
}

fn check_memory(needed: u64, available: u64) -> Result<(), Fatal> {
    if needed <= available {
        return Ok(());
    }
    let (needed, available) = (memory::shown(needed), memory::shown(available));
    let what = format!("this image needs {needed} of memory to start over the network, this machine has {available}");
    Err(Fatal::new(what, "give the machine more memory, or start it from a stick or a disk"))
}

fn failed_download(error: &DownloadError) -> Fatal {
    let advice = match error {
        DownloadError::Refused { .. } => {
            "check that the image is still served there; after a new build the server has to be told of it"
        }
        DownloadError::Silent { .. } => "check that the server runs, and that this machine's network reaches it",
        DownloadError::Changed { .. } => "nothing, if the image was just built anew: the restart takes the new one",
        DownloadError::Address { .. } => "correct rocbed.root-url= on the kernel command line",
    };
    Fatal::new(format!("fetching the root: {error}"), advice)
}

fn failed_image(error: ImageError, available: u64) -> Fatal {
    match error {
        ImageError::Read(error) => match error.downcast::<DownloadError>() {
            Ok(error) => failed_download(&error),
            Err(error) => {
                let what = format!("decompressing the root: {error}");
                Fatal::new(what, "the file on the server is damaged: write it there again")
            }
        },
        ImageError::Write(error) => {
            let what = format!("keeping the root in memory ({} are free): {error}", memory::shown(available));
            Fatal::new(what, "give the machine more memory; if it has plenty, the initramfs may lack the module zram")
        }
        ImageError::Digest { expected, found } => {
            let what = "the root that the server sent is not the one that was asked for, and is not started";
            let advice = "serve the root.img that belongs to this command line. If nobody changed anything, find out who did: \
                          the server or the network between cannot be trusted";
            let details = vec![format!("SHA-256 wanted {expected}"), format!("SHA-256 found  {found}")];
            Fatal::new(what, advice).with_details(details)
        }
        error @ (ImageError::NoSize | ImageError::Size { .. }) => {
            Fatal::new(format!("fetching the root: {error}"), "write the file on the server again, whole")
        }
    }
}

/// The device with the root; the image's UUID has to be the one on the command line, as on a disk.
fn found(device: &str, line: &CommandLine, search: &mut Search) -> Result<(BlockDevice, String), Fatal> {
    let class = search.paths.sys.join("class/block").join(device);
    let gone = || Fatal::new("the root's device is not there", "report this as a bug of rocbed, with this text");
    let root = block::read(&class).ok_or_else(gone)?;
    let Some(superblock) = search.superblocks.of(&search.paths.dev, &root) else {
        let what = "the root from the network holds no ext4, erofs or squashfs file system";
        return Err(Fatal::new(what, "name a root.img, or one compressed with zstd, in rocbed.root-url="));
    };
    check_identity(line.root.as_ref(), &superblock)?;
    let path = search.paths.dev.join(device);
    if let Err(error) = search.system.set_read_only(&path, true) {
        search.console.say(&format!("setting {} read-only: {error}", path.display()));
    }
    let kind = line.root_type.clone().unwrap_or_else(|| superblock.kind.to_owned());
    search.load(&kind);
    Ok((root, kind))
}

fn check_identity(wanted: Option<&RootSpec>, found: &Superblock) -> Result<(), Fatal> {
    let Some(RootSpec::FsUuid(wanted)) = wanted else { return Ok(()) };
    if found.uuid.as_ref() == Some(wanted) {
        return Ok(());
    }
    let found = found.uuid.as_deref().unwrap_or("none");
    let what = format!("the root from the network has the UUID {found}, and the kernel command line wants {wanted}");
    Err(Fatal::new(what, "take kernel, initramfs, root and command line from one image"))
}

/// A reader that reports each byte.
struct Counting<'a, R> {
    inner: R,
    count: &'a mut dyn FnMut(usize),
}

impl<R: Read> Read for Counting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        (self.count)(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(line: &str) -> Result<Option<Source>, String> {
        Source::of(&CommandLine::parse(line)).map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_needs_a_digest() {
        let digest = "0123456789abcdef".repeat(4);
        assert_eq!(source("root=UUID=1"), Ok(None));
        let found = source(&format!("rocbed.root-url=http://a/root.img rocbed.root-sha256={digest}")).unwrap().unwrap();
        assert_eq!((found.url.as_str(), found.sha256.to_string()), ("http://a/root.img", digest.clone()));
        assert_eq!(found.index_sha256, None);
        let both =
            format!("rocbed.root-url=http://a/root.img rocbed.root-sha256={digest} rocbed.root-index-sha256={digest}");
        assert_eq!(source(&both).unwrap().unwrap().index_sha256, Some(found.sha256));
        for (line, says) in [
            ("rocbed.root-url=http://a/root.img".to_owned(), "no rocbed.root-sha256="),
            ("rocbed.root-url=http://a/root.img rocbed.root-sha256=abc".to_owned(), "is not a SHA-256"),
            (format!("rocbed.root-url=http://a/root.img rocbed.root-sha256=+{}", &digest[1..]), "is not a SHA-256"),
            (
                format!("rocbed.root-url=http://a/x rocbed.root-sha256={digest} rocbed.root-index-sha256=x"),
                "rocbed.root-index-sha256=x is not a SHA-256",
            ),
            (format!("rocbed.root-url=tftp://a/root.img rocbed.root-sha256={digest}"), "is not the address"),
        ] {
            let error = source(&line).unwrap_err();
            assert!(error.contains(says), "{line}: {error}");
        }
    }

    #[test]
    fn memory_that_does_not_suffice_is_said_before_the_download() {
        assert!(check_memory(100, 100).is_ok());
        let error = check_memory(1200 << 20, 900 << 20).unwrap_err();
        assert_eq!(
            error.to_string(),
            "this image needs 1.2 GiB of memory to start over the network, this machine has 900 MiB"
        );
    }

    #[test]
    fn a_root_of_another_image_is_refused_even_with_a_right_digest() {
        let found = Superblock { kind: "ext4", uuid: Some("aa".into()), label: None };
        let spec = |id: &str| RootSpec::FsUuid(id.into());
        assert!(check_identity(None, &found).is_ok() && check_identity(Some(&spec("aa")), &found).is_ok());
        let error = check_identity(Some(&spec("bb")), &found).unwrap_err();
        assert!(error.to_string().contains("has the UUID aa"), "{error}");
    }

    #[test]
    fn a_tampered_root_gets_a_screen_of_its_own() {
        let error = failed_image(ImageError::Digest { expected: Digest::of("a"), found: Digest::of("b") }, 0);
        let screen = crate::fatal::screen(&error);
        assert!(
            screen.contains("is not started") && screen.contains(&format!("SHA-256 wanted {}", Digest::of("a"))),
            "{screen}"
        );
    }
}
