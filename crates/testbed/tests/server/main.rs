//! Tests of the server as autopkgtest uses it, with real testbeds and namespaces. They need root, but no network.
//!
//! The tests make a small root directory from the host's shell and a few other programs.

mod accidents;
mod attacks;
mod copying;
mod root;
mod server;
mod terminal;
mod user;

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use server::Server;

#[test]
fn a_session_from_open_to_quit() {
    let mut server = Server::start(&[]);
    let words = "ok revert revert-full-system root-on-testbed suggested-normal-user=tester";
    assert_eq!(server.ask("capabilities"), words);
    let scratch = server.open();
    assert_eq!(server.shell("id -u; pwd; umask; hostname").stdout, "0\n/\n0022\ntestbed\n");
    assert_eq!(server.shell(&format!("echo kept > {scratch}/file; cat {scratch}/file")).stdout, "kept\n");
    assert_eq!(server.ask("close"), "ok");
    assert_eq!(server.quit(), 0);
}

#[test]
fn the_exit_status_is_the_commands() {
    let mut server = Server::start(&[]);
    server.open();
    assert_eq!(server.shell("exit 0").status, 0);
    assert_eq!(server.shell("exit 125").status, 125);
    assert_eq!(server.shell("kill -TERM $$").status, 128 + 15);
    assert_eq!(server.run(&["no-such-program"]).status, 127);
    assert_eq!(server.run(&["/etc/passwd"]).status, 126);
}

#[test]
fn a_command_that_ends_with_minus_one_has_failed_and_not_its_testbed() {
    let mut server = Server::start(&[]);
    server.open();
    // autopkgtest takes 254 and 255 for a failed testbed.
    for (status, told) in [(252, 252), (253, 253), (254, 253), (255, 253)] {
        assert_eq!(server.shell(&format!("exit {status}")).status, told, "{status}");
    }
    server.ask("close");
    assert_eq!(server.shell("true").status, 255, "a testbed that is lost");
}

#[test]
fn what_a_command_leaves_running_does_not_hold_its_output_open() {
    let mut server = Server::start(&[]);
    server.open();
    // Like a compile server. Reading its output to the end would take as long as it runs.
    let ended = server.shell("(sleep 1000; echo late) & echo out; echo err >&2; head -c 300000 /dev/zero");
    assert_eq!((ended.status, ended.stderr.as_str()), (0, "err\n"));
    assert_eq!((ended.stdout.len(), &ended.stdout[..5]), (300_004, "out\n\0"));
    assert_eq!(server.ask("close"), "ok");
}

#[test]
fn nothing_of_the_callers_environment_is_inside() {
    let mut server = Server::start(&[]);
    server.open();
    let environment = server.run(&["env"]).stdout;
    let names: BTreeSet<&str> = environment.lines().filter_map(|line| line.split('=').next()).collect();
    assert_eq!(names, BTreeSet::from(["PATH", "HOME", "USER", "LOGNAME", "SHELL"]));
}

#[test]
fn revert_undoes_everything_and_keeps_the_scratch_path() {
    let mut server = Server::start(&[]);
    let scratch = server.open();
    server.shell("echo more >> /etc/passwd; rm -r /srv; mkdir /new; echo x > /run/x; (sleep 1000 > /dev/null 2>&1 &)");
    assert_eq!(server.ask("revert"), format!("ok {scratch}"));
    server.find_command();
    let seen = server.shell("grep -c more /etc/passwd; ls -d /srv; ls /new /run/x; set -- /proc/[0-9]*; echo $#");
    // The first process and the shell.
    assert_eq!(seen.stdout, "0\n/srv\n2\n", "{}", seen.stderr);
}

