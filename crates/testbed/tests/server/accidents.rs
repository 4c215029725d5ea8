//! What a hostile or broken test does, as the testbed's root, one after another. After each the machine is as it was, and
//! a testbed beside it answers. docs/security.md has the table, beside what Docker and podman do.
//!
//! Rows about memory need a control group of this machine's, and are ignored where it has none (build.rs finds out);
//! tests/appliance.rs tries them on a machine that has them.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::server::Server;

/// What comes of an attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It fails: the script's status is not 0.
    Refused,
    /// It does what it can to its own testbed, which is thrown away; the script ends with status 0.
    Contained,
    /// The kernel ends the process.
    Killed,
}
use Outcome::{Contained, Killed, Refused};

/// Name, script of sh(1), and what comes of it. `$PID` is a process of the machine, `$FILE` a file of it.
const ATTEMPTS: &[(&str, &str, Outcome)] = &[
    (
        "processes without end",
        "perl -e '$SIG{CHLD} = q(IGNORE); while (defined(my $p = fork)) { $p or sleep 1000 } exit 1'",
        Refused,
    ),
    ("a full disk", "head -c 80M /dev/zero > /tmp/full", Refused),
    ("files without end", "perl -e 'for (1..1e6) { open my $f, q(>), qq(/tmp/f$_) or exit 1 }'", Refused),
    ("directories without end", "perl -e 'for (1..1e6) { mkdir qq(/tmp/d$_) or exit 1 }'", Refused),
    (
        "files in /dev/shm without end",
        "perl -e 'for (1..1e7) { open my $f, q(>), qq(/dev/shm/$_) or exit 1 }'",
        Refused,
    ),
    (
        "processes that ignore signals",
        "for n in 1 2 3; do perl -e '$SIG{$_} = q(IGNORE) for keys %SIG; sleep 1000' > /dev/null 2>&1 & done; true",
        Contained,
    ),
    (
        "a daemon: forked twice, in a session of its own",
        "perl -e 'use POSIX; fork && exit; POSIX::setsid(); fork && exit; close STDOUT; close STDERR; sleep 1000'",
        Contained,
    ),
    (
        "all processors busy",
        "for n in 1 2 3 4 5 6 7 8; do perl -e 'alarm 60; 1 while 1' > /dev/null 2>&1 & done; true",
        Contained,
    ),
    ("killing a process of the machine", "kill -9 $PID", Refused),
    ("tracing a process of the machine", "perl -e 'exit syscall(101, 16, $ENV{PID}, 0, 0) == -1'", Refused),
    ("a process's memory", "cat /proc/$PID/mem /proc/$PID/environ", Refused),
    ("the machine's files through /proc", "cat /proc/$PID/root/$FILE /proc/1/root/$FILE", Refused),
    ("the machine's files by their path", "cat $FILE", Refused),
    ("open files of the caller", "ls -l /proc/self/fd | grep -v -e /proc -e pipe: -e /dev/null -e total", Refused),
    ("mounting a disk", "mount -t ext4 /dev/vda /srv || mount -t tmpfs none /srv", Refused),
    ("mounting /proc anew", "mount -t proc proc /srv", Refused),
    ("making /proc/sys writable", "mount -o remount,rw /proc/sys || umount /proc/sys", Refused),
    ("a program for the kernel to start", "echo '|/tmp/x' > /proc/sys/kernel/core_pattern", Refused),
    ("restarting by sysrq", "echo b > /proc/sysrq-trigger", Refused),
    ("restarting by system call", "perl -e 'exit syscall(169, 0xfee1dead, 672274793, 0x1234567, 0) == -1'", Refused),
    ("another kernel", "perl -e 'exit syscall(246, 0, 0, 0, 0) == -1'", Refused),
    ("memory and disks by device nodes", "mknod /tmp/mem c 1 1 || mknod /tmp/disk b 254 0", Refused),
    (
        "a device that was not granted, by a node of the root directory",
        "test -c /srv/kmsg || exit 0; : > /srv/kmsg",
        Refused,
    ),
    ("a kernel module", "echo x > /tmp/x.ko; insmod /tmp/x.ko", Refused),
    ("setting the clock", "perl -e 'my $t = pack q(qq), 1, 0; exit syscall(227, 0, $t) == -1'", Refused),
    ("the host's name", "hostname taken", Refused),
    (
        "out of the control group",
        "for g in /sys/fs/cgroup /sys/fs/cgroup/..; do echo $$ > $g/cgroup.procs && exit 0; done; mount -t cgroup2 none /srv",
        Refused,
    ),
    ("a program that runs when a control group is empty", "echo /tmp/x > /sys/fs/cgroup/release_agent", Refused),
    ("keys of others", "perl -e 'exit syscall(250, 0, -4, 0) == -1' || grep . /proc/keys", Refused),
    (
        "taking down the machine's network",
        "perl -e 'socket my $s, 16, 3, 0; send $s, pack(q(LSSLLCCSlLL), 32, 16, 5, 1, 0, 0, 0, 0, 1, 0, 1), 0; \
         recv $s, my $r, 999, 0; exit unpack(q(x16l), $r) != 0'",
        Refused,
    ),
    ("packets of any kind", "perl -e 'socket(my $s, 17, 3, 0x0300) || socket($s, 2, 3, 255) or exit 1'", Refused),
    (
        "watching the machine: perf, BPF, userfaultfd",
        // Not permitted, rather than refused for what they are given.
        "perl -e 'exit !grep { my ($call, @rest) = @$_; syscall($call, @rest) != -1 || $! != 1 } \
         [298, 0, 0, -1, -1, 0], [321, 0, 0, 0], [323, 0]'",
        Refused,
    ),
    ("new namespaces", "unshare --user true || unshare --mount true || unshare --net true", Refused),
    ("not to be the first to go", "echo -1000 > /proc/self/oom_score_adj", Refused),
    ("higher limits", "bash -c 'ulimit -u 100000'", Refused),
    ("a set-user-id program", "cp /usr/bin/id /tmp/id && chmod 4755 /tmp/id && /tmp/id", Contained),
];

