//! Programs that misuse a simulated GPU get the kernel's errors, and leave nothing behind. `docs/simulated-gpu.md` lists
//! what is tried.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdout, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rocbed_tests::{Output, rocbed, rocbed_path, tool};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::leftovers::{PATIENCE, leaves_nothing};
use crate::{program, root, simulate};

/// Runs a program of the fixtures that makes requests without a library.
fn requests(name: &str, words: &[&str]) -> Output {
    let text = program("kfd.py") + &program(name);
    let output = simulate("gfx1030", &[&["python3", "-c", &text], words].concat());
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
    output
}

/// Runs one that prints each request with what came of it.
fn asks(name: &str, expected: &[(&str, &str)]) {
    let output = requests(name, &[]);
    let expected: String = expected.iter().map(|(what, answer)| format!("{what}: {answer}\n")).collect();
    assert_eq!(output.stdout, expected, "{}", output.stderr);
}

#[test]
fn programs_that_misuse_hip_get_errors_and_leave_nothing() {
    // HIP's own answers: hipErrorInvalidValue is 1, hipErrorOutOfMemory 2, hipErrorInvalidDevice 101.
    let misuses = [
        ("a copy to an address that is nobody's", 0, "1"),
        ("memory that is freed twice", 0, "1"),
        ("a copy to freed memory", 0, "1"),
        ("a copy that is longer than the memory", 0, "1"),
        ("more memory than the GPU has", 0, "2"),
        ("a GPU that is not there", 0, "101"),
        ("a child that does not use it", 0, "0"),
        ("a child that does", 0, "0"),
        // As with Debian's kernel, which does not have AMD's request for it.
        ("memory for another process", 0, "1"),
        ("nothing is freed", 0, ""),
        ("killed in the middle", 137, ""),
        ("another program is executed", 0, ""),
    ];
    leaves_nothing("misuses::programs_that_misuse_hip_get_errors_and_leave_nothing", || {
        let names = misuses.map(|(misuse, ..)| misuse);
        let script = "for misuse; do python3 -c \"$0\" misuse \"$misuse\"; echo \"$misuse: status $?\"; done; true";
        let output = simulate("gfx1100", &[&["sh", "-c", script, &program("hip.py")], &names[..]].concat());
        assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
        let mut rest = output.stdout.as_str();
        for (misuse, code, answer) in misuses {
            let end = format!("{misuse}: status {code}\n");
            let parts = rest.split_once(&end);
            let (said, after) = parts.unwrap_or_else(|| panic!("no {end:?} in {rest}\n{}", output.stderr));
            let said = said.lines().find_map(|line| line.strip_prefix("answer: ")).unwrap_or_default();
            assert_eq!(said, answer, "{misuse}: {}{}", output.stdout, output.stderr);
            rest = after;
        }
    });
}

#[test]
fn requests_that_no_library_makes_are_refused() {
    let expected = [
        ("the version", "done"),
        ("an argument that is nowhere", "EFAULT"),
        ("a request that is not there", "ENOTTY"),
        ("memory before the GPU is acquired", "EPERM"),
        ("acquiring a GPU that is not there", "EINVAL"),
        ("acquiring it", "done"),
        ("memory at an odd address", "EINVAL"),
        ("no memory", "EINVAL"),
        ("memory that goes round", "EINVAL"),
        ("memory", "done"),
        ("freeing another handle", "EINVAL"),
        ("freeing it", "done"),
        ("freeing it again", "EINVAL"),
        ("mapping freed memory", "EINVAL"),
        ("a queue without a ring", "EINVAL"),
        ("a queue whose pointers are nowhere", "EFAULT"),
        ("ending a queue that is not there", "EINVAL"),
        ("setting an event that is not there", "EINVAL"),
        ("waiting at an address that is nowhere", "EFAULT"),
        ("waiting for too much", "EINVAL"),
        ("sharing memory of no length", "EINVAL"),
        ("sharing memory with more attributes than there are", "EINVAL"),
        ("sharing memory with a GPU that is not there", "EINVAL"),
        ("the same request to another file", "ENOTTY"),
        ("memory of the device can be written", "done"),
    ];
    leaves_nothing("misuses::requests_that_no_library_makes_are_refused", || asks("requests.py", &expected));
}

