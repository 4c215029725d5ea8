//! Control groups of testbeds (`Documentation/admin-guide/cgroup-v2.rst` of Linux): memory, processes and a share of the
//! processors, so that a test that uses up memory ends itself and not the machine.
//!
//! What a testbed writes to files in memory (its overlay, `/tmp`, `/dev/shm`) counts as its memory too. The server itself
//! stays outside of the groups.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::processors::ProcessorList;
use crate::reached::{Counts, Limits, processes_of_commands};
use crate::{Error, device_filter};

/// Controllers that limit a testbed.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];
/// Those that are used where they are there: the kernel may have been built without them, or the caller may not use them.
/// One shares disks, and one keeps a testbed on some processors.
const OPTIONAL: [&str; 2] = ["io", "cpuset"];
/// The file with the processors of a group. `cpuset.mems` is left alone: Linux takes memory from the nearest node by itself,
/// and a test must not be ended while another node has room.
const PROCESSORS: &str = "cpuset.cpus";
/// Share of the processors (`cpu.weight`) that testbeds have without another. Processes outside of groups have 100 each.
///
/// There is no upper limit (`cpu.max`): processors that nobody else wants are not left idle, and those who want them get
/// their share within milliseconds. A test's time is limited, not its work.
const CPU_WEIGHT: u32 = 50;
/// Files with the share of the disks, and the largest one: of a device with a cost model (`io.cost.qos`), and of one with
/// the scheduler BFQ. For others they change nothing.
const DISK_WEIGHTS: [(&str, u32); 2] = [("io.weight", 10_000), ("io.bfq.weight", 1000)];
/// Names of groups: this, the server's process id, and a number.
const PREFIX: &str = "testbed-";
/// Processes of a testbed's users that are not in its group at a time: those that autopkgtest waits for, and copies.
const OUTSIDE: u64 = 4;
/// How often removing a group is tried, and how long to wait in between: the kernel may still be ending its processes.
const REMOVAL: (u32, Duration) = (100, Duration::from_millis(10));

/// The directory in which the groups of testbeds are made.
#[derive(Debug)]
pub(crate) struct Parent {
    directory: PathBuf,
    made: u32,
}

impl Parent {
    /// Makes the directory if it is missing, gives it the controllers, and removes groups that killed servers have left.
    ///
    /// # Errors
    /// If it is not in a cgroup2 file system, or this process may not use a controller there.
    pub(crate) fn prepare(directory: &Path) -> Result<Self, Error> {
        let step = |what: &str| format!("{what} the control group {}", directory.display());
        let above = directory.parent().unwrap_or(directory);
        if !above.join("cgroup.controllers").exists() {
            let why = format!("{} is not in a cgroup2 file system", directory.display());
            return Err(Error::step(step("making"))(io::Error::other(why)));
        }
        match fs::create_dir(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Error::step(step("making"))(error));
            }
            _ => {}
        }
        for group in [above, directory] {
            let wanted: Vec<String> = CONTROLLERS.iter().map(|name| format!("+{name}")).collect();
            fs::write(group.join("cgroup.subtree_control"), wanted.join(" ")).map_err(Error::step(format!(
                "using {} in {}",
                CONTROLLERS.join(", "),
                group.display()
            )))?;
        }
        for (group, name) in [above, directory].into_iter().flat_map(|group| OPTIONAL.map(|name| (group, name))) {
            // One that is missing is not used.
            let _ = fs::write(group.join("cgroup.subtree_control"), format!("+{name}"));
        }
        let parent = Self { directory: directory.to_owned(), made: 0 };
        parent.remove_stale().map_err(Error::step(step("cleaning up")))?;
        Ok(parent)
    }

    /// Removes the groups of servers that no longer exist. Their processes ended with them.
    fn remove_stale(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(server) = name.to_str().and_then(server_of) else { continue };
            if !Path::new("/proc").join(server).exists() {
                // If processes are stuck in it, it stays.
                let _ = fs::remove_dir(entry.path());
            }
        }
        Ok(())
    }

    /// Makes the group of one testbed, which is kept on these processors if they are given.
    pub(crate) fn make(&mut self, limits: Limits, processors: Option<&ProcessorList>) -> Result<Group, Error> {
        self.made += 1;
        let directory = self.directory.join(format!("{PREFIX}{}-{}", std::process::id(), self.made));
        fs::create_dir(&directory).map_err(Error::step(format!("making the control group {}", directory.display())))?;
        Group::limited(directory, limits, processors)
    }
}

