//! What a test may try, as the testbed's root, in testbeds of root and of a user; and what must not come of it: the attack
//! list that the build sandbox's tests try too, and what only a testbed has. docs/security.md has the list beside other
//! containers' defaults.

use std::fs;

use confine::attacks::ATTACKS;

use crate::server::Server;
use crate::user::User;

const PERM: i32 = libc::EPERM;
const NOSYS: i32 = libc::ENOSYS;
const FAMILY: i32 = libc::EAFNOSUPPORT;
const PROTOCOL: i32 = libc::EPROTONOSUPPORT;

/// What of the list a testbed lets a test do, and why.
const BY_DESIGN: &[(&str, &str)] = &[
    ("a set-uid program's rights", "sudo and su work in testbeds"),
    ("capabilities", "debuggers trace, and ping sends, with capabilities over the testbed only"),
    ("interrupts", "counts of the machine's interrupts are not hidden"),
    ("/sys", "tests look at devices there; it is read-only"),
    ("a network", "tests use the machine's, unless the server is told otherwise"),
    ("a service of the host", "the same"),
    ("mount", "the filters leave it to the kernel, which refuses it: tried below with a real file system"),
    ("umount2", "the same"),
    ("open_tree", "the same"),
    ("mount_setattr", "the same"),
    ("setns", "the same"),
    ("adjtimex", "programs may read how the clock is kept; setting it takes a capability over the machine"),
    ("page counts", "not hidden; it takes a capability over the machine to read them"),
];

/// Whose testbed it is that has no network but its own.
const WITHOUT_NETWORK: &str = "of root, without a network";

/// System calls: what for, which, with what, and the error they end with.
const CALLS: &[(&str, i64, &str, i32)] = &[
    ("io_uring", 425, "1, 0", NOSYS),
    ("a call of a kernel to come", 600, "0", NOSYS),
    ("BPF", libc::SYS_bpf, "0, 0, 0", PERM),
    ("tracing the machine", libc::SYS_perf_event_open, "0, 0, -1, -1, 0", PERM),
    ("userfaultfd", libc::SYS_userfaultfd, "0", PERM),
    ("the caller's session keyring", libc::SYS_keyctl, "0, -3, 0", PERM),
    ("the user's keyring", libc::SYS_keyctl, "0, -4, 0", PERM),
    ("adding keys", libc::SYS_add_key, "0, 0, 0, 0, -3", PERM),
    ("asking for keys", libc::SYS_request_key, "0, 0, 0, 0", PERM),
    ("another kernel", libc::SYS_kexec_load, "0, 0, 0, 0", PERM),
    ("a module from memory", libc::SYS_init_module, "0, 0, 0", PERM),
    ("a module from a file", libc::SYS_finit_module, "0, 0, 0", PERM),
    ("removing a module", libc::SYS_delete_module, "0, 0", PERM),
    ("files by their handles", libc::SYS_open_by_handle_at, "0, 0, 0", PERM),
    ("swap", libc::SYS_swapon, "0, 0", PERM),
    ("no swap", libc::SYS_swapoff, "0", PERM),
    ("a restart", libc::SYS_reboot, "0xfee1dead, 672274793, 0x1234567, 0", PERM),
    ("the clock", libc::SYS_clock_settime, "0, 0", PERM),
    ("the time of day", libc::SYS_settimeofday, "0, 0", PERM),
    ("the kernel's log", libc::SYS_syslog, "10, 0, 0", PERM),
    ("process accounting", libc::SYS_acct, "0", PERM),
    ("quotas", libc::SYS_quotactl, "0, 0, 0, 0", PERM),
    ("watching a file system", libc::SYS_fanotify_init, "0, 0", PERM),
    ("pages of the kernel's pipes", libc::SYS_vmsplice, "0, 0, 0, 0", PERM),
    ("others' memory on other nodes", libc::SYS_migrate_pages, "0, 0, 0, 0", PERM),
    ("a personality that makes memory executable", libc::SYS_personality, "0x400000", PERM),
    ("a user namespace", libc::SYS_unshare, "0x10000000", PERM),
    ("a user namespace, with others", libc::SYS_unshare, "0x10020000", PERM),
    ("a user namespace, by clone", libc::SYS_clone, "0x10000011, 0, 0, 0, 0", PERM),
    ("a user namespace, by clone3", 435, "0, 0", NOSYS),
    ("a control group namespace", libc::SYS_unshare, "0x02000000", PERM),
    ("a mount namespace", libc::SYS_unshare, "0x00020000", PERM),
    ("a network namespace", libc::SYS_unshare, "0x40000000", PERM),
    ("a mount", libc::SYS_mount, "\"none\", \"/srv\", \"tmpfs\", 0, 0", PERM),
    ("a file system's module, by mount", libc::SYS_mount, "\"none\", \"/srv\", \"minix\", 0, 0", PERM),
    ("a file system's module, by fsopen", 430, "\"minix\", 0", PERM),
    ("the module of AF_PACKET", libc::SYS_socket, "17, 3, 768", FAMILY),
    ("the module of AF_ALG", libc::SYS_socket, "38, 5, 0", FAMILY),
    ("the module of AF_VSOCK", libc::SYS_socket, "40, 1, 0", FAMILY),
    ("the module of AF_PHONET", libc::SYS_socket, "35, 2, 0", FAMILY),
    ("the module of AF_CAN", libc::SYS_socket, "29, 3, 1", FAMILY),
    ("the module of AF_BLUETOOTH", libc::SYS_socket, "31, 3, 1", FAMILY),
    ("the module of AF_TIPC", libc::SYS_socket, "30, 5, 0", FAMILY),
    ("the module of AF_KEY", libc::SYS_socket, "15, 3, 2", FAMILY),
    ("the module of a family, by a pair", libc::SYS_socketpair, "35, 2, 0, 0", FAMILY),
    ("the module of SCTP", libc::SYS_socket, "2, 1, 132", PROTOCOL),
    ("the module of SCTP, IPv6", libc::SYS_socket, "10, 5, 132", PROTOCOL),
    ("the module of DCCP, by its type", libc::SYS_socket, "2, 6, 0", PROTOCOL),
    ("the module of L2TP, with flags", libc::SYS_socket, "2, 0x80802, 115", PROTOCOL),
    ("the audit log", libc::SYS_socket, "16, 3, 9", PROTOCOL),
    ("modules of generic netlink", libc::SYS_socket, "16, 3, 16", PROTOCOL),
    ("the packet filter", libc::SYS_socket, "16, 3, 12", PROTOCOL),
    ("modules of socket diagnosis", libc::SYS_socket, "16, 3, 4", PROTOCOL),
];

