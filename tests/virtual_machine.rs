//! Test of testbeds that are virtual machines: `rocbed test --vm` with the smoke image, and so Debian's autopkgtest with
//! `autopkgtest-virt-rocbed --vm`.
//!
//! It is one test, as a machine takes ten seconds and more to start without KVM. It needs five starts: the first one,
//! one before each test, as autopkgtest reverts then, and the restart of the second test. The last test ends the session by
//! a panic of the kernel. The image has no systemd, so a test that needs services is skipped. All else (frames, options, VFIO,
//! copies of hostile directories) has unit tests.

use std::fs;

use rocbed_tests::{rocbed, smoke_image, source_tree, tool};
use serde_json::Value;

const CONTROL: &str = "Tests: machine\nDepends:\nRestrictions: needs-root, breaks-testbed\n\n\
    Tests: restarts\nDepends:\nRestrictions: needs-reboot, needs-root\n\n\
    Tests: services\nDepends:\nRestrictions: isolation-machine, needs-root\n\n\
    Tests: panics\nDepends:\nRestrictions: needs-root\n";

/// Does what only a machine of its own allows, fills the disk of 16 GiB, writes more than is under way at once, and leaves what
/// must not come out.
const MACHINE: &str = "#!/bin/sh -e\n\
    mknod /root/zero c 1 5; head -c 1 /root/zero > /root/broken\n\
    echo 1 > /proc/sys/vm/panic_on_oom\n\
    ! fallocate --length 17G /var/tmp/full 2> /run/full\n\
    rm --force /var/tmp/full\n\
    grep 'No space left' /run/full\n\
    . debian/tests/devices\n\
    seq 100000\n\
    ln -s /etc/shadow \"$AUTOPKGTEST_ARTIFACTS/out\"\n\
    mkfifo \"$AUTOPKGTEST_ARTIFACTS/pipe\"\n\
    echo fine > \"$AUTOPKGTEST_ARTIFACTS/file\"\n\
    sleep 10000 &\n";

/// Opens a testbed on the machine, as a worker does, and puts the node of a device into it that was not granted: that of the
/// kernel's log, to which every process that can open the node may write. Root inside must not be able to. This needs control groups,
/// which the machine that runs the tests may not have.
const DEVICES: &str = "mkfifo /root/requests\n\
    /run/rocbed/rocbed-init virt --root /run/rocbed/root --cgroup /sys/fs/cgroup/inner --network none \\\n\
    < /root/requests > /root/answers &\n\
    exec 3> /root/requests\n\
    echo open >&3; echo print-execute-command >&3\n\
    tries=0\n\
    until grep -q , /root/answers; do\n\
    kill -0 $!\n\
    tries=$((tries + 1))\n\
    if [ $tries -gt 600 ]; then cat /root/answers; exit 1; fi\n\
    sleep 0.1\n\
    done\n\
    enter=$(sed -n 's/%3D/=/g; s/^ok \\(.*,.*\\)/\\1/p' /root/answers | tr , ' ')\n\
    inside=/proc/$(head -n 1 /sys/fs/cgroup/inner/testbed-*/cgroup.procs)/root\n\
    mknod -m 666 $inside/dev/foreign c 1 11\n\
    true > $inside/dev/foreign\n\
    $enter sh -c 'true > /dev/null'\n\
    if $enter sh -c 'true > /dev/foreign' 2> /root/refused; then echo opened; exit 1; fi\n\
    grep 'foreign: Operation not permitted' /root/refused\n\
    echo quit >&3\n\
    wait $!\n";

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

#[test]
fn tests_have_a_machine_and_a_panic_ends_the_testbed() {
    let image = smoke_image();
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path();
    let files = [
        ("tests/control", CONTROL),
        ("tests/machine", MACHINE),
        ("tests/devices", DEVICES),
        ("tests/restarts", RESTARTS),
        ("tests/services", SERVICES),
        ("tests/panics", PANICS),
    ];
    let tree = source_tree(place, "machine", &files);
    let [results, disks, temporary] = ["results", "disks", "temporary"].map(|name| place.join(name));
    for path in [&disks, &temporary] {
        fs::create_dir(path).expect("a directory");
    }

    let call = rocbed(["test", "smoke", "--json", "--memory", "1G", "--output"]).arg(&results);
    let call = call.arg(format!("--vm={}", image.display())).arg("--overlay-dir").arg(&disks).arg(&tree);
    let ended = call.env("TMPDIR", &temporary).run();
    let log = &ended.stderr;
    assert_eq!(ended.code, Some(16), "the panic is a failure of the testbed:\n{log}");
    let result: Value =
        serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("no result ({error}): {log}"));
    assert_eq!(result["verdict"], "testbed-failed", "{result}");
    let tests = result["runs"][0]["tests"].as_array().expect("tests");
    let outcome = |test: &str| tests.iter().find(|one| one["name"] == test).and_then(|one| one["outcome"].as_str());
    let outcomes = ["machine", "restarts", "services"].map(outcome);
    assert_eq!(outcomes, [Some("pass"), Some("pass"), Some("skip")], "{result}\n{log}");

    let output = results.join(result["runs"][0]["directory"].as_str().expect("a directory"));
    let read = |name: &str| fs::read_to_string(output.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let said = read("machine-stdout");
    assert!(said.contains("/dev/foreign: Operation not permitted"), "{}", said.get(..200).unwrap_or(&said));
    assert_eq!(said.lines().filter(|line| line.parse::<u32>().is_ok()).count(), 100_000);
    assert_eq!(read("restarts-stdout"), "restarted\n");
    assert_eq!(read("artifacts/machine/file"), "fine\n");
    for left_out in ["out", "pipe"] {
        assert!(output.join("artifacts/machine").join(left_out).symlink_metadata().is_err(), "{left_out} came out");
    }

    for path in [&disks, &temporary] {
        let left: Vec<_> = fs::read_dir(path).expect("the directory").map(|entry| entry.expect("one").path()).collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }
    let image = image.display().to_string();
    let processes = tool("ps", ["-eo", "args"]);
    let ours: Vec<_> = processes.lines().filter(|line| line.contains("qemu") && line.contains(&image)).collect();
    assert!(ours.iter().all(|line| !line.contains("org.rocbed.testbed")), "still running: {ours:?}");
}
