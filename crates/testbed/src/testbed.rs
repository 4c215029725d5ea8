//! The real implementation of testbeds: [`Machine`] makes them with the kernel's namespaces.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};

use crate::control_group::{Group, Parent};
use crate::copy::{self, Copies, Records, Room};
use crate::enter::Rules;
use crate::gpu::Granted;
use crate::identity::Identity;
use crate::inside::TestbedPlan;
use crate::memory::{self, FileSystems};
use crate::mounts::{self, Writable};
use crate::namespaces::{self, RunningTestbed};
use crate::options::{Network, Storage, TestbedOptions};
use crate::process::Signals;
use crate::protocol::{Copy, Direction, What};
use crate::reached::{Counts, Layer, LimitNotes, Limits, Reached};
use crate::server::{NAME, Testbed};
use crate::upper::{self, Upper};
use crate::{Error, enter, proxy, simulate};

/// Environment variables that name the proxy of a testbed that has one.
const PROXIED: [(&str, &str); 3] =
    [("http_proxy", proxy::ADDRESS), ("https_proxy", proxy::ADDRESS), ("no_proxy", "localhost,127.0.0.1,::1")];
/// Upper limit for processes, more than any test needs.
const MOST_PROCESSES: u64 = 16384;
/// Environment variable with the path of a directory that gets a record of what is installed after each test.
const RECORDS: &str = "ROCBED_PACKAGE_RECORDS";

/// A machine that makes testbeds, one at a time.
#[derive(Debug)]
pub struct Machine {
    options: TestbedOptions,
    signals: Rc<Signals>,
    identity: Identity,
    granted: Granted,
    /// GPUs to simulate.
    simulated: Option<gpusim::Machine>,
    /// Group of granted devices, as an id inside the testbed.
    group: u32,
    user: Option<String>,
    copies: Copies,
    records: Option<Records>,
    /// Most processes in a testbed, including threads.
    processes: u64,
    /// Where the control groups of testbeds are made.
    control_groups: Option<Parent>,
    limit_notes: LimitNotes,
    /// The kernel has refused programs for devices, and that was said.
    devices_are_unfiltered: bool,
    running: Option<Opened>,
}

/// The open testbed.
#[derive(Debug)]
struct Opened {
    running: RunningTestbed,
    upper: Option<Upper>,
    layer: Layer,
    limits: Limits,
    reached: Reached,
}

impl Opened {
    /// Limits that were reached since the last call, in words for a person.
    fn news(&mut self) -> Vec<String> {
        let counts = self.running.control_group.as_ref().map_or_else(Counts::default, Group::counts);
        let space = mounts::space(&self.running.layer).ok();
        self.reached.news(self.limits, counts, &self.layer, space)
    }
}

impl Machine {
    /// Checks the options and prepares what all testbeds share.
    ///
    /// An unprivileged caller becomes root of a user namespace permanently; there must be no other thread.
    pub fn new(mut options: TestbedOptions, signals: Rc<Signals>) -> Result<Self, Error> {
        options.root = check_root(&options.root)?;
        for layer in &mut options.layers {
            *layer = layer.canonicalize().map_err(Error::step(format!("finding {}", layer.display())))?;
        }
        let passwd = read_inside(&options, "etc/passwd")?;
        let user = suggested_user(&passwd, options.user.as_deref())?;
        let simulated = options.simulate.as_ref().map(|simulate| simulate::machine(&simulate.gpus)).transpose()?;
        let granted = match &simulated {
            Some(machine) => {
                let nodes = simulate::devices(machine).map_err(Error::step("making nodes of simulated GPUs"))?;
                Granted { nodes, visible: None }
            }
            None => Granted::find(&options.gpus)?,
        };
        let group = if granted.nodes.is_empty() { 0 } else { group_number(&read_inside(&options, "etc/group")?) };
        if let Storage::Directory(directory) = &mut options.storage {
            let step = Error::step(format!("finding {}", directory.display()));
            *directory = directory.canonicalize().map_err(step)?;
        }
        let processes = options.processes.unwrap_or_else(most_processes);
        if let Some(list) = &options.processor_list {
            list.keep_this_process().map_err(Error::step(format!("keeping testbeds on the processors {list}")))?;
        }
        // Before becoming root of a user namespace, from which the directory may not be writable.
        let control_groups = options.control_group.as_deref().map(Parent::prepare).transpose()?;
        let identity = Identity::make(processes)?;
        if let Storage::Directory(directory) = &options.storage {
            // After becoming root, as left directories may belong to subordinate ids.
            upper::remove_stale(directory)?;
        }
        let room = Room { bytes: options.copy_limit.unwrap_or(Room::BYTES), entries: Room::ENTRIES };
        let copies = Copies::new(room, std::env::var_os(copy::NOTES).map(PathBuf::from));
        let records = std::env::var_os(RECORDS).map(PathBuf::from).filter(|path| path.is_dir()).map(Records::new);
        Ok(Self {
            options,
            signals,
            identity,
            granted,
            simulated,
            group,
            user,
            copies,
            records,
            processes,
            control_groups,
            limit_notes: LimitNotes::from_environment(),
            devices_are_unfiltered: false,
            running: None,
        })
    }

