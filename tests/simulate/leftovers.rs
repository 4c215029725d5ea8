//! Runs tests where all can be seen that their programs leave behind: in namespaces of their own.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rocbed_tests::{scratch, tool};

use crate::{RECIPE, root};

/// Environment variable with the name of the test that already runs in its namespaces.
const INSIDE: &str = "ROCBED_SIMULATE_TEST";
/// Empty file systems of the namespaces, the second one for temporary files too.
const EMPTY: [&str; 2] = ["/run", "/dev/shm"];
/// How long the kernel and the supervisors may take to clear away.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Runs the test `name` of this program again as the first process of new namespaces, and checks that it leaves nothing:
/// no process, mount or socket, and no file in the places of [`EMPTY`] or beside the recipe.
pub fn leaves_nothing(name: &str, body: impl FnOnce()) {
    if std::env::var(INSIDE).is_ok_and(|inside| inside == name) {
        for place in EMPTY {
            tool("mount", ["-t", "tmpfs", "empty", place]);
        }
        let before = everything();
        body();
        let end = Instant::now() + PATIENCE;
        while let Some(left) = everything().difference(&before).next() {
            assert!(Instant::now() < end, "left behind, among others: {left}");
            std::thread::sleep(Duration::from_millis(100));
        }
        return;
    }
    // There is no network in them.
    let recipe = root();
    // As the first process of its namespaces, the test doesn't end by Ctrl-C. It ends with `unshare`, which ends with this.
    // Signals that nohup or a shell has ignored would be ignored by all programs of the test.
    let mut unshare = Command::new("env");
    unshare.args(["--default-signal=HUP,INT,TERM", "setpriv", "--pdeathsig", "KILL", "unshare"]);
    unshare.args(["--net", "--ipc", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    unshare.arg(std::env::current_exe().expect("this program")).args(["--exact", name, "--nocapture"]);
    unshare.env(INSIDE, name).env(RECIPE, recipe).env("TMPDIR", EMPTY[1]);
    let output = unshare.output().expect("setpriv and unshare (of util-linux), as root");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "in its own namespaces:\n{text}");
}

/// What there is in this process's namespaces, a line for each.
fn everything() -> BTreeSet<String> {
    let lines = |kind: &str, path: &str| {
        let text = match fs::read_to_string(path) {
            // A kernel without this kind.
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            text => text.unwrap_or_else(|error| panic!("{path}: {error}")),
        };
        text.lines().map(|line| format!("{kind} {line}")).collect::<Vec<_>>()
    };
    let mut all: BTreeSet<String> = lines("mount", "/proc/self/mountinfo").into_iter().collect();
    for kind in ["unix", "tcp", "tcp6", "udp", "udp6", "netlink", "packet"] {
        all.extend(lines(kind, &format!("/proc/net/{kind}")));
    }
    for kind in ["shm", "sem", "msg"] {
        all.extend(lines(kind, &format!("/proc/sysvipc/{kind}")));
    }
    all.extend(processes());
    let gpu = scratch().join("gpu");
    for place in EMPTY.map(Path::new).into_iter().chain([gpu.as_path()]) {
        all.extend(below(place).iter().map(|path| format!("file {}", path.display())));
    }
    all
}

/// Processes but this one, and those that have ended and would be waited for by an init, which this one is not.
fn processes() -> Vec<String> {
    let entries = fs::read_dir("/proc").expect("/proc").filter_map(Result::ok).map(|entry| entry.path());
    let numbers =
        entries.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().parse::<u32>().is_ok()));
    let others = numbers.filter(|path| *path != Path::new("/proc/1"));
    let running = |path: PathBuf| {
        let stat = fs::read_to_string(path.join("stat")).ok()?;
        // The state follows the name, which may have anything in it (`proc_pid_stat(5)`). It is the first thread's; there
        // may be others that run.
        let (name, rest) = stat.rsplit_once(") ")?;
        let threads = fs::read_dir(path.join("task")).map_or(0, Iterator::count);
        let has_ended = rest.starts_with('X') || rest.starts_with('Z') && threads < 2;
        (!has_ended).then(|| format!("process {name})"))
    };
    others.filter_map(running).collect()
}

/// All that is below a directory; what vanishes meanwhile is not.
fn below(directory: &Path) -> Vec<PathBuf> {
    let (mut found, mut waiting) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn what_is_left_behind_is_seen() {
    leaves_nothing("leftovers::what_is_left_behind_is_seen", || {
        let before = everything();
        let (file, socket, mounted) = ("/dev/shm/left", "/run/left", "/run/mounted");
        fs::write(file, "left").expect("a file");
        let listener = UnixListener::bind(socket).expect("a socket");
        fs::create_dir(mounted).expect("a directory");
        tool("mount", ["-t", "tmpfs", "left", mounted]);
        let mut process = Command::new("sleep").arg("1000").spawn().expect("a process");
        let after = everything();
        let kinds = after.difference(&before).filter_map(|line| line.split(' ').next());
        assert_eq!(kinds.collect::<BTreeSet<_>>(), BTreeSet::from(["file", "mount", "process", "unix"]));
        process.kill().expect("ending it");
        process.wait().expect("its end");
        tool("umount", [mounted]);
        drop(listener);
        for path in [file, socket] {
            fs::remove_file(path).expect("removing it");
        }
        fs::remove_dir(mounted).expect("removing it");
    });
}
