//! Files from a hostile testbed are harmless on the host.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::server::Server;

/// All paths below a directory, with their modes.
fn listing(directory: &Path) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(at) = waiting.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            found.insert(path.strip_prefix(directory).unwrap().display().to_string(), metadata.mode());
            if metadata.is_dir() {
                waiting.push(path);
            }
        }
    }
    found
}

const TREE: &str = "umask 0; mkdir a a/d a/locked; cd a; \
    cp /usr/bin/cat suid; chmod 6755 suid; echo x > d/x; chmod 4755 d/x; chmod 1777 d; ln d/x hard; \
    perl -e 'my @cap = (\"suid\", \"security.capability\", \"\\1\\0\\0\\2\\377\\0\\0\\0\" . \"\\0\" x 12, 20, 0); syscall(188, @cap)'; \
    ln -s /etc/shadow absolute; ln -s / root; ln -s .. up; ln -s d/../../y around; ln -s ../hard d/inside; ln -s d below; \
    mkfifo fifo; perl -e 'use IO::Socket::UNIX; IO::Socket::UNIX->new(Local => \"socket\", Listen => 1) or die'; \
    echo open > all; echo secret > none; chmod 0 none locked; echo last > zz";

#[test]
fn only_plain_files_and_links_that_stay_below_reach_the_host() {
    let host = tempfile::tempdir().unwrap();
    let path = host.path().display();
    let notes = host.path().join("notes");
    let mut server = Server::start_with(&[], &[("ROCBED_COPY_NOTES", notes.to_str().unwrap())]);
    let scratch = server.open();
    let made = server.shell(&format!("cd {scratch}; {TREE}"));
    assert_eq!(made.status, 0, "{}", made.stderr);
    assert_eq!(server.ask(&format!("copyup {scratch}/a/ {path}/a/")), "ok");
    let expected = [
        ("all", 0o100_644),
        ("below", 0o120_777),
        ("d", 0o040_755),
        ("d/inside", 0o120_777),
        ("d/x", 0o100_755),
        ("hard", 0o100_755),
        ("locked", 0o040_700),
        ("none", 0o100_600),
        ("suid", 0o100_755),
        ("zz", 0o100_644),
    ];
    let expected: BTreeMap<String, u32> = expected.map(|(name, mode)| (name.to_owned(), mode)).into();
    assert_eq!(listing(&host.path().join("a")), expected);
    let mut attributes = [0; 256];
    let length = rustix::fs::listxattr(host.path().join("a/suid"), &mut attributes[..]).unwrap();
    assert_eq!(length, 0, "capabilities of a file");
    let told = fs::read_to_string(&notes).unwrap();
    for name in ["absolute", "root", "up", "around", "fifo", "socket"] {
        assert!(told.contains(&format!("left out of a: {name}: it is ")), "{name}: {told}");
        assert!(server.errors().contains(&format!("left out of a: {name}: ")), "{}", server.errors());
    }
}

#[test]
fn sizes_count_with_holes_and_holes_take_no_room() {
    let host = tempfile::tempdir().unwrap();
    let path = host.path().display();
    let mut server = Server::start(&["--overlay-size", "16M", "--copy-limit", "6G"]);
    let scratch = server.open();
    let made = server.shell(&format!(
        "mkdir {scratch}/a; cd {scratch}/a; truncate -s 20G large; truncate -s 7E endless; truncate -s 5G holes; \
         echo text >> holes; echo last > zz"
    ));
    assert_eq!(made.status, 0, "{}", made.stderr);
    assert_eq!(server.ask(&format!("copyup {scratch}/a/ {path}/a/")), "ok");
    assert_eq!(listing(&host.path().join("a")).into_keys().collect::<Vec<_>>(), ["holes", "zz"]);
    let holes = fs::metadata(host.path().join("a/holes")).unwrap();
    assert!(holes.len() == (5 << 30) + 5 && holes.blocks() * 512 < 1 << 20, "{holes:?}");
    assert!(server.errors().contains("left out of a: endless: its 8070450532247928832 bytes are beyond the limit"));
    // Copies of directories count for the limit.
    assert_eq!(server.ask(&format!("copyup {scratch}/a/ {path}/again/")), "ok");
    assert_eq!(listing(&host.path().join("again")).into_keys().collect::<Vec<_>>(), ["zz"]);
    // A single file that is not a log is copied completely or not at all; a test's output has its own limit.
    assert_eq!(server.ask(&format!("copyup {scratch}/a/endless {path}/endless")), "copy-failed");
    assert_eq!(server.ask(&format!("copyup {scratch}/a/holes {path}/holes")), "ok");
    assert_eq!(server.ask(&format!("copyup {scratch}/a/holes {path}/more")), "copy-failed", "no 6 GiB are left");
    assert_eq!(server.ask(&format!("copyup {scratch}/a/zz {path}/a-stdout")), "ok");
    assert_eq!(fs::metadata(host.path().join("endless")).unwrap().blocks(), 0);
}