/// Those that a limit for memory ends. The testbed has 256 MiB.
const MEMORY: &[(&str, &str, Outcome)] = &[
    ("memory without end", "perl -e '$x .= q(x) x (1 << 20) while 1'", Killed),
    (
        "memory of many processes",
        "for n in 1 2 3 4 5 6; do perl -e '$x = q(x) x (100 << 20); sleep 2' & done; wait",
        Contained,
    ),
    (
        "a file without a name",
        "perl -e 'my $n = q(x); my $f = syscall(319, $n, 0); open F, qq(>&=$f); my $x = q(x) x (1 << 20); \
         for (1..400) { syswrite F, $x or die }'",
        Killed,
    ),
    ("a large file in /dev/shm", "head -c 400M /dev/zero > /dev/shm/large", Refused),
    ("a large file in /tmp", "head -c 400M /dev/zero > /tmp/large", Refused),
    ("a large file in /run", "head -c 400M /dev/zero > /run/large", Refused),
    (
        "pipes of the kernel's memory",
        "perl -e 'for (1..400) { pipe $r[$_], $w[$_] or exit; fcntl $w[$_], 1031, 1 << 20; \
      fcntl $w[$_], 4, 2048; syswrite $w[$_], q(x) x (1 << 20) }'",
        Contained,
    ),
];

/// What no attempt may change.
#[derive(Debug, PartialEq, Eq)]
struct Outside {
    read: Vec<String>,
    modules: Vec<String>,
    root: Vec<PathBuf>,
}

impl Outside {
    fn now() -> Self {
        let read = |path: &&str| fs::read_to_string(path).unwrap_or_default();
        let modules = fs::read_to_string("/proc/modules").unwrap_or_default();
        let names = ["", "etc", "tmp", "srv", "run", "dev"].map(|name| crate::server::root().join(name));
        let list = |path: PathBuf| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        let mut root: Vec<PathBuf> = names.into_iter().flat_map(list).collect();
        root.sort();
        Self {
            read: [
                "/proc/sys/kernel/hostname",
                "/proc/sys/kernel/core_pattern",
                "/proc/sys/kernel/sysrq",
                "/proc/swaps",
                "/proc/self/oom_score_adj",
                "/proc/self/limits",
                "/sys/class/net/lo/flags",
            ]
            .iter()
            .map(read)
            .collect(),
            modules: modules.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect(),
            root,
        }
    }
}

/// The clock's time, less the time since the machine was started.
fn clock() -> f64 {
    let up = fs::read_to_string("/proc/uptime").unwrap();
    let up: f64 = up.split(' ').next().unwrap().parse().unwrap();
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() - up
}

