//! Runs autopkgtest itself from the root directory of the testbeds.
//!
//! A worker runs the autopkgtest of its image. To get the same results on a developer's machine, `rocbed test` runs
//! that version too, with the image's Python, dpkg and autodep8, whatever the machine has installed. It sees the root
//! directory with its layers as `/`, writable in memory, and from the machine `/dev`, `/proc`, `/sys` and the shared
//! paths, at their usual places. This is not isolation; the testbed is what isolates.
//!
//! This process waits for autopkgtest, passes signals on, and exits with its status. If the calling process ends first,
//! even by SIGKILL, it ends autopkgtest with everything that belongs to it, and removes their directory.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use ::confine::process::die_of;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::mount::{self, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags};
use rustix::process::{Signal, WaitOptions};
use rustix::thread::UnshareFlags;

use crate::Error;
use crate::process::{Child, Event, Signals, fork};

/// Exit status for failures of this program, as distinct from autopkgtest's.
const FAILED: u8 = 20;
/// Interval for checking whether the calling process still exists.
const LOOK: Duration = Duration::from_millis(200);
/// Time for autopkgtest's own processes to end after it was killed; long enough to close a testbed.
const END: Duration = Duration::from_secs(40);

const PASSED_ON: [(i32, Signal); 5] = [
    (libc::SIGHUP, Signal::HUP),
    (libc::SIGINT, Signal::INT),
    (libc::SIGQUIT, Signal::QUIT),
    (libc::SIGTERM, Signal::TERM),
    (libc::SIGALRM, Signal::ALARM),
];

/// Environment variables that autopkgtest gets from the caller; the others are for programs outside the root directory.
const KEPT: [&str; 8] = [
    "LC_ALL",
    "TMPDIR",
    "TERM",
    "AUTOPKGTEST_VIRT_COPY_TIMEOUT",
    "ROCBED_COPY_NOTES",
    "ROCBED_PACKAGE_RECORDS",
    "HOME",
    "TZ",
];
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The command to run, and its root directory.
#[derive(Debug, Default, PartialEq, Eq)]
struct DriverPlan {
    root: PathBuf,
    /// The last layer is on top.
    layers: Vec<PathBuf>,
    /// Files and directories of the machine to show at the same path.
    shared: Vec<PathBuf>,
    /// The calling process.
    caller: Option<i32>,
    /// Where to show the machine's root directory, if programs of the machine are needed.
    machine_root: Option<PathBuf>,
    /// Directory to remove if the calling process ends first.
    remove: Option<PathBuf>,
    command: Vec<OsString>,
}

impl DriverPlan {
    fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Self, Error> {
        let mut plan = Self::default();
        while let Some(name) = arguments.next() {
            if name == "--" {
                break;
            }
            let value = arguments.next().ok_or_else(|| Error::Usage(format!("{} wants a value", name.display())))?;
            match name.to_str() {
                Some("--root") => plan.root = value.into(),
                Some("--layer") => plan.layers.push(value.into()),
                Some("--share") => plan.shared.push(value.into()),
                Some("--machine-root") => plan.machine_root = Some(value.into()),
                Some("--remove") => plan.remove = Some(value.into()),
                Some("--caller") => plan.caller = value.to_str().and_then(|text| text.parse().ok()),
                _ => return Err(Error::Usage(format!("unknown argument {} of autopkgtest", name.display()))),
            }
        }
        plan.command = arguments.collect();
        if plan.root.as_os_str().is_empty() || plan.command.is_empty() {
            return Err(Error::Usage("autopkgtest wants --root and a command".into()));
        }
        Ok(plan)
    }
}

/// Runs a command in the root directory; `arguments` are those after `autopkgtest`.
pub(crate) fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    match run(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("rocbed: running autopkgtest of the root directory: {}", error.in_one_line());
            ExitCode::from(FAILED)
        }
    }
}

