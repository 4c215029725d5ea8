//! Test of testbeds that are virtual machines: Debian's autopkgtest with `autopkgtest-virt-rocbed --vm` on the smoke image.
//!
//! It is one test, as a machine takes ten seconds and more to start without KVM. It needs five starts: the first one,
//! one before each test, as autopkgtest reverts then, and the restart of the second test. The last test ends the session by
//! a panic of the kernel. The image has no systemd, so a test that needs services is skipped. All else (frames, options, VFIO, copies of hostile directories) has unit tests.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rocbed_tests::{rocbed, rocbed_path, smoke_image, source_tree, tool};

const CONTROL: &str = "Tests: machine\nDepends:\nRestrictions: needs-root, breaks-testbed\n\n\
    Tests: restarts\nDepends:\nRestrictions: needs-reboot, needs-root\n\n\
    Tests: services\nDepends:\nRestrictions: isolation-machine, needs-root\n\n\
    Tests: panics\nDepends:\nRestrictions: needs-root\n";

/// Does what only a machine of its own allows, fills the disk, writes more than is under way at once, and leaves what must
/// not come out.
const MACHINE: &str = "#!/bin/sh -e\n\
    mknod /root/zero c 1 5; head -c 1 /root/zero > /root/broken\n\
    echo 1 > /proc/sys/vm/panic_on_oom\n\
    if head -c 1G /dev/zero > /var/tmp/full; then exit 1; fi 2> /dev/null\n\
    rm /var/tmp/full\n\
    seq 100000\n\
    ln -s /etc/shadow \"$AUTOPKGTEST_ARTIFACTS/out\"\n\
    mkfifo \"$AUTOPKGTEST_ARTIFACTS/pipe\"\n\
    echo fine > \"$AUTOPKGTEST_ARTIFACTS/file\"\n\
    sleep 10000 &\n";

/// Finds its files, and not those of the test before, after a restart with another boot id.
const RESTARTS: &str = "#!/bin/sh -e\n\
    id=/proc/sys/kernel/random/boot_id\n\
    case \"$AUTOPKGTEST_REBOOT_MARK\" in\n\
    '') test ! -e /root/broken; cp $id /root/first; /tmp/autopkgtest-reboot second;;\n\
    second) test -n \"$(cat /root/first)\"; ! cmp -s $id /root/first; echo restarted;;\n\
    *) exit 1;;\n\
    esac\n";

const SERVICES: &str = "#!/bin/sh -e\nsystemctl is-system-running\n";

const PANICS: &str = "#!/bin/sh\necho c > /proc/sysrq-trigger\nsleep 10000\n";

/// autopkgtest as the smoke recipe's lock has it, laid out as in its source tree, which needs no installation. Its virt
/// server of the name `rocbed` is the program under test.
fn autopkgtest(place: &Path) -> PathBuf {
    let lock = include_str!("../recipes/smoke.lock");
    let entry = lock.split("\nname = \"autopkgtest\"\n").nth(1).expect("autopkgtest in the lock");
    let digest =
        entry.lines().find_map(|line| line.strip_prefix("sha256 = \"")?.strip_suffix('"')).expect("its digest");
    let cache = PathBuf::from(rocbed(["cache", "path"]).ok().trim());
    let (deb, unpacked) = (cache.join("sha256").join(&digest[..2]).join(digest), place.join("unpacked"));
    tool("dpkg-deb", ["--extract".as_ref(), deb.as_os_str(), unpacked.as_os_str()]);
    let base = place.join("autopkgtest");
    for directory in ["runner", "virt"] {
        fs::create_dir_all(base.join(directory)).expect("a directory");
    }
    symlink(unpacked.join("usr/share/autopkgtest/lib"), base.join("lib")).expect("a link");
    let server = base.join("virt/autopkgtest-virt-rocbed");
    fs::write(&server, format!("#!/bin/sh\nexec '{}' virt \"$@\"\n", rocbed_path().display())).expect("a script");
    fs::set_permissions(&server, fs::Permissions::from_mode(0o755)).expect("its mode");
    let program = base.join("runner/autopkgtest");
    fs::copy(unpacked.join("usr/bin/autopkgtest"), &program).expect("copying autopkgtest");
    program
}

#[test]
fn tests_have_a_machine_and_a_panic_ends_the_testbed() {
    let image = smoke_image();
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path();
    let files = [
        ("tests/control", CONTROL),
        ("tests/machine", MACHINE),
        ("tests/restarts", RESTARTS),
        ("tests/services", SERVICES),
        ("tests/panics", PANICS),
    ];
    let tree = source_tree(place, "machine", &files);
    let (output, temporary, console) = (place.join("output"), place.join("temporary"), place.join("console"));
    fs::create_dir(&temporary).expect("a directory");

    let mut command = Command::new("/usr/bin/python3");
    command.arg("-B").arg(autopkgtest(place)).args(["--no-built-binaries", "--output-dir"]).arg(&output).arg(&tree);
    command.args(["--", "rocbed", "--memory", "1G", "--disk", "512M", "--network", "none", "--vm"]).arg(&image);
    command.arg("--console").arg(&console).env("TMPDIR", &temporary);
    let ended = command.output().expect("running autopkgtest");
    let log = String::from_utf8_lossy(&ended.stderr).into_owned();
    let all = || format!("{log}\n{}", fs::read_to_string(&console).unwrap_or_default());

    let summary = fs::read_to_string(output.join("summary")).unwrap_or_default();
    let passed = |test: &str| summary.lines().any(|line| line.split_whitespace().eq([test, "PASS"]));
    assert!(passed("machine") && passed("restarts"), "{summary}\n{}", all());
    // autopkgtest may tell a skipped test twice.
    let mut skipped = summary.lines().filter(|line| line.contains("SKIP")).peekable();
    let is_skipped = skipped.peek().is_some() && skipped.all(|line| line.starts_with("services "));
    assert!(is_skipped, "{summary}\n{}", all());
    assert_eq!(ended.status.code(), Some(16), "the panic is a failure of the testbed:\n{}", all());

    let read = |name: &str| fs::read_to_string(output.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(read("machine-stdout").lines().filter(|line| line.parse::<u32>().is_ok()).count(), 100_000);
    assert_eq!(read("restarts-stdout"), "restarted\n");
    assert_eq!(read("artifacts/machine/file"), "fine\n");
    for left_out in ["out", "pipe"] {
        assert!(output.join("artifacts/machine").join(left_out).symlink_metadata().is_err(), "{left_out} came out");
    }

    let left: Vec<_> =
        fs::read_dir(&temporary).expect("the directory").map(|entry| entry.expect("one").path()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    let image = image.display().to_string();
    let processes = tool("ps", ["-eo", "args"]);
    let ours: Vec<_> = processes.lines().filter(|line| line.contains("qemu") && line.contains(&image)).collect();
    assert!(ours.iter().all(|line| !line.contains("org.rocbed.testbed")), "still running: {ours:?}");
}
