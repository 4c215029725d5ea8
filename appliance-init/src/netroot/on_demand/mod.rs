//! A root that is read over the network as it is needed: in verified chunks (crate `chunked`), by a process that answers
//! the kernel through FUSE; a loop device over its one file is the disk that the root is on.
//!
//! `rocbed.root-index-sha256=` names the index, which lies beside the root on the server as `root.index`. No byte reaches
//! the kernel before its digest was right. A server that goes away is waited for, for ever: programs that read stand
//! still meanwhile, and go on when it is back. What is not needed yet is fetched in the background where memory has room
//! for it, first what earlier starts read (`root.order`, where the server has one); from then on the server is not needed any
//! more. When memory gets short, chunks are given up that can be fetched again.
//!
//! Why FUSE and a loop device: both are in Debian's kernel (ublk and nbd are modules that an image would have to carry),
//! and the root stays the ext4 file system that it is on a disk.

pub mod fuse;
mod heap;
mod loop_device;
mod memory;
mod pace;
mod ranges;
pub mod server;
mod state;
mod store;

pub use state::{RootServer, ServerState};

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use appliance::paths;
use chunked::{Header, Index, Order};
use sha256::Digest;
use ureq::http::StatusCode;

use super::download::{Download, DownloadOptions};
use super::{Source, failed_download};
use crate::fatal::Fatal;
use crate::search::Search;
use crate::system::MountMode;
use ranges::Ranges;

/// Name of the index on the server, in the directory of the root.
const INDEX: &str = "root.index";

/// Longest time to wait for the order of earlier starts, which is not worth much waiting.
const ORDER_PATIENCE: Duration = Duration::from_secs(5);

/// Files that say where names are resolved; the server's process has copies.
const RESOLVER: [&str; 2] = ["etc/resolv.conf", "etc/hosts"];

/// Starts to serve the root. Returns the name of its device; `None` if the server cannot send parts of files, so that the
/// root has to be fetched whole.
///
/// # Errors
///
/// If the index is not the one that the command line names, or if the kernel refuses a step.
pub(crate) fn start(source: &Source, options: &DownloadOptions, search: &mut Search) -> Result<Option<String>, Fatal> {
    let Some(wanted) = source.index_sha256 else { return Ok(None) };
    let url = beside(&source.url, INDEX);
    let bytes = fetch_index(&url, options, search)?;
    let found = Digest::of(&bytes);
    if found != wanted {
        let what =
            "the index of the root that the server sent is not the one that was asked for; the root is not started";
        let advice = "serve the root.index that belongs to this command line. If nobody changed anything, find out who did: \
                      the server or the network between cannot be trusted";
        let details = vec![format!("SHA-256 wanted {wanted}"), format!("SHA-256 found  {found}")];
        return Err(Fatal::new(what, advice).with_details(details));
    }
    let index = Index::parse(&bytes).map_err(|error| {
        Fatal::new(format!("{url}: {error}"), "the server's image is of another version of rocbed: build it anew")
    })?;
    if index.sha256() != &source.sha256 {
        let what = format!("{url} is the index of another root than rocbed.root-sha256= names");
        return Err(Fatal::new(what, "take both digests of the kernel command line from one image"));
    }
    // From here on nobody can interrupt the wait for a chunk, so the server must have the root now: after a new build, only a
    // restart helps.
    let start = Header { size: index.size(), sha256: source.sha256 }.to_bytes();
    let mut say = |text: &str| search.console.say(&format!("root: {text}"));
    let ranges = Ranges::new(&source.url, index.file_length(), options);
    if !ranges.probe(&start, options.patience, &mut say).map_err(|error| failed_download(&error))? {
        search.console.say("root: the server sends whole files only: fetching all of it");
        return Ok(None);
    }
    let order = fetch_order(&beside(&source.url, server::ORDER), options);
    let device = serve(source, &bytes, &order, search).map_err(|(step, error)| {
        Fatal::new(
            format!("{step}: {error}"),
            "report this as a bug of rocbed, with this text; --whole goes without it",
        )
    })?;
    let size = super::memory::shown(index.size());
    search.console.say(&format!("root: {size} from {}, read when needed; the index is right", source.url));
    Ok(Some(device))
}