#[test]
fn accidents_of_programs_are_answered_and_leave_nothing() {
    let expected = [
        ("a truncated argument gets what fits", "done"),
        ("the rest of a long argument stays", "done"),
        ("an argument of no length", "EINVAL"),
        ("an argument without its second half", "EINVAL"),
        ("an argument across the end of memory", "EFAULT"),
        ("memory for GPUs that are listed nowhere", "EFAULT"),
        ("memory for more GPUs than there can be", "EINVAL"),
        ("memory for a GPU", "done"),
        ("other memory at its address", "EINVAL"),
        ("freeing memory that a GPU still has", "EBUSY"),
        ("more memory than the GPU has", "ENOMEM"),
        ("a queue", "done"),
        ("a ring of an odd size", "EINVAL"),
        ("ending it", "done"),
        ("ending it again", "EINVAL"),
        ("changing it then", "EINVAL"),
        ("ending a queue whose ring is unmapped", "done"),
        ("waiting for an event that is destroyed then", "EIO"),
        ("destroying it again", "EINVAL"),
        ("waiting for it again", "EINVAL"),
        ("waiting for what never happens", "timeout"),
        ("a signal in the middle of a wait", "EINTR"),
        ("a wait whose list of events is unmapped then", "EFAULT"),
        ("a copy from unmapped memory", "done"),
        ("a file that is closed while it is waited on", "timeout, then EBADF"),
        ("a program that is killed while it waits", "SIGKILL"),
        ("one that is stopped and goes on", "timeout"),
        ("programs that end while two threads ask", "done"),
        ("a program whose first thread has ended", "done, with a file of its own done"),
        // With a GPU, mapping it is refused.
        ("memory of the device at a wrong offset", "SIGBUS"),
        ("a child with its parent's file", "EBADF"),
        ("a child with its parent's handles", "done, EINVAL, EINVAL"),
        ("a file that is sent to another program", "EBADF"),
        ("an orphan with the file of its parent", "EBADF"),
        ("a program that changes its user", "done"),
        ("a program that nobody may look into", "done"),
        ("a program without free descriptors", "EMFILE, and with the file that it has done"),
        ("a program with a supervisor of its own", "EBUSY, and the GPU done"),
        ("many programs at once", "100 done, 0 EPERM, 0 no longer answered"),
        ("a program that ends with most of the GPU's memory", "done"),
        ("one that is killed with as much", "SIGKILL"),
        ("one that has as much then", "done"),
        ("and wants it again", "ENOMEM"),
        ("another program with the file of the one before", "done"),
        ("and with its memory", "EINVAL"),
        ("and with as much memory of its own", "done"),
    ];
    leaves_nothing("misuses::accidents_of_programs_are_answered_and_leave_nothing", || {
        // The supervisor has more files open than this for so many programs.
        let limit = Rlimit { current: Some(128), ..getrlimit(Resource::Nofile) };
        setrlimit(Resource::Nofile, limit).expect("fewer files");
        asks("accidents.py", &expected);
    });
}

#[test]
fn programs_that_the_supervisor_has_no_files_for_are_refused() {
    leaves_nothing("misuses::programs_that_the_supervisor_has_no_files_for_are_refused", || {
        let limit = Rlimit { current: Some(128), maximum: Some(128) };
        setrlimit(Resource::Nofile, limit).expect("fewer files, for good");
        let output = requests("accidents.py", &["many"]);
        let counted = output.stdout.strip_prefix("programs at once: ").and_then(|rest| rest.split_once(' '));
        let count = counted.and_then(|(count, _)| count.parse::<u32>().ok()).expect("how many were answered");
        assert!((20..100).contains(&count), "{count}");
        let rest = format!("programs at once: {count} done, {} EPERM, 0 no longer answered\n", 100 - count);
        assert_eq!(output.stdout, rest, "{}", output.stderr);
        assert!(output.stderr.contains(" at once were refused: the limit of open files"), "{}", output.stderr);
    });
}

#[test]
fn a_program_in_namespaces_of_its_own_is_answered() {
    leaves_nothing("misuses::a_program_in_namespaces_of_its_own_is_answered", || {
        let asks = rocbed_tests::fixture_tree("asks").join("debian/tests/kfd").display().to_string();
        let words = ["simulate", "gfx1030", "--", "unshare", "--pid", "--mount", "--ipc", "--fork", "perl"];
        let said = rocbed(words).arg(asks).ok();
        assert!(said.starts_with("KFD 1."), "{said}");
    });
}

/// Starts a script with a simulated GPU, in the root directory or on this machine, and waits until it says `up`.
fn start(words: &[&str], script: &str) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut command = rocbed(["simulate", "gfx1030"]).args(words).args(&["--", "sh", "-c", script]).into_command();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut running = command.spawn().expect("starting rocbed");
    let mut lines = BufReader::new(running.stdout.take().expect("its output")).lines();
    assert_eq!(lines.next().expect("a line").expect("a line"), "up");
    (running, lines)
}