fn run(arguments: impl Iterator<Item = OsString>) -> Result<u8, Error> {
    let plan = DriverPlan::parse(arguments)?;
    let signals = Signals::block(&PASSED_ON.map(|(number, _)| number)).map_err(Error::step("blocking signals"))?;
    // Processes that autopkgtest leaves when it is killed become children of this process, which waits for them.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(Error::step("adopting orphans"))?;
    let child = fork(|| execute(&plan)).map_err(Error::step("starting a process"))?;
    loop {
        match signals.wait(child.as_fd(), Some(LOOK)).map_err(Error::step("waiting for autopkgtest"))? {
            Event::Ready => break,
            Event::Signal(number) => {
                for (_, signal) in PASSED_ON.into_iter().filter(|(passed, _)| *passed == number) {
                    // If it has just ended, the next wait notices.
                    let _ = child.signal(signal);
                }
            }
            Event::TimedOut if is_orphan(&plan) => {
                clean_up(&child, &plan);
                return Ok(FAILED);
            }
            Event::TimedOut => {}
        }
    }
    let status = child.wait().map_err(Error::step("waiting for autopkgtest"))?;
    if is_orphan(&plan) {
        clean_up(&child, &plan);
    }
    match status.map(|status| (status.exit_status(), status.terminating_signal())) {
        Some((Some(code), _)) => Ok(u8::try_from(code).unwrap_or(FAILED)),
        Some((None, Some(signal))) => die_of(signal),
        _ => Ok(FAILED),
    }
}

/// Whether the calling process is gone.
fn is_orphan(plan: &DriverPlan) -> bool {
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    plan.caller.is_some_and(|caller| parent != Some(caller))
}

/// Ends all processes and removes their directory. The server closes its testbed when autopkgtest is gone.
fn clean_up(child: &Child, plan: &DriverPlan) {
    child.kill();
    let end = Instant::now() + END;
    while Instant::now() < end {
        match rustix::process::wait(WaitOptions::NOHANG) {
            // Another child may have ended too.
            Ok(Some(_)) => {}
            Ok(None) => std::thread::sleep(Duration::from_millis(20)),
            Err(_) => break,
        }
    }
    // A failure can no longer be reported; the next run removes the directory too.
    let _ = plan.remove.as_ref().map_or(Ok(()), fs::remove_dir_all);
}

/// Executes the command; returns only if that fails.
fn execute(plan: &DriverPlan) -> u8 {
    let entered = rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(Error::step("asking to end with this process"))
        .and_then(|()| enter(plan));
    if let Err(error) = entered {
        eprintln!("rocbed: running autopkgtest of the root directory: {}", error.in_one_line());
        return FAILED;
    }
    let Some((program, arguments)) = plan.command.split_first() else { return FAILED };
    let kept = KEPT.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let mut command = Command::new(program);
    let error = command.args(arguments).env_clear().envs(kept).env("PATH", PATH).exec();
    eprintln!("rocbed: running {} of the root directory: {error}", program.display());
    FAILED
}

/// Makes the root directory this process's root, in a mount namespace.
fn enter(plan: &DriverPlan) -> Result<(), Error> {
    let here = std::env::current_dir().ok();
    let resolver = fs::read("/etc/resolv.conf").ok();
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = |path: &PathBuf| {
        rustix::fs::open(path, directory, Mode::empty()).map_err(Error::step(format!("opening {}", path.display())))
    };
    ::confine::process::unshare(UnshareFlags::NEWNS).map_err(Error::step("making a mount namespace"))?;
    mount::mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(Error::step("making mounts private"))?;
    // Opened in this namespace, as an overlay does not accept mounts of another one.
    let lower: Vec<OwnedFd> = plan.layers.iter().rev().chain([&plan.root]).map(open).collect::<Result<_, _>>()?;
    let shared = ["/dev", "/proc", "/sys"].into_iter().map(Path::new).chain(plan.shared.iter().map(PathBuf::as_path));
    let mut shared: Vec<(PathBuf, OwnedFd)> = shared.map(clone).collect::<Result<_, _>>()?;
    if let Some(place) = &plan.machine_root {
        shared.push((place.clone(), clone(Path::new("/"))?.1));
    }

    // Mounted on the root directory itself, as every machine has it; the mount is visible only in this namespace.
    mount::mount(c"rocbed", &plan.root, c"tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=0755")
        .and_then(|()| rustix::process::chdir(&plan.root))
        .map_err(Error::step("mounting memory to write to"))?;
    for name in ["upper", "work", "root"] {
        fs::create_dir(name).map_err(Error::step(format!("making {name}")))?;
    }
    rustix::fs::chmod(c"upper", Mode::from_raw_mode(0o755)).map_err(Error::step("making upper"))?;
    let names: Vec<String> = lower.iter().map(|fd| format!("/proc/self/fd/{}", fd.as_raw_fd())).collect();
    let options = format!("lowerdir={},upperdir=upper,workdir=work,userxattr", names.join(":"));
    let options = std::ffi::CString::new(options).map_err(Error::step("mounting the root directory"))?;
    mount::mount(c"rocbed", c"root", c"overlay", MountFlags::NODEV, options.as_c_str())
        .map_err(Error::step("mounting the root directory"))?;
    let root =
        rustix::fs::open(c"root", directory, Mode::empty()).map_err(Error::step("opening the root directory"))?;
    if let Some(text) = resolver {
        write_resolver(&text).map_err(Error::step("writing the name servers"))?;
    }
    for (path, tree) in &shared {
        let step = || Error::step(format!("sharing {}", path.display()));
        let place = place(root.as_fd(), path, tree).map_err(step())?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        mount::move_mount(tree, c"", &place, c"", flags).map_err(|error| step()(error.into()))?;
    }
    drop((lower, shared, root));
    crate::mounts::pivot()?;
    // If the working directory is shared, relative paths keep their meaning; otherwise it is not there, and the command
    // starts in /.
    if let Some(here) = here {
        let _ = rustix::process::chdir(&here);
    }
    Ok(())
}