#[test]
fn layers_go_over_the_root_directory() {
    let host = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for (layer, files) in [
        ("a", &[("etc/passwd", "root:x:0:0::/root:/bin/sh\nmax:x:1234:1234::/:/bin/sh\n"), ("etc/which", "a")][..]),
        ("b", &[("etc/which", "b"), ("new/file", "new")]),
    ] {
        for (path, text) in files {
            let path = host.path().join(layer).join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }
    let layer = |name: &str| host.path().join(name).display().to_string();
    let mut server = Server::start(&["--layer", &layer("a"), "--layer", &layer("b")]);
    assert!(server.ask("capabilities").ends_with(" suggested-normal-user=max"));
    server.open();
    let seen = server.shell("cat /etc/which /new/file; stat -c %u /new/file; ls /etc/group; rm /etc/which");
    assert_eq!(seen.stdout, "bnew0\n/etc/group\n", "{}", seen.stderr);
    assert!(host.path().join("b/etc/which").exists(), "layers are never written to");
}

#[test]
fn files_and_directories_are_copied_both_ways() {
    let host = tempfile::tempdir().unwrap();
    let path = host.path().display();
    fs::create_dir_all(host.path().join("from/a b")).unwrap();
    fs::write(host.path().join("from/a b/file"), "text").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", host.path().join("from/link")).unwrap();
    fs::write(host.path().join("script"), "#!/bin/sh\necho it runs\n").unwrap();
    let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o700);
    fs::set_permissions(host.path().join("script"), mode).unwrap();

    let mut server = Server::start(&[]);
    let scratch = server.open();
    assert_eq!(server.ask(&format!("copydown {path}/script {scratch}/script")), "ok");
    assert_eq!(server.run(&[&format!("{scratch}/script")]).stdout, "it runs\n");
    assert_eq!(server.ask(&format!("copydown {path}/from/ {scratch}/tree/")), "ok");
    assert_eq!(
        server.shell(&format!("cat '{scratch}/tree/a b/file'; stat -c %u {scratch}/tree/link")).stdout,
        "text0\n"
    );
    assert_eq!(server.ask(&format!("copyup {scratch}/tree/ {path}/back/")), "ok");
    assert_eq!(fs::read(host.path().join("back/a b/file")).unwrap(), b"text");
    assert!(!host.path().join("back/link").is_symlink(), "it leads to elsewhere on the host");
    // A tree built in one testbed is tested in another.
    assert_eq!(server.ask(&format!("copydown {path}/back/ {scratch}/again/")), "ok");
    assert_eq!(server.shell(&format!("readlink {scratch}/again/link")).stdout, "/etc/passwd\n");
    assert_eq!(server.ask(&format!("copyup /etc/nothing {path}/nothing")), "copy-failed");
    assert_eq!(server.ask("capabilities").split(' ').next(), Some("ok"), "the session goes on");
}

#[test]
fn a_copy_that_hangs_is_given_up() {
    let mut server = Server::start_with(&[], &[("AUTOPKGTEST_VIRT_COPY_TIMEOUT", "1")]);
    let scratch = server.open();
    server.shell(&format!("mkfifo {scratch}/pipe"));
    assert_eq!(server.ask(&format!("copydown /etc/hostname {scratch}/pipe")), "timeout");
    assert_eq!(server.ask(&format!("copyup {scratch}/pipe /dev/null")), "copy-failed", "it is not waited for");
}

#[test]
fn what_is_not_the_testbeds_is_out_of_reach_of_its_root() {
    let settings = server::root().join("etc/rocbed");
    assert!(settings.join("rocbed.toml").exists());
    let mut server = Server::start(&[]);
    server.open();
    let refused = |what: &str, script: &str| {
        let tried = server.shell(script);
        assert_ne!(tried.status, 0, "{what}: {} {}", tried.stdout, tried.stderr);
    };
    refused("the agent's settings", "cat /etc/rocbed/rocbed.toml");
    refused("taking away what hides them", "umount /etc/rocbed");
    refused("the agent's settings on the kernel's command line", "grep rocbed[.] /proc/cmdline");
    refused("disks, by their nodes", "ls /dev/vd* /dev/sd* /dev/nvme* /dev/loop*");
    refused("disks, by new nodes", "mknod /dev/disk b 254 0");
    refused("GPUs, by their nodes", "ls /dev/kfd /dev/dri");
    refused("GPUs, by new nodes", "mknod /tmp/renderD129 c 226 129");
    refused("memory", "mknod /tmp/mem c 1 1");
    refused("the kernel's settings", "echo 1 > /proc/sys/kernel/sysrq");
    refused("making them writable", "mount -o remount,rw,bind /proc/sys");
    refused("restarting the machine", "echo b > /proc/sysrq-trigger");
    refused("devices' settings", "echo 1 > /sys/bus/pci/rescan");
    refused("kernel modules, by program", "insmod /tmp/nothing.ko");
    refused("kernel modules, by system call", "perl -e 'exit(syscall(313, 0, \"\", 0) == -1 && $!{EPERM})'");
    refused("the host's processes", &format!("kill -0 {}", std::process::id()));
    refused("the first process's program", "cat /proc/1/exe > /dev/null");
    refused("the first process's files", "ls /proc/1/fd/0");
    refused("the host's root directory", "ls /proc/1/root/work");
    refused("the kernel's log", "dmesg");
}

#[test]
fn only_granted_gpus_are_inside() {
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    // Numbers of render nodes; this machine need not have any.
    let nodes = tempfile::tempdir().unwrap();
    for minor in [128, 129] {
        let path = nodes.path().join(format!("renderD{minor}"));
        mknodat(CWD, path, FileType::CharacterDevice, Mode::from_raw_mode(0o600), makedev(226, minor)).unwrap();
    }
    let granted = nodes.path().join("renderD129").display().to_string();
    let mut server = Server::start(&["--gpu", &granted]);
    server.open();
    assert_eq!(server.shell("ls /dev/dri").stdout, "renderD129\n");
    assert_eq!(
        server.shell("stat -c '%F %t:%T %u:%g %a' /dev/dri/renderD129").stdout,
        "character special file e2:81 0:992 660\n"
    );
    assert_ne!(server.shell("mknod /dev/dri/renderD128 c 226 128").status, 0);
    drop(server);
    let mut server = Server::start(&[]);
    server.open();
    assert_ne!(server.shell("ls /dev/dri").status, 0, "none without --gpu");
}

