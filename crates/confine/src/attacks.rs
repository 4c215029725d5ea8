//! The attack list: what a hostile program tries from inside of a build sandbox or a testbed, as data for the tests of
//! both. Every line is harmless where it is refused, and changes nothing where it is not.
//!
//! A script's exit status 0 means that the attack went through; a call's, that the kernel did more than refuse it. Scripts
//! are given `$HOST_FILE` (a file of the host), `$HOST_PID` (a process of it), `$HOST_PORT` (a port that the host listens on
//! at its loopback) and `$HOST_FD` (a file descriptor that the caller left open).

/// One attempt.
pub struct Attack {
    /// What is attacked.
    pub name: &'static str,
    /// How it is attacked.
    pub way: Way,
}

/// How an attack is done.
pub enum Way {
    /// A script of sh(1).
    Script(&'static str),
    /// A system call (its number on x86-64, and arguments) that is not permitted or not there: `EPERM`, `ENOSYS`.
    Call(u64, &'static [u64]),
    /// A family of sockets, a type and a protocol that the kernel would load a module for.
    Socket(u64, u64, u64),
    /// A request to a socket or terminal: `ioctl(2)`.
    Request(u32),
}

impl Attack {
    /// A script of sh(1) that does it, and ends with status 0 if it goes through. It needs perl for all but scripts.
    pub fn script(&self) -> String {
        // EPERM, ENOSYS, EPROTONOSUPPORT and EAFNOSUPPORT are how a filter or the kernel refuses.
        let refused = |number: u64, arguments: &[u64]| {
            let arguments: String = arguments.iter().map(|argument| format!(", {argument}")).collect();
            format!("perl -e 'my $r = syscall({number}{arguments}); exit($r == -1 && grep $! == $_, 1, 38, 93, 97)'")
        };
        match &self.way {
            Way::Script(text) => (*text).to_owned(),
            Way::Call(number, arguments) => refused(*number, arguments),
            Way::Socket(family, kind, protocol) => refused(41, &[*family, *kind, *protocol]),
            Way::Request(request) => format!(
                "perl -e 'socket(my $s, 1, 1, 0); my $x = \"\\0\" x 64; ioctl($s, {request}, $x); exit($! == 1)'"
            ),
        }
    }
}

const fn script(name: &'static str, text: &'static str) -> Attack {
    Attack { name, way: Way::Script(text) }
}

const fn call(name: &'static str, number: u64, arguments: &'static [u64]) -> Attack {
    Attack { name, way: Way::Call(number, arguments) }
}

const fn socket(name: &'static str, family: u64, kind: u64, protocol: u64) -> Attack {
    Attack { name, way: Way::Socket(family, kind, protocol) }
}

const fn request(name: &'static str, request: u32) -> Attack {
    Attack { name, way: Way::Request(request) }
}

/// All of them.
pub const ATTACKS: &[Attack] = &[
    // Settings of the kernel, some of which name a program that it runs as the host's root.
    script("core_pattern", "v=$(cat /proc/sys/kernel/core_pattern) && echo \"$v\" > /proc/sys/kernel/core_pattern"),
    script("modprobe", ": >> /proc/sys/kernel/modprobe"),
    script("poweroff_cmd", ": >> /proc/sys/kernel/poweroff_cmd"),
    script("sysrq", ": >> /proc/sys/kernel/sysrq"),
    script("panic", ": >> /proc/sys/kernel/panic"),
    script("drop_caches", ": >> /proc/sys/vm/drop_caches"),
    script("binfmt_misc", ": >> /proc/sys/fs/binfmt_misc/register"),
    script("ns_last_pid", ": >> /proc/sys/kernel/ns_last_pid"),
    script("sysrq-trigger", ": >> /proc/sysrq-trigger"),
    script("interrupts' processors", ": >> /proc/irq/default_smp_affinity"),
    script("wake-up devices", ": >> /proc/acpi/wakeup"),
    script("PCI configuration", "for f in /proc/bus/pci/*/*; do : >> $f && exit 0; done; exit 1"),
    script("SCSI devices", ": >> /proc/scsi/scsi"),
    script("the NFS server", ": >> /proc/fs/nfsd/threads"),
    script("/sys", "set -- /sys/*; [ -e $1 ] || : > /sys/x"),
    script("oom_score_adj", "echo -900 > /proc/self/oom_score_adj"),
    // What the kernel tells about itself and others.
    script("memory in /proc/kcore", "[ -n \"$(head -c 4 /proc/kcore)\" ]"),
    script("the kernel's log", "[ -n \"$(perl -e 'open F, q(/proc/kmsg) or exit; sysread F, $b, 9; print $b')\" ]"),
    script("keys", "grep -q . /proc/keys"),
    script("kernel symbols", "grep -q . /proc/kallsyms"),
    script("timers", "grep -q . /proc/timer_list"),
    script("interrupts", "grep -q . /proc/interrupts"),
    script("page counts", "[ -n \"$(head -c 8 /proc/kpagecount)\" ]"),
    // Devices.
    script("memory as a device", "mknod /tmp/mem c 1 1 && head -c 1 /tmp/mem"),
    script("a device in /dev", "mknod /dev/attack c 1 1 && perl -e 'unlink q(/dev/attack)'"),
    script("a device on the disk", "mknod /attack c 1 1 && perl -e 'unlink q(/attack)'"),
    script("a device of a package's", "head -c 1 /device-of-a-package"),
    script("the host's disk", "set -- $(head -1 /proc/diskstats); mknod /disk b $1 $2 && head -c 1 /disk"),
    script(
        "other devices in /dev",
        "for n in kmsg mem kvm fuse loop0 sda vda kfd dri net; do [ -e /dev/$n ] && exit 0; done; exit 1",
    ),
    script("the caller's terminal", ": > /dev/tty"),
    // Out of the root directory.
    script("a file of the host", "cat \"$HOST_FILE\""),
    script("a file through /proc/1/root", "cat \"/proc/1/root$HOST_FILE\""),
    script(
        "out of a chroot",
        "mkdir -p /tmp/c; perl -e 'chroot q(/tmp/c); chdir q(..) for 1..99; chroot q(.); exit !-e $ENV{HOST_FILE}'",
    ),
    script("an open file of the caller", "[ -e /proc/$$/fd/$HOST_FD ]"),
    script("the caller's environment", "[ -n \"$CARGO_MANIFEST_DIR\" ]"),
    script("a process of the host", "kill -0 $HOST_PID"),
    script(
        "a service of the host",
        "perl -e 'socket S, 2, 1, 0 or exit 1; exit !connect S, pack q(S n a4 x8), 2, $ENV{HOST_PORT}, qq(\\x7f\\0\\0\\1)'",
    ),
    script("a network", "grep : /proc/net/dev | grep -qv lo:"),
    // Rights.
    script("a set-uid program's rights", "grep -q '^NoNewPrivs:.*0' /proc/self/status"),
    script("no filter", "grep -q '^Seccomp:.*0' /proc/self/status"),
    // NET_ADMIN, NET_RAW, SYS_MODULE, SYS_RAWIO, SYS_PTRACE, SYS_ADMIN, SYS_BOOT, SYS_TIME, MKNOD, DAC_READ_SEARCH.
    script(
        "capabilities",
        "for c in $(grep ^Cap /proc/self/status | cut -f 2); do [ $((0x$c & 0xa6b3004)) = 0 ] || exit 0; done; exit 1",
    ),
    // Mounts and namespaces.
    call("mount", 165, &[0, 0, 0, 0, 0]),
    call("umount2", 166, &[0, 0]),
    call("pivot_root", 155, &[0, 0]),
    call("fsopen", 430, &[0, 0]),
    call("open_tree", 428, &[0, 0, 0]),
    call("move_mount", 429, &[0, 0, 0, 0, 0]),
    call("mount_setattr", 442, &[0, 0, 0, 0, 0]),
    call("a new user namespace", 272, &[0x1000_0000]),
    call("a new mount namespace", 272, &[0x0002_0000]),
    call("a child in a user namespace", 56, &[0x1000_0011, 0, 0, 0, 0]),
    call("clone3", 435, &[0, 0]),
    call("setns", 308, &[0, 0]),
    call("a new network namespace", 272, &[0x4000_0000]),
    call("a new control group namespace", 272, &[0x0200_0000]),
    call("a new user namespace, with others", 272, &[0x1002_0000]),
    call("sethostname", 170, &[0, 0]),
    call("files by handle", 304, &[0, 0, 0]),
    // Keys.
    call("keyctl", 250, &[0, 0xffff_fffd, 0, 0, 0]),
    call("keyctl as x32", 0x4000_00fa, &[0, 0xffff_fffd, 0, 0, 0]),
    call("the user's keyring", 250, &[0, 0xffff_fffc, 0, 0, 0]),
    call("add_key", 248, &[0, 0, 0, 0, 0]),
    call("request_key", 249, &[0, 0, 0, 0]),
    // Parts of the kernel in which holes are found.
    call("bpf", 321, &[99, 0, 0]),
    call("perf_event_open", 298, &[0, 0, 0, 0, 0]),
    call("userfaultfd", 323, &[0xffff]),
    call("io_uring", 425, &[0, 0]),
    call("fanotify", 300, &[0xffff_ffff, 0]),
    call("vmsplice", 278, &[0xffff_ffff, 0, 0, 0]),
    call("migrate_pages", 256, &[0, 0, 0, 0]),
    call("a personality that makes memory executable", 135, &[0x40_0000]),
    // The kernel and the machine.
    call("init_module", 175, &[0, 0, 0]),
    call("finit_module", 313, &[0xffff_ffff, 0, 0]),
    call("delete_module", 176, &[0, 0]),
    call("kexec_load", 246, &[0, 0, 0, 0xffff_ffff]),
    call("kexec_file_load", 320, &[0, 0, 0, 0, 0xffff_ffff]),
    call("reboot", 169, &[0, 0, 0, 0]),
    call("swapon", 167, &[0, 0]),
    call("swapoff", 168, &[0]),
    call("clock_settime", 227, &[99, 0]),
    call("settimeofday", 164, &[0, 1]),
    call("adjtimex", 159, &[0]),
    call("acct", 163, &[1]),
    call("quotactl", 179, &[0, 0, 0, 0]),
    call("syslog", 103, &[9, 0, 0]),
    call("iopl", 172, &[99]),
    call("ioperm", 173, &[0, 0, 9]),
    // Modules by way of sockets.
    socket("AF_PACKET", 17, 3, 0),
    socket("AF_ALG", 38, 5, 0),
    socket("AF_VSOCK", 40, 1, 0),
    socket("AF_CAN", 29, 3, 1),
    socket("AF_TIPC", 30, 5, 0),
    socket("AF_RDS", 21, 5, 0),
    socket("AF_PHONET", 35, 2, 0),
    socket("AF_BLUETOOTH", 31, 3, 1),
    socket("SCTP", 2, 5, 132),
    socket("raw IP", 2, 3, 255),
    socket("DCCP by its type", 2, 6, 0),
    socket("generic netlink", 16, 3, 16),
    socket("netlink of the packet filter", 16, 3, 12),
    socket("netlink of audit", 16, 3, 9),
    socket("netlink of socket diagnosis", 16, 3, 4),
    socket("AF_KEY", 15, 3, 2),
    socket("SCTP over IPv6", 10, 5, 132),
    socket("L2TP, with flags", 2, 0x8_0802, 115),
    call("a family, by a pair", 53, &[35, 2, 0, 0]),
    // Modules and terminals by way of requests.
    request("typing into a terminal", 0x5412),
    request("typing into a console", 0x541c),
    request("the module of a line discipline", 0x5423),
    request("the module of bridges", 0x8940),
    request("the module of bridges, by a new one", 0x89a0),
    request("the module of VLANs", 0x8982),
];
