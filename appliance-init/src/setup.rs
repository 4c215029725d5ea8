//! Mounts, links and kernel settings of the second stage, that programs expect on any Linux system.

use std::io;
use std::path::Path;

use advice::{Advice, Help};

use crate::system::{MountMode, System};
use appliance::cmdline::CommandLine;
use appliance::paths;
use machineinfo::Processors;

/// File systems that are mounted in addition to those of the first stage.
const MOUNTS: [(&str, &str, &str, &str); 5] = [
    ("devpts", "/dev/pts", "devpts", "mode=620,ptmxmode=666,gid=5"),
    ("tmpfs", "/dev/shm", "tmpfs", "mode=1777"),
    ("tmpfs", "/run/lock", "tmpfs", "mode=1777,size=5m"),
    ("cgroup2", "/sys/fs/cgroup", "cgroup2", ""),
    // It says whether the kernel is locked down. Testbeds do not see it.
    ("securityfs", "/sys/kernel/security", "securityfs", ""),
];

/// Links that programs expect in /dev and devtmpfs does not have (fd(4), `stdin(4)`).
const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    (paths::PROGRAM, paths::MODPROBE),
];

/// Kernel settings (kernel Documentation/admin-guide/sysctl/kernel.rst).
const SYSCTLS: [(&str, &str); 2] = [
    ("/proc/sys/kernel/modprobe", paths::MODPROBE),
    // Ctrl-Alt-Delete comes to us as SIGINT instead of an immediate restart.
    ("/proc/sys/kernel/ctrl-alt-del", "0"),
];

/// Where the kernel places programs and libraries: 0 for the same addresses in each process.
const RANDOM_ADDRESSES: &str = "/proc/sys/kernel/randomize_va_space";

/// Whether only privileged processes may read the kernel's log.
const LOG_RESTRICTED: &str = "/proc/sys/kernel/dmesg_restrict";

/// Sets up mounts and kernel settings. The appliance can start without any of them; returns the errors.
pub(crate) fn prepare(system: &mut dyn System, line: &CommandLine, processors: &Processors) -> Vec<Advice> {
    let mut problems = Vec::new();
    for (source, target, kind, options) in MOUNTS {
        let target = Path::new(target);
        let mounted = system
            .create_directory(target)
            .and_then(|()| system.mount(source, target, kind, MountMode::Plain, options));
        if let Err(error) = mounted {
            problems.push(failed(format!("mounting {kind} on {}: {error}", target.display())));
        }
    }
    for (target, path) in LINKS {
        match system.link(Path::new(target), Path::new(path)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                problems.push(failed(format!("making {path}, a link to {target}: {error}")));
            }
            _ => {}
        }
    }
    // QEMU keeps translated code by its address, so at random addresses it translates every program anew each time it is
    // started: half of the time that a job takes. An emulated machine has nothing to protect by them.
    let fixed = processors.are_emulated().then_some((RANDOM_ADDRESSES, "0"));
    for (path, value) in SYSCTLS.into_iter().chain(fixed) {
        if let Err(error) = system.write_file(Path::new(path), value) {
            problems.push(failed(format!("setting {path} to {value}: {error}")));
        }
    }
    problems.extend(open_log(system, line).err());
    problems
}

/// Lets tests read the kernel's log, which has the faults of the GPU. The kernel has logged its command line, perhaps
/// with a join token: that part is hidden first, or else reading stays forbidden. Testbeds read by syslog(2) only;
/// they have no `/dev/kmsg`, which hiding does not affect, and cannot make one.
fn open_log(system: &mut dyn System, line: &CommandLine) -> Result<(), Advice> {
    let set = |system: &mut dyn System, value: &str| {
        let result = system.write_file(Path::new(LOG_RESTRICTED), value);
        result.map_err(|error| failed(format!("setting {LOG_RESTRICTED} to {value}: {error}")))
    };
    if line.setting("join-token").is_some()
        && let Err(error) = system.clear_kernel_log()
    {
        set(system, "1")?;
        let what = format!(
            "hiding the join token of the command line in the kernel's log: {error}; tests cannot read that log"
        );
        return Err(Advice::new(what, "put the token into rocbed.toml on the stick"));
    }
    set(system, "0")
}

fn failed(what: String) -> Advice {
    Advice::new(what, Help::none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::recording::Recording;

    #[test]
    fn what_cannot_be_prepared_is_told_and_passed_over() {
        let mut system =
            Recording { fails: vec!["mount cgroup2", "write /proc/sys/kernel/dmesg"], ..Recording::default() };
        let problems = prepare(&mut system, &CommandLine::default(), &Processors::default());
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].what.starts_with("mounting cgroup2 on /sys/fs/cgroup: "), "{problems:?}");
        assert!(system.calls.iter().any(|call| call == "write /proc/sys/kernel/ctrl-alt-del 0"));
    }

    #[test]
    fn only_an_emulated_machine_has_programs_at_the_same_addresses() {
        let sets = |name: &str| {
            let (mut system, name) = (Recording::default(), Some(name.to_owned()));
            prepare(&mut system, &CommandLine::default(), &Processors { count: 1, name });
            system.calls.contains(&format!("write {RANDOM_ADDRESSES} 0"))
        };
        assert_eq!([sets("QEMU TCG CPU version 2.5+"), sets("AMD EPYC 9654 96-Core Processor")], [true, false]);
    }

    #[test]
    fn a_join_token_is_hidden_before_tests_may_read_the_kernels_log() {
        let calls = |line: &str, fails: Vec<&'static str>| {
            let mut system = Recording { fails, ..Recording::default() };
            let result = open_log(&mut system, &CommandLine::parse(line));
            (result.is_ok(), system.calls)
        };
        let (open, closed) = (format!("write {LOG_RESTRICTED} 0"), format!("write {LOG_RESTRICTED} 1"));
        let clear = || "clear kernel log".to_owned();
        assert_eq!(calls("quiet rocbed.hub=http://h", vec![]), (true, vec![open.clone()]));
        assert_eq!(calls("rocbed.join_token=secret", vec![]), (true, vec![clear(), open]));
        assert_eq!(calls("rocbed.join-token=secret", vec!["clear"]), (false, vec![clear(), closed]));
    }
}
