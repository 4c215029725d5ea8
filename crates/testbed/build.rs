//! Tells the tests which control groups this machine has. Those that need them are counted as ignored elsewhere, with the
//! reason.
//!
//! - `cfg(limits)`: `/sys/fs/cgroup` is cgroup2 with controllers for limits.
//! - `cfg(device_filters)`: root of the machine, with the capabilities for it, can make a group in some cgroup2 file system, and
//!   give it a program for devices.

use std::fs::read_to_string;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Capabilities by their numbers in linux/capability.h, which the root of a container may not have.
const SYS_ADMIN: u32 = 21;
const MKNOD: u32 = 27;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(limits, device_filters)");
    println!("cargo::rerun-if-changed=build.rs");
    let path = "/sys/fs/cgroup/cgroup.controllers";
    // A file that is not there would have this run, and the crate compiled, in each build.
    if Path::new(path).exists() {
        println!("cargo::rerun-if-changed={path}");
    }
    let all = read_to_string(path).unwrap_or_default();
    if ["cpu", "memory", "pids"].iter().all(|name| all.split_whitespace().any(|word| word == *name)) {
        println!("cargo::rustc-cfg=limits");
    }
    if is_root_of_the_machine() && has_capabilities() && has_groups() {
        println!("cargo::rustc-cfg=device_filters");
    }
}

/// Whether this process is root, and not that of a user namespace, whose root cannot load such programs.
fn is_root_of_the_machine() -> bool {
    let map = read_to_string("/proc/self/uid_map").unwrap_or_default();
    let is_whole = map.split_whitespace().eq(["0", "0", "4294967295"]);
    is_whole && std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// Whether this process may load programs for devices (`CAP_SYS_ADMIN`, which stands for `CAP_BPF` and `CAP_NET_ADMIN` there;
/// capabilities(7)), and make the nodes that the tests try to open.
fn has_capabilities() -> bool {
    let status = read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    [SYS_ADMIN, MKNOD].iter().all(|number| effective >> number & 1 != 0)
}

/// Whether a cgroup2 file system is mounted for writing. Containers have it read-only.
fn has_groups() -> bool {
    let mounts = read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts.lines().any(|line| {
        let mut fields = line.split(' ').skip(2);
        let (kind, options) = (fields.next(), fields.next().unwrap_or_default());
        kind == Some("cgroup2") && options.split(',').any(|option| option == "rw")
    })
}