/// The process id in the name of a group.
fn server_of(name: &str) -> Option<&str> {
    let (server, _) = name.strip_prefix(PREFIX)?.split_once('-')?;
    server.bytes().all(|byte| byte.is_ascii_digit()).then_some(server)
}

/// The control group of one testbed.
#[derive(Debug)]
pub(crate) struct Group {
    directory: PathBuf,
    limits: Limits,
    /// `cgroup.procs`: a process that writes `0` to it moves into the group.
    members: File,
}

impl Group {
    fn limited(directory: PathBuf, limits: Limits, processors: Option<&ProcessorList>) -> Result<Self, Error> {
        let set = |name: &str, value: String| {
            let path = directory.join(name);
            fs::write(&path, value).map_err(Error::step(format!("writing {}", path.display())))
        };
        let weight = limits.cpu_weight.unwrap_or(CPU_WEIGHT);
        set("cpu.weight", weight.to_string())?;
        for (name, most) in DISK_WEIGHTS {
            if directory.join(name).exists() {
                set(name, weight.min(most).to_string())?;
            }
        }
        // Without the files, the affinity of each command keeps the testbed there, which root inside could change.
        if let Some(list) = processors
            && directory.join(PROCESSORS).exists()
        {
            set(PROCESSORS, list.to_string())?;
        }
        set("pids.max", limits.processes.to_string())?;
        if let Some(bytes) = limits.memory {
            set("memory.max", bytes.to_string())?;
            // A kernel without swap has no such file.
            if directory.join("memory.swap.max").exists() {
                set("memory.swap.max", "0".into())?;
            }
        }
        let path = directory.join("cgroup.procs");
        let members = File::options()
            .write(true)
            .create(false)
            .open(&path)
            .map_err(Error::step(format!("opening {}", path.display())))?;
        Ok(Self { directory, limits, members })
    }

    /// Lets its processes use only the devices with these numbers, and those that every testbed has.
    pub(crate) fn allow_devices(&self, devices: impl Iterator<Item = u64>) -> io::Result<()> {
        device_filter::attach(File::open(&self.directory)?, devices)
    }

    /// The file through which processes join.
    pub(crate) fn members(&self) -> BorrowedFd<'_> {
        self.members.as_fd()
    }

    /// What the kernel has counted in it.
    pub(crate) fn counts(&self) -> Counts {
        let count = |file: &str, event: &str| {
            let text = fs::read_to_string(self.directory.join(file)).unwrap_or_default();
            event_count(&text, event)
        };
        // Commands have a limit of their own, a little below the group's: what they are refused is not counted in it.
        let peak = fs::read_to_string(self.directory.join("pids.peak")).ok().and_then(|text| text.trim().parse().ok());
        let most = processes_of_commands(self.limits.processes).saturating_sub(OUTSIDE);
        let reached = peak.is_some_and(|peak: u64| peak >= most);
        let not_started = count("pids.events", "max").max(u64::from(reached));
        Counts { ended: count("memory.events", "oom_kill"), not_started }
    }

    /// Removes the group; all its processes must have ended.
    pub(crate) fn remove(self) -> Result<(), Error> {
        let (times, pause) = REMOVAL;
        let mut result = fs::remove_dir(&self.directory);
        for _ in 0..times {
            match &result {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
                _ => break,
            }
            thread::sleep(pause);
            result = fs::remove_dir(&self.directory);
        }
        result.map_err(Error::step(format!("removing the control group {}", self.directory.display())))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Of a testbed that was not made. Where this fails, the next server removes it.
        let _ = fs::remove_dir(&self.directory);
    }
}

