//! Support for the end-to-end tests: the program under test, an image that is built once, other tools.

// Tests fail by panicking.
#![allow(clippy::missing_panics_doc)]

mod archive;
mod card_rom;
mod dated;
mod debci;
mod hub;
mod mirror;
mod monitor;
mod only_proxy;
mod peer;
mod ppa;
mod program;
mod proxy;
mod random;
mod relay;
mod sid_root;
mod swift;
mod temporary;
mod testbed_recipe;
mod tls;
mod tools;
mod trees;
mod user;
mod victims;
mod worker;
mod write_log;

pub use archive::{Server, TestArchive};
pub use card_rom::CardRom;
pub use dated::{DATES, DatedArchive, app_files};
pub use debci::Debci;
pub use hub::{Hub, in_home};
pub use mirror::{real_mirror, served_mirror};
pub use monitor::{Monitor, MonitorSocket};
pub use only_proxy::{OnlyProxy, PORT as PROXY_PORT};
pub use peer::mmdebstrap;
pub use ppa::Ppa;
pub use program::{Call, Output, rocbed, rocbed_path};
pub use proxy::{Proxy, Rules};
pub use random::Random;
pub use relay::Relay;
pub use sid_root::{NO_SYNC, sid_root};
pub use swift::Swift;
pub use temporary::Temporary;
pub use testbed_recipe::testbed_recipe;
pub use tls::Authority;
pub use tools::tool;
pub use trees::{Trees, command_tree, fixture_tree, source_tree};
pub use user::TestUser;
pub use victims::Victims;
pub use worker::{MadeUpWorker, noise};
pub use write_log::{Cut, WriteLog};

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Directory for the tests' builds, below cargo's target directory; it is kept between runs.
pub fn scratch() -> PathBuf {
    let target = rocbed_path().ancestors().nth(2).map_or_else(|| PathBuf::from("target"), Path::to_path_buf);
    let scratch = target.join("end-to-end");
    std::fs::create_dir_all(&scratch).unwrap_or_else(|error| panic!("making {}: {error}", scratch.display()));
    scratch
}

/// The smoke image, built from its shipped lock when a test program first needs it. Simultaneous programs wait for each
/// other.
pub fn smoke_image() -> PathBuf {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    IMAGE
        .get_or_init(|| {
            let image = scratch().join("images/smoke");
            let lock = std::fs::File::create(scratch().join("smoke.lock")).expect("a file to lock");
            rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("locking a file");
            // Saves half a minute in each program of a run.
            let (made_by, stamp) = (scratch().join("smoke.made-by"), programs());
            let is_made = std::fs::read_to_string(&made_by).is_ok_and(|text| text == stamp);
            if !is_made || !image.join("SHA256SUMS").exists() {
                rocbed(["build", "smoke", "--locked", "--compress", "--output"]).arg(&image).ok();
                std::fs::write(&made_by, stamp).expect("noting who made the image");
            }
            image
        })
        .clone()
}

/// Identifies the build of the programs that make images, as another build may make other images.
fn programs() -> String {
    let about = |path: PathBuf| {
        let metadata = std::fs::metadata(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        format!("{} {} {:?}\n", path.display(), metadata.len(), metadata.modified().expect("a time"))
    };
    about(rocbed_path()) + &about(rocbed_path().with_file_name("rocbed-init"))
}

/// Digests of all files of an image. Only the first image has the compressed disk, so the manifest may differ about it.
pub fn image_sums(image: &Path) -> String {
    let text = std::fs::read_to_string(image.join("SHA256SUMS")).expect("a complete image");
    text.lines()
        .filter(|line| !line.contains(".zst") && !line.contains(".bmap") && !line.contains("manifest"))
        .fold(String::new(), |all, line| all + line + "\n")
}

/// Copies the packages of the smoke recipe's lock to another cache, so that tests do not download them again. They are
/// verified when they are used.
pub fn seed_cache(cache: &Path) {
    smoke_image();
    let from = PathBuf::from(rocbed(["cache", "path"]).ok().trim());
    let lock = include_str!("../../recipes/smoke.lock");
    let digests = lock.lines().filter_map(|line| line.strip_prefix("sha256 = \"")?.strip_suffix('"'));
    for digest in digests {
        let place = Path::new("sha256").join(&digest[..2]);
        std::fs::create_dir_all(cache.join(&place)).expect("making a directory in the cache");
        let to = cache.join(&place).join(digest);
        if !to.exists() {
            std::fs::copy(from.join(&place).join(digest), to).expect("copying a package");
        }
    }
}