    /// If a user runs this, the user's own GPU node is shared with the testbed; access to it may depend on the user's
    /// groups.
    fn keep_groups(&self) -> bool {
        self.identity.nested && !self.options.gpus.is_empty()
    }

    fn running(&self) -> Result<&RunningTestbed, Error> {
        self.running.as_ref().map(|opened| &opened.running).ok_or_else(not_open)
    }

    /// Keeps a testbed from devices that it was not granted, whatever node it gets hold of. Where the kernel does not
    /// offer that, `/dev` has to do; a user may never load such programs, so only root is told.
    fn filter_devices(&mut self, group: &Group) {
        if self.identity.nested || self.devices_are_unfiltered {
            return;
        }
        if let Err(error) = group.allow_devices(self.granted.nodes.iter().map(|node| node.device)) {
            eprintln!("{NAME}: only /dev keeps testbeds from devices; a BPF program for their control group: {error}");
            self.devices_are_unfiltered = true;
        }
    }

    /// The limits of the next testbed.
    fn limits(&self, available: u64) -> Limits {
        let memory = self.options.memory.map(|memory| memory.of(available));
        Limits { memory, processes: self.processes, cpu_weight: self.options.cpu_weight }
    }

    /// Tells which limits the open testbed has reached, which is a likely reason for failures inside.
    fn tell_limits(&mut self, test: Option<&str>) {
        if let Some(opened) = &mut self.running {
            self.limit_notes.tell(test, &opened.news());
        }
    }
}

fn not_open() -> Error {
    Error::Inside("no testbed is open".into())
}

/// Default limit for processes: a quarter of the machine's. A test that starts processes endlessly fails, and the
/// machine continues.
fn most_processes() -> u64 {
    let most = fs::read_to_string("/proc/sys/kernel/pid_max").ok().and_then(|text| text.trim().parse::<u64>().ok());
    most.map_or(MOST_PROCESSES, |most| (most / 4).clamp(1, MOST_PROCESSES))
}

impl Testbed for Machine {
    fn capabilities(&self) -> Vec<String> {
        // Not isolation-container, even with a network of its own: tests with that restriction may rely on a service manager
        // as process 1 (README.package-tests).
        let mut words = vec!["revert".to_owned(), "revert-full-system".into(), "root-on-testbed".into()];
        words.extend(self.user.iter().map(|user| format!("suggested-normal-user={user}")));
        words
    }

