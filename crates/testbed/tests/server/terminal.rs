//! Commands with a terminal get a pseudoterminal of their own.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

use crate::server::Server;

/// A terminal for the caller: the user's end, and the programs' end.
fn terminal() -> (File, OwnedFd) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    unlockpt(&master).unwrap();
    let slave = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    tcsetwinsize(&master, Winsize { ws_row: 30, ws_col: 101, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    (master.into(), slave)
}

/// Reads until this text appears.
fn read_until(master: &mut File, text: &str) -> String {
    let (mut seen, end) = (String::new(), Instant::now() + Duration::from_secs(60));
    while !seen.contains(text) {
        assert!(Instant::now() < end, "{seen}");
        let mut buffer = [0; 4096];
        let length = master.read(&mut buffer).unwrap();
        seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    seen
}

#[test]
fn what_is_inside_cannot_type_into_the_callers() {
    let mut server = Server::start(&[]);
    server.open();
    let (mut master, slave) = terminal();
    let before = format!("{:?}", tcgetattr(&slave).unwrap());
    // In the terminal's session: setsid makes it the controlling one.
    let script = "tty; stat -c %t:%T -L /proc/self/fd/0; perl -e ' \
                  for my $fd (0, 1, 2) { open(my $t, \"+<&=$fd\"); my $c = \"X\"; ioctl($t, 0x5412, $c) and print \"typed\\n\" } \
                  my $s = \"\\0\" x 8; ioctl(STDIN, 0x5413, $s); print join(\"x\", unpack(\"SS\", $s)), \"\\n\"'; \
                  read line; echo \"heard $line\"; kill -9 $$";
    let command = server.command(&["sh", "-c", script]);
    let stdio = || Stdio::from(slave.as_fd().try_clone_to_owned().unwrap());
    let mut process = Command::new("setsid")
        .args(["--ctty", "--wait"])
        .args(command)
        .stdin(stdio())
        .stdout(stdio())
        .stderr(stdio())
        .spawn()
        .unwrap();
    let seen = read_until(&mut master, "30x101");
    assert!(seen.contains("/dev/pts/0"), "{seen}");
    assert!(!seen.contains("typed"), "{seen}");
    master.write_all(b"hello\r").unwrap();
    read_until(&mut master, "heard hello");
    assert_eq!(process.wait().unwrap().code(), Some(128 + 9));
    assert_eq!(format!("{:?}", tcgetattr(&slave).unwrap()), before, "its modes are what they were");
    let pending = rustix::io::ioctl_fionread(&slave).unwrap();
    assert_eq!(pending, 0, "something was typed");
}

#[test]
fn a_signal_leaves_the_terminal_as_it_was() {
    let mut server = Server::start(&[]);
    server.open();
    let (mut master, slave) = terminal();
    let before = format!("{:?}", tcgetattr(&slave).unwrap());
    let command = server.command(&["sh", "-c", "echo ready; exec sleep 1000"]);
    let stdio = || Stdio::from(slave.as_fd().try_clone_to_owned().unwrap());
    let mut process =
        Command::new(&command[0]).args(&command[1..]).stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().unwrap();
    read_until(&mut master, "ready");
    assert_ne!(format!("{:?}", tcgetattr(&slave).unwrap()), before, "raw");
    let pid = rustix::process::Pid::from_raw(process.id().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(128 + 15));
    assert_eq!(format!("{:?}", tcgetattr(&slave).unwrap()), before);
}

#[test]
fn a_command_in_the_background_gets_the_terminal_and_gives_it_back() {
    let mut server = Server::start(&[]);
    server.open();
    let (mut master, slave) = terminal();
    // A job of a shell with job control, whose group is not in the foreground.
    let words: Vec<String> = server
        .command(&["sh", "-c", "read line; echo \"heard $line\""])
        .iter()
        .map(|word| format!("'{}'", word.replace('\'', "'\\''")))
        .collect();
    let script = format!(
        "perl -e 'use POSIX; my $p = fork(); if (!$p) {{ setpgid(0, 0); exec @ARGV }} waitpid($p, 0); \
         print tcgetpgrp(0) == getpgrp() ? \"back\" : \"lost\", \" at the end\\n\"' {}",
        words.join(" ")
    );
    let stdio = || Stdio::from(slave.as_fd().try_clone_to_owned().unwrap());
    let mut process = Command::new("setsid")
        .args(["--ctty", "--wait", "sh", "-c", &script])
        .stdin(stdio())
        .stdout(stdio())
        .stderr(stdio())
        .spawn()
        .unwrap();
    master.write_all(b"hello\r").unwrap();
    // All of it may come at once.
    let seen = read_until(&mut master, "at the end");
    assert!(seen.contains("heard hello") && seen.contains("back at the end"), "{seen}");
    assert!(process.wait().unwrap().success());
}