/// What tests, debuggers and ROCm need. The error is one that the filters do not give.
const ALLOWED: &[(&str, i64, &str)] = &[
    ("a local socket", libc::SYS_socket, "1, 1, 0"),
    ("TCP", libc::SYS_socket, "2, 0x80801, 6"),
    ("UDP, without a protocol", libc::SYS_socket, "2, 2, 0"),
    ("addresses and routes", libc::SYS_socket, "16, 0x80003, 0"),
    ("events of devices", libc::SYS_socket, "16, 3, 15"),
    ("tracing a program", libc::SYS_ptrace, "0, 0, 0, 0"),
    ("no random addresses, for debuggers", libc::SYS_personality, "0x40000"),
    ("memory on a node", libc::SYS_set_mempolicy, "0, 0, 0"),
    ("which node memory is on", libc::SYS_move_pages, "0, 0, 0, 0, 0, 0"),
    ("locked memory", libc::SYS_mlockall, "0"),
    ("another root directory", libc::SYS_chroot, "\"/\""),
];

/// Requests of sockets and terminals that are refused.
const IOCTLS: &[(&str, u32)] = &[
    ("typing into a terminal", 0x5412),
    ("typing into a console", 0x541c),
    ("the module of a line discipline", 0x5423),
    ("the module of bridges", 0x8940),
    ("the module of bridges, by a new one", 0x89a0),
    ("the module of VLANs", 0x8982),
];

/// Scripts that must fail.
const SCRIPTS: &[(&str, &str)] = &[
    ("mounting", "mount -t tmpfs none /srv"),
    ("the server's control group", "mount -t cgroup2 none /srv"),
    ("control groups in /sys", "ls -A /sys/fs/cgroup | grep ."),
    ("making the kernel's settings writable", "mount -o remount,rw,bind /proc/sys"),
    ("a program that the kernel starts", "echo '|/tmp/x' > /proc/sys/kernel/core_pattern"),
    ("the program that loads modules", "echo /tmp/x > /proc/sys/kernel/modprobe"),
    ("a binary format", "ls /proc/sys/fs/binfmt_misc/register && echo x > /proc/sys/fs/binfmt_misc/register"),
    ("restarting the machine", "echo b > /proc/sysrq-trigger"),
    ("a device file", "mknod /tmp/disk b 254 0"),
    ("keys", "cat /proc/keys | grep ."),
    ("the agent's settings", "cat /etc/rocbed/rocbed.toml"),
    ("taking away what hides them", "umount /etc/rocbed"),
    ("the first process's files", "ls /proc/1/fd/0"),
    ("the first process's memory", "head -c 1 /proc/1/mem"),
    ("the host's root directory", "ls /proc/1/root/work"),
    ("the host's name", "hostname other"),
];