    fn open(&mut self, scratch: Option<&str>) -> Result<String, Error> {
        let memory = memory::of_machine()?;
        let limits = self.limits(memory.available);
        let control_group = self
            .control_groups
            .as_mut()
            .map(|parent| parent.make(limits, self.options.processor_list.as_ref()))
            .transpose()?;
        if let Some(group) = &control_group {
            self.filter_devices(group);
        }
        let overlay = if let Storage::Memory { size } = self.options.storage { size.of(memory.total) } else { 0 };
        let file_systems = FileSystems::within(limits.memory, memory.total, overlay);
        let upper = match &self.options.storage {
            Storage::Memory { .. } => None,
            Storage::Directory(directory) => Some(Upper::make(directory)?),
        };
        let (writable, layer) = match (&self.options.storage, &upper) {
            (Storage::Memory { .. }, _) => {
                let layer = if file_systems.is_cut { Layer::CutMemory } else { Layer::Memory };
                (Writable::Memory(file_systems.overlay), layer)
            }
            (Storage::Directory(directory), upper) => {
                let writable = Writable::Directory(upper.as_ref().map_or(directory, Upper::path));
                (writable, Layer::Directory(directory.clone()))
            }
        };
        let host_network = self.options.network == Network::Host;
        let plan = TestbedPlan {
            root: &self.options.root,
            layers: &self.options.layers,
            writable,
            file_systems,
            devices: &self.granted.nodes,
            simulated: self.simulated.as_ref(),
            group: self.group,
            network: self.options.network,
            scratch,
            // The machine may have no name servers.
            resolver: if host_network { fs::read("/etc/resolv.conf").ok() } else { None },
        };
        match namespaces::start(&plan, &self.options.hosts, &self.identity, control_group, &self.signals) {
            Ok(running) => {
                let scratch = running.scratch.clone();
                self.running = Some(Opened { running, upper, layer, limits, reached: Reached::default() });
                Ok(scratch)
            }
            Err(error) => {
                upper.map_or(Ok(()), Upper::remove)?;
                Err(error)
            }
        }
    }

    fn close(&mut self) -> Result<(), Error> {
        self.tell_limits(None);
        let Some(Opened { running, upper, .. }) = self.running.take() else { return Ok(()) };
        // Stuck processes still use the directory: it stays, and the next server removes it.
        let signal = match running.end(&self.signals) {
            Err(error @ Error::Stuck(_)) => return Err(error),
            other => other,
        };
        upper.map_or(Ok(()), Upper::remove)?;
        signal
    }

    fn execute_command(&self) -> Result<Vec<OsString>, Error> {
        let visible = self.granted.visible.iter().map(|value| ("ROCR_VISIBLE_DEVICES".to_owned(), value.clone()));
        let simulated = self.simulated.iter().flat_map(|_| simulate::ENVIRONMENT);
        let simulated = simulated.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let is_proxied = self.options.network == Network::Proxy;
        let proxied =
            PROXIED.iter().filter(|_| is_proxied).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let environment: Vec<_> = visible.chain(simulated).chain(proxied).collect();
        let rules = Rules {
            keep_groups: self.keep_groups(),
            containers: self.options.containers,
            processes: Some(self.processes),
            processor_list: self.options.processor_list.clone(),
        };
        let simulate = self.options.simulate.as_ref();
        Ok(enter::command_line(self.running()?, &self.identity, &rules, simulate, &environment))
    }

    fn copy(&mut self, copy: &Copy) -> Result<(), Error> {
        let timeout = copy::timeout();
        let test = test_of(copy).map(str::to_owned);
        if test.is_some() {
            self.tell_limits(test.as_deref());
        }
        let access = self.running.as_ref().ok_or_else(not_open)?.running.access(&self.identity);
        if let (Some(test), Some(records)) = (&test, &mut self.records) {
            records.note(test, &access, &self.signals)?;
        }
        let result = self.copies.make(copy, &access, &self.signals, timeout);
        if matches!(result, Err(Error::Copy)) {
            self.tell_limits(None);
        }
        result
    }

    fn shell(&mut self, directory: &OsStr, environment: &[OsString]) -> Result<(), Error> {
        let terminal =
            || File::options().read(true).write(true).open("/dev/tty").map_err(Error::step("opening /dev/tty"));
        let words = self.execute_command()?;
        let (program, arguments) = words.split_first().ok_or_else(|| Error::Inside("there is no command".into()))?;
        let mut command = Command::new(program);
        // If the directory is gone, the user can look for it.
        let script = "cd -- \"$1\"; shift; exec env \"$@\" bash -i";
        command.args(arguments).args(["sh", "-c", script, "sh"]).arg(directory).args(environment);
        command.stdin(terminal()?).stdout(terminal()?).stderr(terminal()?);
        command.status().map(drop).map_err(Error::step("running a shell"))
    }
}

/// The test whose output a copy fetches: autopkgtest does so after each.
fn test_of(copy: &Copy) -> Option<&str> {
    let is_up = copy.direction == Direction::Up && copy.what == What::File;
    let name = Path::new(&copy.destination).file_name().filter(|_| is_up)?.to_str()?;
    name.strip_suffix("-stdout").filter(|test| !test.is_empty())
}