#[test]
fn names_that_others_could_not_follow_are_left_out() {
    let host = tempfile::tempdir().unwrap();
    let path = host.path().display();
    let mut server = Server::start(&[]);
    let scratch = server.open();
    let deep = "my $n = \"d\" x 200; for (1 .. 200) { mkdir $n; chdir $n or die } mkdir \"end\"";
    assert_eq!(server.shell(&format!("mkdir {scratch}/a; cd {scratch}/a; echo x > file; perl -e '{deep}'")).status, 0);
    assert_eq!(server.ask(&format!("copyup {scratch}/a/ {path}/a/")), "ok");
    assert_eq!(fs::read(host.path().join("a/file")).unwrap(), b"x\n");
    assert!(server.errors().contains("its path has more than 2048 bytes"), "{}", server.errors());
}

#[test]
fn what_another_test_left_under_a_name_makes_way() {
    let host = tempfile::tempdir().unwrap();
    let path = host.path().display();
    let mut server = Server::start(&[]);
    let scratch = server.open();
    server.shell(&format!("cd {scratch}; mkdir -p one/a/b two/c; echo x > one/c; echo y > two/a; echo z > two/c/z"));
    for tree in ["one", "two"] {
        assert_eq!(server.ask(&format!("copyup {scratch}/{tree}/ {path}/out/")), "ok", "{}", server.errors());
    }
    assert_eq!(listing(&host.path().join("out")).into_keys().collect::<Vec<_>>(), ["a", "c", "c/z"]);
}

#[test]
fn what_is_installed_is_recorded_when_a_test_has_run() {
    let host = tempfile::tempdir().unwrap();
    let path = host.path().display();
    let records = host.path().join("records");
    fs::create_dir(&records).unwrap();
    let mut server = Server::start_with(&[], &[("ROCBED_PACKAGE_RECORDS", records.to_str().unwrap())]);
    let scratch = server.open();
    let status = |version: &str| {
        format!(
            "mkdir -p /var/lib/dpkg /var/lib/apt/lists; echo out > {scratch}/t-stdout; \
             printf 'Package: gzip\\nStatus: install ok installed\\nDescription: x\\nVersion: {version}\\n\\n' \
             > /var/lib/dpkg/status; printf 'Origin: Debian\\nSuite: unstable\\n' > /var/lib/apt/lists/m_InRelease"
        )
    };
    let read = |name: &str| fs::read_to_string(records.join(name)).unwrap();
    assert_eq!(server.shell(&status("1.14-1")).status, 0);
    assert_eq!(server.ask(&format!("copyup {scratch}/t-stdout {path}/first-stdout")), "ok");
    assert_eq!(server.ask(&format!("copyup {scratch}/t-stdout {path}/other")), "ok");
    assert_eq!(server.ask(&format!("copyup {scratch}/t-stdout {path}/second-stdout")), "ok");
    assert_eq!(server.shell(&status("1.14-1+local1")).status, 0);
    assert_eq!(server.ask(&format!("copyup {scratch}/t-stdout {path}/third-stdout")), "ok");
    assert_eq!(read("index"), "1 first\n1 second\n2 third\n");
    assert_eq!(read("2.packages"), "Package: gzip\nStatus: install ok installed\nVersion: 1.14-1+local1\n\n");
    assert_eq!(read("1.archives"), "Origin: Debian\nSuite: unstable\n\n");

    // A test that makes a pipe of the status, or removes it, keeps neither its output nor the next test from being copied.
    let odd = "rm /var/lib/dpkg/status; mkfifo /var/lib/dpkg/status";
    assert_eq!(server.shell(odd).status, 0);
    assert_eq!(server.ask(&format!("copyup {scratch}/t-stdout {path}/fourth-stdout")), "ok");
    assert_eq!(read("index"), "1 first\n1 second\n2 third\n");
    let errors = server.errors();
    assert!(errors.contains("recording the packages") && errors.contains("not a regular file"), "{errors}");
}