/// A process of the machine's, which ends with the test.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        // It is gone if an attempt has ended it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Makes the attempts in testbeds of a server, with another one beside them.
fn attempt(server: &mut Server, attempts: &[(&str, &str, Outcome)]) {
    let mut beside = Server::start(&["--network", "none"]);
    beside.open();
    beside.shell("echo it is well > /tmp/canary; sleep 5000 > /dev/null 2>&1 &");
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut victim = Victim(Command::new("sleep").arg("5000").stdout(Stdio::null()).spawn().expect("sleep"));
    let before = format!("export PID={} FILE={}; ", victim.0.id(), file.path().display());
    let (outside, time) = (Outside::now(), clock());
    server.open();
    for (name, script, outcome) in attempts {
        eprintln!("{name}");
        let tried = server.shell(&format!("{before}{script}"));
        let said = format!("{name}: status {}\n{}{}{}", tried.status, tried.stdout, tried.stderr, server.errors());
        let broken = ["not found", "syntax error", "Modification of", "Illegal option"]
            .iter()
            .any(|text| tried.stderr.contains(text));
        assert!(!broken, "{said}");
        match outcome {
            Refused => assert!(![0, 255].contains(&tried.status), "{said}"),
            Contained => assert_eq!(tried.status, 0, "{said}"),
            Killed => assert_eq!(tried.status, 128 + 9, "{said}"),
        }
        assert_eq!(Outside::now(), outside, "{name}");
        assert!((clock() - time).abs() < 30.0, "{name}: the clock");
        assert!(victim.0.try_wait().unwrap().is_none(), "{name}: the machine's process");
        let canary = beside.shell("cat /tmp/canary; kill -0 %1; set -- /proc/[0-9]*; echo $#");
        assert_eq!(canary.stdout, "it is well\n3\n", "{name}: the testbed beside it: {}", canary.stderr);
        // autopkgtest still gets what there is, and the next test a fresh testbed.
        assert_eq!(server.run(&["cat", "/etc/hostname"]).stdout, "testbed\n", "{said}");
        assert!(server.ask("revert").starts_with("ok "), "{said}");
        server.find_command();
        assert_ne!(server.shell("ls /tmp/full /tmp/f1 /dev/shm/1 /tmp/x.ko /tmp/id").status, 0);
    }
    assert_eq!(server.ask("close"), "ok");
    assert_eq!((server.quit(), beside.quit()), (0, 0));
}

#[test]
fn each_attempt_ends_with_its_testbed() {
    assert!(ATTEMPTS.len() + MEMORY.len() >= 30);
    let mut server = Server::start(&["--processes", "200", "--overlay-size", "64M"]);
    attempt(&mut server, ATTEMPTS);
}

#[test]
#[cfg_attr(
    not(limits),
    ignore = "this machine's /sys/fs/cgroup is not cgroup2 with cpu, memory and pids; tests/appliance.rs boots one that has them"
)]
fn memory_that_is_used_up_is_the_testbeds_own() {
    let groups = Path::new("/sys/fs/cgroup").join(format!("rocbed-test-{}", std::process::id()));
    let path = groups.display().to_string();
    let mut server = Server::start(&["--cgroup", &path, "--memory", "256M", "--processes", "200"]);
    attempt(&mut server, MEMORY);
    let said = server.errors();
    assert!(said.contains("the memory of the testbed was used up: the kernel ended "), "{said}");
    let options = ["--cgroup", &path, "--memory", "256M", "--processes", "200", "--overlay-size", "64M"];
    let mut server = Server::start(&options);
    attempt(&mut server, ATTEMPTS);
    let said = server.errors();
    assert!(said.contains("the testbed reached its limit of 200 processes"), "{said}");
    fs::remove_dir(&groups).expect("no group is left");
}