/// A detached copy of a path's mounts.
fn clone(path: &Path) -> Result<(PathBuf, OwnedFd), Error> {
    let step = || Error::step(format!("sharing {}", path.display()));
    let path = path.canonicalize().map_err(step())?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = mount::open_tree(CWD, &path, flags).map_err(|error| step()(error.into()))?;
    Ok((path, tree))
}

/// The existing file may be a link to a file of a service that does not run here.
fn write_resolver(text: &[u8]) -> io::Result<()> {
    match fs::remove_file("root/etc/resolv.conf") {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::write("root/etc/resolv.conf", text),
    }
}

/// Creates and opens the file or directory on which a path of the machine is mounted. Links that lead out of the root
/// are not followed.
fn place(root: impl AsFd, path: &Path, tree: &OwnedFd) -> io::Result<OwnedFd> {
    let is_directory = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(tree)?.st_mode).is_dir();
    let open = |at: &OwnedFd, name: &OsStr| {
        rustix::fs::openat2(at, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::NO_SYMLINKS)
    };
    let mut at = root.as_fd().try_clone_to_owned()?;
    let names: Vec<&OsStr> = path.components().filter_map(normal).collect();
    for (index, name) in names.iter().enumerate() {
        if is_directory || index + 1 < names.len() {
            match rustix::fs::mkdirat(&at, *name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        } else {
            let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            drop(File::from(rustix::fs::openat(&at, *name, flags, Mode::from_raw_mode(0o600))?));
        }
        at = open(&at, name)?;
    }
    // Not the root itself, which would hide everything.
    if names.is_empty() { Err(io::ErrorKind::InvalidInput.into()) } else { Ok(at) }
}

fn normal(part: Component<'_>) -> Option<&OsStr> {
    if let Component::Normal(name) = part { Some(name) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_to_be_run() {
        let words = "--root /r --layer /l --share /s --machine-root /run/m --caller 7 -- autopkgtest --root";
        let words = words.split(' ');
        let plan = DriverPlan::parse(words.map(OsString::from)).unwrap();
        assert_eq!(plan.machine_root, Some("/run/m".into()));
        assert_eq!((plan.root.to_str(), plan.layers.len(), plan.shared.len()), (Some("/r"), 1, 1));
        assert_eq!((plan.caller, plan.command), (Some(7), vec!["autopkgtest".into(), "--root".into()]));
        for words in [&["--root"][..], &["--root", "/r"], &["--", "autopkgtest"], &["--dance", "x"]] {
            assert!(DriverPlan::parse(words.iter().map(OsString::from)).is_err(), "{words:?}");
        }
    }

    #[test]
    fn a_link_in_the_root_directory_is_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), root.path().join("home")).unwrap();
        let open = |path: &Path| rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let tree = open(outside.path());
        assert!(place(open(root.path()), Path::new("/home/max"), &tree).is_err());
        assert!(fs::read_dir(outside.path()).unwrap().next().is_none());
        place(open(root.path()), Path::new("/work/max"), &tree).unwrap();
        assert!(root.path().join("work/max").is_dir());
        assert!(place(open(root.path()), Path::new("/"), &tree).is_err());
    }
}
