//! Shuts the machine down in order: processes, mounts, memory, power.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use appliance::paths;

use crate::console::Console;
use crate::system::{Ending, Recipients, System};

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

/// Timeouts after SIGTERM and after SIGKILL (a driver may block a process for ever).
const PATIENCE: [(i32, Duration); 2] = [(SIGTERM, Duration::from_secs(5)), (SIGKILL, Duration::from_secs(3))];

/// How often to check whether they are gone.
const STEP: Duration = Duration::from_millis(50);

/// File systems without data that could be lost.
const VIRTUAL: [&str; 13] = [
    "proc",
    "sysfs",
    "devtmpfs",
    "devpts",
    "tmpfs",
    "cgroup2",
    "securityfs",
    "debugfs",
    "tracefs",
    "overlay",
    "mqueue",
    "bpf",
    "rootfs",
];

/// Ends everything, then the machine. `mounts` is the text of `/proc/self/mounts`; if it cannot be read, what PID 1 has
/// mounted itself is unmounted. Returns only if the kernel refuses.
///
/// `spared` is a process that the root is read through: it is the last to end, with the machine.
pub fn end(
    how: Ending,
    mounts: io::Result<String>,
    spared: Option<i32>,
    system: &mut dyn System,
    console: &mut Console,
) -> io::Result<()> {
    end_processes(spared, system, console);
    let mounts = match mounts {
        Ok(text) => real_mounts(&text),
        Err(error) => {
            console.say(&format!("reading /proc/self/mounts: {error}; other file systems stay mounted"));
            [paths::DATA, paths::IMAGE].map(PathBuf::from).to_vec()
        }
    };
    for target in mounts {
        // After this a file system that is still in use cannot lose data either.
        let result = system.remount_read_only(&target).and_then(|()| system.unmount(&target));
        if let Err(error) = result {
            console.say(&format!("unmounting {}: {error}", target.display()));
        }
    }
    console.say(match how {
        Ending::PowerOff => "powering off",
        Ending::Restart => "restarting",
    });
    system.end(how)
}

fn end_processes(spared: Option<i32>, system: &mut dyn System, console: &mut Console) {
    let all = spared.map_or(Recipients::Everyone, Recipients::EveryoneBut);
    for (signal, patience) in PATIENCE {
        if let Err(error) = system.signal(all, signal) {
            console.say(&format!("sending signal {signal} to every process: {error}"));
        }
        let mut waited = Duration::ZERO;
        while waited < patience {
            // Their exit statuses do not matter any more.
            let _ = system.reap();
            let some_are_left = match spared {
                Some(spared) => system.has_others(spared),
                None => system.has_children(),
            };
            if !some_are_left {
                return;
            }
            system.sleep(STEP);
            waited += STEP;
        }
    }
    console.say("some processes could not be ended; a driver holds them");
}

/// Mount points of file systems with storage behind them, the last one first, from `/proc/self/mounts` (`fstab(5)`).
fn real_mounts(mounts: &str) -> Vec<PathBuf> {
    let real = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let (target, kind) = (fields.nth(1)?, fields.next()?);
        (!VIRTUAL.contains(&kind)).then(|| Path::new(&unescape(target)).to_owned())
    });
    let mut found: Vec<_> = real.collect();
    found.reverse();
    found
}

/// Decodes a path: blanks are written `\040` there.
fn unescape(path: &str) -> String {
    path.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::Ended;
    use crate::system::recording::Recording;

    const MOUNTS: &str = "proc /proc proc rw 0 0\n/dev/sda2 /run/rocbed/root ext4 ro 0 0\n\
        rocbed-root / overlay rw 0 0\n/dev/sda3 /var/lib/my\\040data ext4 rw 0 0\n";

    #[test]
    fn first_processes_then_mounts_then_power() {
        let mut system = Recording { ends: vec![Ended { pid: 7, code: Some(0) }], ..Recording::default() };
        end(Ending::PowerOff, Ok(MOUNTS.to_owned()), None, &mut system, &mut Console::nowhere()).unwrap();
        assert_eq!(
            system.calls,
            [
                "signal 15 Everyone",
                "read-only /var/lib/my data",
                "unmount /var/lib/my data",
                "read-only /run/rocbed/root",
                "unmount /run/rocbed/root",
                "end PowerOff",
            ]
        );
    }

    #[test]
    fn without_a_list_of_mounts_our_own_are_unmounted() {
        let mut system = Recording { ends: vec![Ended { pid: 7, code: Some(0) }], ..Recording::default() };
        let unreadable = Err(io::Error::from(io::ErrorKind::OutOfMemory));
        end(Ending::PowerOff, unreadable, None, &mut system, &mut Console::nowhere()).unwrap();
        let unmounted = ["unmount /var/lib/rocbed", "unmount /run/rocbed/root"];
        assert!(unmounted.iter().all(|call| system.calls.iter().any(|made| made == call)), "{:?}", system.calls);
    }

    #[test]
    fn who_does_not_listen_is_killed_and_who_cannot_be_killed_is_left() {
        let ends = vec![Ended { pid: 7, code: None }; 1000];
        let mut system = Recording { ends, ..Recording::default() };
        end(Ending::Restart, Ok(String::new()), None, &mut system, &mut Console::nowhere()).unwrap();
        let other: Vec<_> = system.calls.iter().filter(|call| !call.starts_with("sleep")).collect();
        assert_eq!(other, ["signal 15 Everyone", "signal 9 Everyone", "end Restart"]);
    }

    #[test]
    fn a_mount_that_stays_does_not_keep_the_machine_on() {
        let mut system = Recording { fails: vec!["unmount", "read-only"], ..Recording::default() };
        end(Ending::PowerOff, Ok(MOUNTS.to_owned()), None, &mut system, &mut Console::nowhere()).unwrap();
        assert_eq!(system.calls.last().map(String::as_str), Some("end PowerOff"));
    }

    #[test]
    fn the_process_that_the_root_is_read_through_is_spared() {
        let mut system = Recording { ends: vec![Ended { pid: 7, code: Some(0) }], ..Recording::default() };
        end(Ending::PowerOff, Ok(String::new()), Some(71), &mut system, &mut Console::nowhere()).unwrap();
        assert_eq!(system.calls, ["signal 15 EveryoneBut(71)", "end PowerOff"]);
    }
}