/// Inside, no node can be made, and no mount but that of `/dev` would let it be used. So the machine's root makes it, from
/// outside: that of the kernel's log, to which every process that can open the node may write.
#[test]
#[cfg_attr(
    not(all(limits, device_filters)),
    ignore = "it takes root, and /sys/fs/cgroup as cgroup2 with cpu, memory and pids; tests/virtual_machine.rs boots a machine with it"
)]
fn a_device_that_was_not_granted_is_not_opened_though_its_node_is_there() {
    let groups = Path::new("/sys/fs/cgroup").join(format!("rocbed-test-devices-{}", std::process::id()));
    let mut server = Server::start(&["--cgroup", &groups.display().to_string()]);
    server.open();
    let group = fs::read_dir(&groups).unwrap().flatten().map(|entry| entry.path()).find(|path| path.is_dir()).unwrap();
    let members = fs::read_to_string(group.join("cgroup.procs")).unwrap();
    let node = format!("/proc/{}/root/dev/foreign", members.lines().next().unwrap());
    assert!(Command::new("mknod").args(["-m", "666", &node, "c", "1", "11"]).status().unwrap().success());
    fs::File::options().write(true).open(&node).expect("outside of the group it can be opened");
    let opened = server.shell(": > /dev/foreign");
    assert!(opened.status != 0 && opened.stderr.contains("not permitted"), "{} {}", opened.status, opened.stderr);
    assert_eq!(server.shell("head -c 1 /dev/zero > /dev/null").status, 0);
    assert_eq!((server.ask("close").as_str(), server.quit()), ("ok", 0));
    fs::remove_dir(&groups).expect("no group is left");
}

#[test]
fn of_four_hundred_megabytes_of_output_the_first_and_the_last_are_kept() {
    let host = tempfile::tempdir().unwrap();
    let mut server = Server::start(&[]);
    let scratch = server.open();
    let words = server.command(&["perl", "-e", "$| = 1; print q(x) x (1 << 20) for 1..400"]);
    let mut writer = Command::new(&words[0]).args(&words[1..]).stdout(Stdio::piped()).spawn().unwrap();
    let (mut count, mut buffer, mut from) = (0, vec![0; 1 << 20], writer.stdout.take().unwrap());
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        count += length;
    }
    assert_eq!((writer.wait().unwrap().code(), count), (Some(0), 400 << 20));
    server.shell(&format!("truncate -s 400M {scratch}/log; echo last >> {scratch}/log"));
    let kept = host.path().join("a-stdout");
    assert_eq!(server.ask(&format!("copyup {scratch}/log {}", kept.display())), "ok");
    let length = fs::metadata(&kept).unwrap().len();
    assert!(length <= 257 << 20, "{length}");
    let end = fs::read(&kept).unwrap();
    assert!(end.ends_with(b"last\n"));
}

#[test]
fn abstract_sockets_and_services_of_the_machine_are_out_of_reach_of_an_own_network() {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("rocbed-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    let service = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = service.local_addr().unwrap().port();
    let mut server = Server::start(&["--network", "none"]);
    server.open();
    for (what, script) in [
        ("an abstract socket", format!("socket S, 1, 1, 0; exit !connect S, pack q(Sxa*), 1, q({name})")),
        ("a service", format!("socket S, 2, 1, 0; exit !connect S, pack q(S n a4 x8), 2, {port}, qq(\\x7f\\0\\0\\1)")),
    ] {
        let tried = server.run(&["perl", "-e", &script]);
        assert_eq!((tried.status, tried.stderr.as_str()), (1, ""), "{what}");
    }
}

/// A process that is traced from outside stays after SIGKILL until its tracer lets it go, as one does that a driver holds.
#[test]
fn a_process_that_cannot_be_killed_is_named_and_harms_nobody() {
    let mut beside = Server::start(&[]);
    beside.open();
    let mut server = Server::start(&[]);
    server.open();
    server.shell("sleep 54322 > /dev/null 2>&1 &");
    let find = || {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let found = |path: &Path| fs::read(path.join("cmdline")).is_ok_and(|line| line == b"sleep\x0054322\0");
        processes.map(|entry| entry.path()).find(|path| found(path))
    };
    let process = std::iter::repeat_with(find).flatten().next().unwrap();
    let pid = process.file_name().unwrap().to_str().unwrap().to_owned();
    let script = "$| = 1; syscall(101, 0x4206, $ARGV[0] + 0, 0, 0) == 0 or die $!; print q(x); sleep 1000";
    let tracer = Command::new("perl").args(["-e", script, &pid]).stdout(Stdio::piped()).spawn();
    let mut tracer = Victim(tracer.expect("perl"));
    assert_eq!(tracer.0.stdout.take().unwrap().read(&mut [0]).unwrap(), 1);
    assert_eq!(server.ask("close"), "");
    let said = server.errors();
    assert!(said.contains("SIGKILL did not end process ") && said.contains(&format!("process {pid} (sleep")), "{said}");
    assert!(said.contains("restart the machine"), "{said}");
    assert_eq!(beside.run(&["cat", "/etc/hostname"]).stdout, "testbed\n");
}