/// Resolves the root directory, and checks that it has the directories to mount on.
fn check_root(root: &Path) -> Result<PathBuf, Error> {
    let wrong = |reason: String| Error::Root { root: root.to_owned(), reason };
    let found = root.canonicalize().map_err(|error| wrong(error.to_string()))?;
    for name in ["dev", "etc", "proc", "run", "sys", "tmp"] {
        // A link could redirect mounts to the outside.
        match found.join(name).symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Err(wrong(format!("{name} in it is not a directory"))),
            Err(error) => return Err(wrong(format!("{name}: {error}"))),
        }
    }
    Ok(found)
}

/// Reads a file as it is visible inside; a missing one is empty.
fn read_inside(options: &TestbedOptions, path: &str) -> Result<String, Error> {
    for directory in options.layers.iter().rev().chain([&options.root]) {
        if let Some(text) = read_below(directory, path)? {
            return Ok(text);
        }
    }
    Ok(String::new())
}

/// Reads a file in a directory, resolving links within it.
fn read_below(root: &Path, path: &str) -> Result<Option<String>, Error> {
    let what = format!("reading {path} in {}", root.display());
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, root, flags, Mode::empty()).map_err(Error::step(what.as_str()))?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    match rustix::fs::openat2(&root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT) {
        Ok(file) => {
            let mut bytes = Vec::new();
            File::from(file).read_to_end(&mut bytes).map_err(Error::step(what))?;
            Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
        }
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(Error::step(what)(error)),
    }
}

/// The user to suggest: the requested one, or the first that is neither a system user nor `nobody`.
pub(crate) fn suggested_user(passwd: &str, wanted: Option<&str>) -> Result<Option<String>, Error> {
    let users = passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?.parse::<u32>().ok()?);
        Some((name, id))
    });
    if let Some(wanted) = wanted {
        let found = users.map(|(name, _)| name).any(|name| name == wanted);
        return if found { Ok(Some(wanted.to_owned())) } else { Err(Error::NoUser(wanted.to_owned())) };
    }
    Ok(users.filter(|(_, id)| (1000..60000).contains(id)).min_by_key(|(_, id)| *id).map(|(name, _)| name.to_owned()))
}

/// Id of the group `render` inside; root's if there is none.
fn group_number(group: &str) -> u32 {
    let line = group.lines().find(|line| line.starts_with("render:"));
    line.and_then(|line| line.split(':').nth(2)).and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0::/root:/bin/bash\nnobody:x:65534:65534::/:/bin/false\nmax:x:1001:1:::\ntester:x:1000:1000:::\n";

    #[test]
    fn suggests_the_first_ordinary_user() {
        assert_eq!(suggested_user(PASSWD, None).unwrap().as_deref(), Some("tester"));
        assert_eq!(suggested_user("root:x:0:0:::\nbroken\n", None).unwrap(), None);
    }

    #[test]
    fn suggests_the_user_asked_for_if_there() {
        assert_eq!(suggested_user(PASSWD, Some("max")).unwrap().as_deref(), Some("max"));
        assert!(matches!(suggested_user(PASSWD, Some("eve")), Err(Error::NoUser(_))));
    }

    #[test]
    fn finds_the_group_of_gpus() {
        assert_eq!(group_number("video:x:44:\nrender:x:992:tester\n"), 992);
        assert_eq!(group_number("video:x:44:\n"), 0);
    }

    #[test]
    fn a_directory_that_is_no_root_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let message = check_root(directory.path()).unwrap_err().to_string();
        assert!(message.contains("is not a root directory: dev"), "{message}");
    }

    #[test]
    fn links_in_the_root_do_not_lead_out_of_it() {
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", directory.path().join("passwd")).unwrap();
        assert_eq!(read_below(directory.path(), "passwd").unwrap(), None);
    }

    #[test]
    fn a_tests_output_names_the_test() {
        let copy = |direction, destination: &str| Copy {
            direction,
            what: What::File,
            source: "/tmp/x".into(),
            destination: destination.into(),
        };
        assert_eq!(test_of(&copy(Direction::Up, "/out/gpu-stdout")), Some("gpu"));
        for destination in ["/out/gpu-stderr", "/out/-stdout", "/out/gpu"] {
            assert_eq!(test_of(&copy(Direction::Up, destination)), None, "{destination}");
        }
        assert_eq!(test_of(&copy(Direction::Down, "/out/gpu-stdout")), None);
    }
}