/// A Perl program that makes a call and prints the error's number; strings are addresses there.
fn call(number: i64, arguments: &str) -> String {
    format!("perl -e 'my @arguments = ({arguments}); print syscall({number}, @arguments) == -1 ? $! + 0 : 0'")
}

fn attack(server: &Server, whose: &str) {
    let modules = fs::read_to_string("/proc/modules").unwrap_or_default();
    for (what, number, arguments, error) in CALLS {
        let tried = server.shell(&call(*number, arguments));
        assert_eq!(tried.stdout, error.to_string(), "{what}, {whose}: {}", tried.stderr);
    }
    for (what, number, arguments) in ALLOWED {
        let tried = server.shell(&call(*number, arguments));
        assert!(!["1", "38", "93", "97"].contains(&&*tried.stdout), "{what}, {whose}: error {}", tried.stdout);
    }
    // A filter need not take away what sudo and su are.
    let suid = "cp /usr/bin/id /tmp/id && chmod 4755 /tmp/id && exec perl -e '$( = $) = 1000; $< = $> = 1000; exec \"/tmp/id\", \"-u\"'";
    assert_eq!(server.shell(suid).stdout, "0\n", "a set-user-id program, {whose}");
    for (what, request) in IOCTLS {
        let script = format!("socket(my $s, 1, 1, 0); my $x = \"\\0\" x 64; ioctl($s, {request}, $x); print $! + 0");
        assert_eq!(server.run(&["perl", "-e", &script]).stdout, "1", "{what}, {whose}");
    }
    for (what, script) in SCRIPTS {
        let tried = server.shell(script);
        assert_ne!(tried.status, 0, "{what}, {whose}: {} {}", tried.stdout, tried.stderr);
    }
    shared_list(server, whose);
    let now = fs::read_to_string("/proc/modules").unwrap_or_default();
    let names =
        |text: &str| text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(names(&now), names(&modules), "modules that were loaded, {whose}");
}

/// The list that build sandboxes withstand too.
fn shared_list(server: &Server, whose: &str) {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    fs::write(&secret, "of the host").unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (file, port) = (secret.display(), listener.local_addr().unwrap().port());
    // A descriptor that a careless caller would leave open.
    let before = format!("export HOST_FILE={file} HOST_PID={} HOST_PORT={port} HOST_FD=99; ", std::process::id());
    let through: Vec<String> = ATTACKS
        .iter()
        .filter(|attack| !BY_DESIGN.iter().any(|(name, _)| *name == attack.name))
        // In a network of its own, root may do what ping needs.
        .filter(|attack| whose != WITHOUT_NETWORK || attack.name != "raw IP")
        .filter_map(|attack| {
            let tried = server.shell(&format!("{before}{}", attack.script()));
            // A script that could not be run proves nothing.
            let broken = tried.stderr.contains("not found") || tried.stderr.contains("syntax error");
            (tried.status == 0 || broken).then(|| format!("{}: {}{}", attack.name, tried.stdout, tried.stderr))
        })
        .collect();
    assert!(
        through.is_empty(),
        "{} of {} went through, {whose}:\n{}",
        through.len(),
        ATTACKS.len(),
        through.join("\n")
    );
}

#[test]
fn nothing_of_the_list_succeeds_in_a_testbed_of_root() {
    let mut server = Server::start(&[]);
    server.open();
    attack(&server, "of root");
    drop(server);
    let mut server = Server::start(&["--network", "none"]);
    server.open();
    attack(&server, WITHOUT_NETWORK);
}

#[test]
fn nothing_of_the_list_succeeds_in_a_testbed_of_a_user() {
    let user = User::new();
    let mut server = user.server();
    server.open();
    attack(&server, "of a user");
}

/// x32 is refused by the list; of i386, a program made here calls `getpid` and would end with 0.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_processors_other_abis_lead_around_nothing() {
    let mut server = Server::start(&[]);
    let scratch = server.open();
    // x32: the calls of x86-64 with a bit.
    assert_eq!(server.shell(&call(0x4000_0000 | libc::SYS_getpid, "0")).stdout, NOSYS.to_string());
    let host = tempfile::tempdir().unwrap();
    let path = host.path().join("i386");
    // mov eax, 20; int 0x80; mov eax, 1; xor ebx, ebx; int 0x80
    let code = [0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0xb8, 1, 0, 0, 0, 0x31, 0xdb, 0xcd, 0x80];
    let mut program = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    program.extend([2, 0, 3, 0, 1, 0, 0, 0]);
    let (base, headers) = (0x0804_8000_u32, 84_u32);
    for word in [base + headers, 52, 0, 0] {
        program.extend(word.to_le_bytes());
    }
    for half in [52_u16, 32, 1, 0, 0, 0] {
        program.extend(half.to_le_bytes());
    }
    let length = headers + code.len() as u32;
    for word in [1, 0, base, base, length, length, 5, 0x1000] {
        program.extend(word.to_le_bytes());
    }
    program.extend(code);
    fs::write(&path, &program).unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(server.ask(&format!("copydown {} {scratch}/i386", path.display())), "ok");
    let tried = server.run(&[&format!("{scratch}/i386")]);
    // SIGSYS; or the kernel has no such ABI.
    assert!([128 + 31, 126].contains(&tried.status), "{} {}", tried.status, tried.stderr);
}