#[test]
fn a_user_with_subordinate_ids_has_testbeds_too() {
    let user = user::User::new();
    let mut server = user.server();
    assert!(server.ask("capabilities").contains(" suggested-normal-user=tester"));
    let scratch = server.open();
    let seen = server.shell(&format!(
        "id -u; echo x > /etc/new; perl -e 'chown 1000, 992, \"/etc/new\" or die $!'; stat -c %u:%g /etc/new; ls -d {scratch}"
    ));
    assert_eq!(seen.stdout, format!("0\n1000:992\n{scratch}\n"), "{}", seen.stderr);
    for (what, script) in [
        ("the agent's settings", "cat /etc/rocbed/rocbed.toml"),
        ("taking away what hides them", "umount /etc/rocbed"),
        ("new devices", "mknod /tmp/disk b 254 0"),
        ("restarting the machine", "echo b > /proc/sysrq-trigger"),
        ("the host's processes", &format!("kill -0 {}", std::process::id())),
        ("the host's root directory", "ls /proc/1/root/work"),
    ] {
        let tried = server.shell(script);
        assert_ne!(tried.status, 0, "{what}: {} {}", tried.stdout, tried.stderr);
    }
    assert_eq!(server.ask("revert"), format!("ok {scratch}"));
    server.find_command();
    assert_ne!(server.shell("cat /etc/new").status, 0);
    assert!(!user.root().join("etc/new").exists());
    assert_eq!(server.ask("close"), "ok");
    assert_eq!(server.quit(), 0);
}

#[test]
fn commands_are_kept_on_the_testbeds_processors() {
    let mut server = Server::start(&["--processors", "0"]);
    server.open();
    let said = server.shell("grep Cpus_allowed_list /proc/self/status").stdout;
    assert_eq!(said.split_whitespace().last(), Some("0"), "{said}");
    assert_eq!(server.ask("close"), "ok");
    assert_eq!(server.quit(), 0);
}

#[test]
fn an_own_network_has_a_loopback_and_all_ports() {
    let mut server = Server::start(&["--network", "none"]);
    let capabilities = server.ask("capabilities");
    assert!(!capabilities.contains("isolation-container"), "no service manager runs in it: {capabilities}");
    server.open();
    let interfaces = server.shell("tail -n +3 /proc/net/dev").stdout;
    assert_eq!(interfaces.trim().split(':').next(), Some("lo"), "{interfaces}");
    assert_eq!(interfaces.lines().count(), 1);
    let listen = "perl -MIO::Socket::INET -e 'my $listener = IO::Socket::INET->new(LocalAddr=>\"127.0.0.1:80\",Listen=>1) or die $!; IO::Socket::INET->new(\"127.0.0.1:80\") or die $!'";
    let tried = server.shell(listen);
    assert_eq!(tried.status, 0, "{}", tried.stderr);
}

#[test]
fn a_full_testbed_says_what_to_do() {
    let mut server = Server::start(&["--overlay-size", "8M"]);
    server.open();
    let tried = server.shell("head -c 20M /dev/zero > /tmp/large");
    assert!(tried.stderr.contains("No space left on device"), "{}", tried.stderr);
    assert_eq!(server.ask("close"), "ok");
    server.quit();
    let said = server.errors();
    assert!(said.contains("it has written 8 MiB, which is its limit; give it more with --overlay-size"), "{said}");
}