/// Moves the calling process into the group whose `cgroup.procs` this is.
pub(crate) fn enter(members: BorrowedFd<'_>) -> io::Result<()> {
    let mut members = File::from(members.try_clone_to_owned()?);
    members.write_all(b"0")
}

/// The number beside a word in a file of the kernel's such as `memory.events`; 0 if it is not there.
fn event_count(text: &str, event: &str) -> u64 {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(name, _)| *name == event).and_then(|(_, count)| count.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(limits: Limits, files: &[(&str, &str)]) -> (tempfile::TempDir, Group) {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in [("cgroup.procs", ""), ("memory.swap.max", "max")].iter().chain(files) {
            fs::write(directory.path().join(name), text).unwrap();
        }
        let processors = "0-3,8".parse().ok();
        let group = Group::limited(directory.path().to_owned(), limits, processors.as_ref()).unwrap();
        (directory, group)
    }

    const LIMITS: Limits = Limits { memory: Some(512 << 20), processes: 100, cpu_weight: None };

    #[test]
    fn a_group_has_the_limits_and_no_swap() {
        let (directory, _group) = group(LIMITS, &[]);
        let file = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!(file("memory.max"), "536870912");
        assert_eq!(file("memory.swap.max"), "0");
        assert_eq!((file("pids.max").as_str(), file("cpu.weight").as_str()), ("100", "50"));
    }

    #[test]
    fn a_group_has_the_share_of_the_processors_that_it_is_given() {
        let (directory, _group) = group(Limits { cpu_weight: Some(200), ..LIMITS }, &[]);
        assert_eq!(fs::read_to_string(directory.path().join("cpu.weight")).unwrap(), "200");
    }

    #[test]
    fn a_testbed_is_kept_on_its_processors_where_the_kernel_can() {
        let (directory, _group) = group(LIMITS, &[(PROCESSORS, "")]);
        assert_eq!(fs::read_to_string(directory.path().join(PROCESSORS)).unwrap(), "0-3,8");
        assert!(!group(LIMITS, &[]).0.path().join(PROCESSORS).exists());
    }

    #[test]
    fn without_a_limit_memory_is_left_alone() {
        let (directory, _group) = group(Limits { memory: None, ..LIMITS }, &[]);
        assert!(!directory.path().join("memory.max").exists());
    }

    #[test]
    fn the_kernel_counts_what_it_refused() {
        let events = [("memory.events", "low 0\nmax 88\noom 3\noom_kill 2\n"), ("pids.events", "max 7\n")];
        assert_eq!(group(LIMITS, &events).1.counts(), Counts { ended: 2, not_started: 7 });
        assert_eq!(group(LIMITS, &[]).1.counts(), Counts::default());
        for (peak, not_started) in [("89\n", 0), ("90\n", 1), ("many", 0)] {
            assert_eq!(group(LIMITS, &[("pids.peak", peak)]).1.counts().not_started, not_started, "{peak}");
        }
    }

    #[test]
    fn where_disks_can_be_shared_the_share_is_that_of_the_processors() {
        let (directory, _group) = group(
            Limits { cpu_weight: Some(2000), ..LIMITS },
            &[("io.weight", "default 100"), ("io.bfq.weight", "100")],
        );
        let file = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!((file("io.weight").as_str(), file("io.bfq.weight").as_str()), ("2000", "1000"));
        assert!(!group(LIMITS, &[]).0.path().join("io.weight").exists());
    }

    #[test]
    fn a_directory_outside_of_cgroup2_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let message = Parent::prepare(&directory.path().join("rocbed")).unwrap_err().to_string();
        assert!(message.contains("is not in a cgroup2 file system"), "{message}");
    }

    #[test]
    fn only_our_groups_have_a_server() {
        assert_eq!(server_of("testbed-712-3"), Some("712"));
        for name in ["testbed-712", "testbed-x-3", "system.slice", "testbed-../1-3"] {
            assert_eq!(server_of(name), None, "{name}");
        }
    }
}