#[test]
fn the_callers_keys_are_neither_read_nor_revoked() {
    let script = format!(
        "my ($keyctl, $add, $name) = ({}, {}, \"rocbed-test\"); syscall($keyctl, 1, $name); \
         my @key = (\"user\", \"my-secret\", \"TOP\", 3, -3); my $key = syscall($add, @key); $key > 0 or die \"add_key: $!\"; \
         system(@ARGV); my $read = \"\\0\" x 8; exit(syscall($keyctl, 11, $key, $read, 8) == 3 ? 0 : 9)",
        libc::SYS_keyctl,
        libc::SYS_add_key
    );
    let program = env!("CARGO_BIN_EXE_autopkgtest-virt-rocbed").to_owned();
    let words = ["perl".to_owned(), "-e".into(), script, program, "--root".into()];
    let words: Vec<String> = words.into_iter().chain([crate::server::root().display().to_string()]).collect();
    let mut server = Server::start_command(&[], &words, &[]);
    server.open();
    let search = call(libc::SYS_keyctl, "10, -3, \"user\", \"my-secret\", 0");
    assert_eq!(server.shell(&search).stdout, "1");
    assert_eq!(server.shell(&call(libc::SYS_keyctl, "3, -3, 0")).stdout, "1", "revoking all of them");
    assert_eq!(server.quit(), 0, "the key is there still");
}

#[test]
fn tests_that_make_containers_have_to_be_allowed_to() {
    let mut server = Server::start(&["--containers"]);
    server.open();
    let made = server.shell("mount -t tmpfs none /srv && unshare --user --net true && hostname other");
    assert_eq!(made.status, 0, "{}", made.stderr);
    for (what, script) in [
        ("the server's control group", "mount -t cgroup2 none /srv".to_owned()),
        ("a control group namespace", "unshare --cgroup true".to_owned()),
        ("making the kernel's settings writable", "mount -o remount,rw,bind /proc/sys".to_owned()),
        ("taking away what hides the settings", "umount /etc/rocbed".to_owned()),
        ("another /proc", "mount -t proc proc /srv && echo 1 > /srv/sys/kernel/sysrq".to_owned()),
    ] {
        assert_ne!(server.shell(&script).status, 0, "{what}");
    }
}

/// Starts processes that stay until no more can be started, and says how many.
const BOMB: &str = "$SIG{CHLD} = \"IGNORE\"; my $n = 0; while (1) { my $p = fork(); last unless defined $p; \
                    if (!$p) { close STDOUT; close STDERR; sleep 1000; exit } $n++ } print $n";

#[test]
fn processes_without_end_come_to_one() {
    let user = User::new();
    for (mut server, whose) in
        [(Server::start(&["--processes", "200"]), "root"), (user.server_with(&["--processes", "200"]), "a user")]
    {
        let scratch = server.open();
        for change in ["", "$( = $) = 1000; $< = $> = 1000; "] {
            let bomb = server.run(&["perl", "-e", &format!("{change}{BOMB}")]);
            let count: u32 = bomb.stdout.parse().unwrap();
            assert!((50..200).contains(&count), "{count} in a testbed of {whose}");
            // autopkgtest still gets in to collect what there is.
            assert_eq!(server.run(&["cat", "/etc/hostname"]).stdout, "testbed\n");
            let copied = server
                .ask(&format!("copyup /etc/hostname {}", user.file(&format!("copied-{whose}").replace(' ', "-"))));
            assert_eq!(copied, "ok", "{whose}: {}", server.errors());
            assert_eq!(server.ask("revert"), format!("ok {scratch}"));
            server.find_command();
        }
    }
}

#[test]
fn files_in_memory_leave_some_of_it() {
    let mut server = Server::start(&[]);
    server.open();
    let memory = fs::read_to_string("/proc/meminfo").unwrap();
    let memory: u64 = memory.lines().next().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap();
    let sizes = server.shell("stat -f -c '%b %S' / /dev/shm /run").stdout;
    let sizes = sizes.lines().map(|line| {
        let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
        numbers[0] * numbers[1] / 1024
    });
    let sum: u64 = sizes.sum();
    assert!(sum < memory * 9 / 10, "{sum} KiB of {memory}");
}