#[test]
fn two_hundred_testbeds_leave_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    for (times, options) in [
        (200, vec![]),
        (20, vec!["--overlay-dir", directory.path().to_str().unwrap()]),
        (20, vec!["--network", "proxy", "--allow", "ftp.debian.org"]),
    ] {
        let mut server = Server::start_alone(&options);
        let count = |server: &Server| {
            let of = |what: &str| fs::read_dir(format!("/proc/{}/{what}", server.pid())).unwrap().count();
            let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", server.pid())).unwrap().lines().count();
            (of("fd"), of("task"), mounts, server.descendants())
        };
        let before = count(&server);
        for _ in 0..times {
            server.open();
            server.shell("(sleep 1000 > /dev/null 2>&1 &) ; echo x > /tmp/file");
            assert_eq!(server.ask("close"), "ok");
        }
        assert_eq!(count(&server), before);
        assert_eq!(server.quit(), 0);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_killed_server_takes_its_testbed_along() {
    let mut server = Server::start(&[]);
    server.open();
    server.shell("(sleep 54321 > /dev/null 2>&1 &)");
    let running = || {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        processes
            .filter(|entry| fs::read(entry.path().join("cmdline")).is_ok_and(|line| line == b"sleep\x0054321\0"))
            .count()
    };
    let wait_for = |number: usize| {
        let end = Instant::now() + Duration::from_secs(20);
        while running() != number {
            assert!(Instant::now() < end, "{} run, not {number}", running());
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    // The shell returns before what it left in the background has become another program.
    wait_for(1);
    server.kill();
    wait_for(0);
}

#[test]
fn a_client_that_hears_no_more_is_no_error() {
    let mut server = Server::start(&[]);
    server.open();
    server.stop_listening();
    assert_eq!(server.quit(), 0, "{}", server.errors());
}

#[test]
fn a_client_that_is_gone_is_one() {
    let mut server = Server::start(&[]);
    server.open();
    assert_eq!(server.hang_up(), 12);
    assert!(server.errors().contains("caller quit?"));
}

/// What a service of the machine says, behind `proxy`; the service says `it is there` to whoever asks.
fn through_the_proxy(server: &Server, what: &str) -> String {
    let script = "use IO::Socket::INET; my $s = IO::Socket::INET->new($ENV{http_proxy} =~ s,http://,,r) or die $!; \
                  print $s $ARGV[0] =~ s/\\n/\\r\\n/gr; $s->flush; print while <$s>";
    let ended = server.run(&["perl", "-e", script, what]);
    format!("{}{}", ended.stdout, ended.stderr)
}

#[test]
fn a_proxy_reaches_what_is_allowed_and_nothing_else() {
    use std::io::{Read, Write};
    let (allowed, other) =
        (std::net::TcpListener::bind("127.0.0.1:0").unwrap(), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let port = |listener: &std::net::TcpListener| listener.local_addr().unwrap().port();
    let (here, there) = (port(&allowed), port(&other));
    let service = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for _ in 0..2 {
            let (mut client, _) = allowed.accept().unwrap();
            let (mut text, mut buffer) = (String::new(), [0; 1024]);
            while !text.ends_with("\r\n\r\n") {
                let length = client.read(&mut buffer).unwrap();
                text.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
            }
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\nit is there\n").unwrap();
            asked.push(text);
        }
        asked
    });
    let mut server = Server::start(&["--network", "proxy", "--allow", &format!("127.0.0.1:{here}")]);
    server.open();
    let said = through_the_proxy(&server, &format!("GET http://127.0.0.1:{here}/x HTTP/1.1\nHost: other\nA: b\n\n"));
    assert!(said.ends_with("it is there\n"), "{said} {}", server.errors());
    let said = through_the_proxy(&server, &format!("CONNECT 127.0.0.1:{here} HTTP/1.1\n\nGET /y HTTP/1.1\n\n"));
    assert!(said.starts_with("HTTP/1.1 200") && said.ends_with("it is there\n"), "{said}");
    let asked = service.join().unwrap();
    let first = format!("GET /x HTTP/1.1\r\nHost: 127.0.0.1:{here}\r\nA: b\r\nConnection: close\r\n\r\n");
    assert_eq!(asked, [first, "GET /y HTTP/1.1\r\n\r\n".into()]);
    for (what, status) in [
        (format!("GET http://127.0.0.1:{there}/ HTTP/1.1\n\n"), "403 Forbidden"),
        (format!("CONNECT 127.0.0.1:{there} HTTP/1.1\n\n"), "403 Forbidden"),
        (format!("CONNECT localhost:{here} HTTP/1.1\n\n"), "403 Forbidden"),
        (format!("GET http://x@127.0.0.1:{here}/ HTTP/1.1\n\n"), "400 Bad Request"),
        ("GET / HTTP/1.1\n\n".into(), "400 Bad Request"),
        (format!("GET http://a/{} HTTP/1.1\n", "x".repeat(20000)), "431 Request Header"),
    ] {
        let said = through_the_proxy(&server, &what);
        assert!(said.starts_with(&format!("HTTP/1.1 {status}")), "{what:.60}: {said}");
    }
    other.set_nonblocking(true).unwrap();
    assert!(other.accept().is_err(), "nobody has come");
    // And around it there is no way.
    let around = format!("socket S, 2, 1, 0; exit !connect S, pack q(S n a4 x8), 2, {here}, qq(\\x7f\\0\\0\\1)");
    assert_eq!(server.run(&["perl", "-e", &around]).status, 1);
    let proxies = server.descendants();
    assert_eq!(server.ask("close"), "ok");
    assert_eq!((proxies - server.descendants(), server.quit()), (2, 0), "the first process and the proxy have ended");
}
