//! Tells the tests whether this machine has control groups with limits: `cfg(limits)`. Those that need them are counted
//! as ignored elsewhere, with the reason.

fn main() {
    let path = "/sys/fs/cgroup/cgroup.controllers";
    println!("cargo::rerun-if-changed={path}");
    println!("cargo::rustc-check-cfg=cfg(limits)");
    let all = std::fs::read_to_string(path).unwrap_or_default();
    if ["cpu", "memory", "pids"].iter().all(|name| all.split_whitespace().any(|word| word == *name)) {
        println!("cargo::rustc-cfg=limits");
    }
}
