//! A root directory of Debian unstable with the servers that tests talk to.

use std::fs::{self, File};
use std::path::PathBuf;

use rustix::fs::{FlockOperation, flock};

use crate::{real_mirror, scratch, tool};

/// Packages of the root directory: debci with its broker, `OpenStack` Swift, and what their scripts and the tests call. One
/// directory for all, as most of the time goes into what they have in common. The two of systemd make users and
/// directories without systemd.
const PACKAGES: &str = "ca-certificates,curl,debci-collector,debci-worker,dpkg-dev,iproute2,memcached,procps,puma,\
    rabbitmq-server,ruby-localhost,sqlite3,swift-account,swift-container,swift-object,swift-proxy,\
    systemd-standalone-sysusers,systemd-standalone-tmpfiles";

/// Option of mmdebstrap: dpkg does not wait for the disk after each file of a root directory that only tests use. It is kept
/// in the root for later calls of dpkg.
pub const NO_SYNC: &str = "--dpkgopt=force-unsafe-io";

/// The root directory, made by mmdebstrap when it is first needed, and kept. Simultaneous programs wait for each other.
pub fn sid_root() -> PathBuf {
    let root = scratch().join("sid-root");
    let made = scratch().join("sid-root.made-of");
    let lock = File::create(scratch().join("sid-root.lock")).expect("a file to lock");
    flock(&lock, FlockOperation::LockExclusive).expect("locking a file");
    if fs::read_to_string(&made).is_ok_and(|packages| packages == PACKAGES) {
        return root;
    }
    if root.exists() {
        fs::remove_dir_all(&root).expect("removing the old root directory");
    }
    let mirror = real_mirror();
    let include = format!("--include={PACKAGES}");
    let mut words = vec!["--variant=apt", "--aptopt=Acquire::Check-Valid-Until \"false\""];
    words.extend(["--aptopt=APT::Install-Recommends \"false\"", NO_SYNC, &include, "sid"]);
    let place = root.to_string_lossy().into_owned();
    words.extend([place.as_str(), &mirror]);
    tool("mmdebstrap", words);
    fs::write(&made, PACKAGES).expect("noting what it was made of");
    root
}