#[test]
fn killing_the_simulation_leaves_nothing() {
    leaves_nothing("misuses::killing_the_simulation_leaves_nothing", || {
        for signal in ["-KILL", "-TERM", "-HUP"] {
            let script = "rocminfo > /dev/null; echo up; exec sleep 1000";
            let (mut running, _) = start(&["--root", root()], script);
            tool("kill", [signal, &running.id().to_string()]);
            running.wait().expect("its end");
        }
    });
}

#[test]
fn a_program_is_not_left_waiting_when_its_supervisor_is_killed() {
    leaves_nothing("misuses::a_program_is_not_left_waiting_when_its_supervisor_is_killed", || {
        // rocminfo may end in the middle of a line.
        let script = "rocminfo > /dev/null && echo up && read word; rocminfo; status=$?; echo; echo \"status $status\"";
        let (mut running, rest) = start(&["--root", root()], script);
        // The supervisor is a child of the process that runs the command, which is one of ours; it has a session of its
        // own.
        let all = tool("ps", ["-eo", "pid,ppid,sid"]);
        let all: Vec<Vec<&str>> = all.lines().map(|line| line.split_whitespace().collect()).collect();
        let ours = running.id().to_string();
        let parent = |pid: &str| all.iter().find(|process| process[0] == pid).map(|process| process[1]);
        let is_ours = |process: &&Vec<&str>| parent(process[1]) == Some(&*ours) && process[0] == process[2];
        let program = |pid: &str| fs::read_link(format!("/proc/{pid}/exe")).ok();
        let is_rocbed = |process: &&Vec<&str>| program(process[0]) == program(&ours);
        let pids: Vec<&str> = all.iter().filter(is_ours).filter(is_rocbed).map(|process| process[0]).collect();
        assert_eq!(pids.len(), 1, "{all:?}");
        tool("kill", ["-KILL", pids[0]]);
        running.stdin.take().expect("its input").write_all(b"\n").expect("a word for the program");
        let rest: Vec<String> = rest.map(|line| line.expect("a line")).collect();
        let status = rest.iter().find_map(|line| line.strip_prefix("status "));
        assert!(status.is_some_and(|status| status != "0"), "{rest:?}");
        running.wait().expect("its end");
    });
}

#[test]
fn orphans_end_with_their_testbed_and_are_answered_on_the_machine() {
    leaves_nothing("misuses::orphans_end_with_their_testbed_and_are_answered_on_the_machine", || {
        let (mut running, _) = start(&["--root", root()], "exec 3<> /dev/kfd; setsid sleep 1000 & echo up");
        assert!(running.wait().expect("its end").success());

        let directory = tempfile::tempdir().expect("a directory");
        let (go, said) = (directory.path().join("go"), directory.path().join("said"));
        tool("mkfifo", [&go]);
        let asks = rocbed_tests::fixture_tree("asks").join("debian/tests/kfd");
        let orphan = format!("read go; perl {} 2>&1 | tr '\\n' ' '", asks.display());
        let script = format!("setsid sh -c \"{orphan}\" < {} > {} & echo up", go.display(), said.display());
        let (mut running, _) = start(&["--quiet"], &script);
        assert!(running.wait().expect("its end").success());
        // Opened for reading too, it doesn't wait for an orphan that is gone; and it is open until the orphan has read.
        let mut word = File::options().read(true).write(true).open(&go).expect("a line to the orphan");
        word.write_all(b"go\n").expect("a word for the orphan");
        let end = Instant::now() + PATIENCE;
        let said = loop {
            // It may not have made the file yet.
            let text = fs::read_to_string(&said).unwrap_or_default();
            if text.contains("gfx_target_version 100300") || Instant::now() > end {
                break text;
            }
            thread::sleep(Duration::from_millis(20));
        };
        assert!(said.starts_with("KFD 1."), "{said}");
    });
}

#[test]
fn a_simulation_in_a_simulation_says_why_it_can_not_be() {
    leaves_nothing("misuses::a_simulation_in_a_simulation_says_why_it_can_not_be", || {
        let program = rocbed_path().display().to_string();
        let output = rocbed(["simulate", "gfx1030", "--", &program, "simulate", "gfx1100", "--", "true"]).run();
        assert_eq!(output.code, Some(125), "{}", output.stderr);
        assert!(output.stderr.contains("a supervisor of system calls is there already"), "{}", output.stderr);
        assert!(output.stderr.contains("; run it outside of that"), "{}", output.stderr);
    });
}