fn fetch_index(url: &str, options: &DownloadOptions, search: &mut Search) -> Result<Vec<u8>, Fatal> {
    let mut say = |text: &str| search.console.say(&format!("root: {text}"));
    let download = Download::open(url, options, &mut say).map_err(|error| failed_download(&error))?;
    let mut bytes = Vec::new();
    download.take(Index::LONGEST + 1).read_to_end(&mut bytes).map_err(|error| {
        Fatal::new(format!("fetching the root's index: {error}"), "check that the server runs and is reached")
    })?;
    Ok(bytes)
}

/// The order in which earlier starts read the root, as the server has it; nothing if it has none.
fn fetch_order(url: &str, options: &DownloadOptions) -> Vec<u8> {
    let options = DownloadOptions { timeout: options.timeout.min(ORDER_PATIENCE), ..options.clone() };
    let Ok(response) = options.agent().get(url).config().timeout_global(Some(ORDER_PATIENCE)).build().call() else {
        return Vec::new();
    };
    if response.status() != StatusCode::OK {
        return Vec::new();
    }
    let mut bytes = Vec::new();
    match response.into_body().into_reader().take(Order::LONGEST).read_to_end(&mut bytes) {
        Ok(_) => bytes,
        Err(_) => Vec::new(),
    }
}

/// Mounts the file system, starts the process that answers for it, and makes a disk of its file.
fn serve(
    source: &Source,
    index: &[u8],
    order: &[u8],
    search: &mut Search,
) -> Result<String, (&'static str, io::Error)> {
    let step = |step: &'static str| move |error: io::Error| (step, error);
    let (directory, file) = (Path::new(paths::ROOT_SERVER), Path::new(paths::ROOT_FILE));
    let prepare = || {
        fs::create_dir_all(directory.join("etc"))?;
        fs::write(directory.join(server::INDEX), index)?;
        fs::write(directory.join(server::ORDER), order)?;
        for name in RESOLVER {
            match fs::copy(Path::new("/").join(name), directory.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        File::create(file).map(drop)
    };
    prepare().map_err(step("preparing the directory of the root's server"))?;
    let fuse = OpenOptions::new().read(true).write(true).open("/dev/fuse").map_err(step("opening /dev/fuse"))?;
    let options = format!("fd={},rootmode=100444,user_id=0,group_id=0,max_read={}", fuse.as_raw_fd(), fuse::MOST_READ);
    search
        .system
        .mount("rocbed-root", file, "fuse", MountMode::ReadOnly, &options)
        .map_err(step("mounting the root's file (fuse)"))?;
    let child = Command::new("/proc/self/exe")
        .args([server::COMMAND, &source.url])
        .env_clear()
        .stdin(Stdio::from(fuse))
        .spawn()
        .map_err(step("starting the root's server"))?;
    fs::write(directory.join(state::PID), child.id().to_string()).map_err(step("noting the root's server"))?;
    search.load("loop");
    loop_device::attach(file).map_err(step("making a disk of the root's file (loop)"))
}

/// The URL of another file in the same directory.
fn beside(url: &str, name: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let directory = path.rsplit_once('/').map_or(path, |(directory, _)| directory);
    format!("{directory}/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_lies_beside_the_root() {
        for (url, index) in [
            ("http://10.0.0.1:8470/root.img.zst", "http://10.0.0.1:8470/root.index"),
            ("https://boot.lab/rocbed/root.img.zst?v=2", "https://boot.lab/rocbed/root.index"),
        ] {
            assert_eq!(beside(url, INDEX), index);
        }
    }
}
