//! What a package's script might try against the machine that builds, tried in the sandbox: as root, as the root of a
//! container that has few rights, and as a user.

mod packages;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command as HostCommand;

use confine::attacks::ATTACKS;
use packages::{need, need_root};
use rootfs::sandbox::{Command, Sandbox};

/// What the attacks call: program, and the package that has it.
const PROGRAMS: [(&str, &str); 10] = [
    ("cat", "coreutils"),
    ("cut", "coreutils"),
    ("grep", "grep"),
    ("head", "coreutils"),
    ("id", "coreutils"),
    ("ls", "coreutils"),
    ("mkdir", "coreutils"),
    ("mknod", "coreutils"),
    ("perl", "perl-base"),
    ("sh", "dash"),
];

/// A root directory of the host's own programs.
fn make_root(root: &Path) {
    for name in ["dev", "etc", "proc", "run", "sys", "tmp", "usr/bin", "usr/lib"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    for (link, target) in [("bin", "usr/bin"), ("lib", "usr/lib"), ("lib64", "usr/lib")] {
        std::os::unix::fs::symlink(target, root.join(link)).unwrap();
    }
    let mut libraries = BTreeSet::new();
    for (program, package) in PROGRAMS {
        let path = need(program, package).canonicalize().unwrap();
        fs::copy(&path, root.join("usr/bin").join(program)).unwrap();
        let listed = HostCommand::new(need("ldd", "libc-bin")).arg(&path).output().unwrap().stdout;
        let listed = String::from_utf8(listed).unwrap();
        libraries.extend(listed.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from));
    }
    for library in libraries {
        fs::copy(&library, root.join("usr/lib").join(library.file_name().unwrap())).unwrap();
    }
    // The host's root can make one; for others a build keeps it out of the directory.
    HostCommand::new("mknod").arg(root.join("device-of-a-package")).args(["c", "1", "5"]).output().unwrap();
}

/// Runs all attacks; whose sandbox it is depends on who runs this.
#[test]
fn a_script_gets_at_nothing_of_the_machine() {
    need_root();
    let at = tempfile::tempdir().unwrap();
    let root = at.path().join("root");
    make_root(&root);
    let secret = at.path().join("secret");
    fs::write(&secret, "of the host").unwrap();
    // Inherited by every child, as what a careless caller leaves open is.
    let left_open = rustix::io::dup(File::open(&secret).unwrap()).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let environment = [
        ("PATH", "/usr/bin".to_owned()),
        ("HOST_FILE", secret.display().to_string()),
        ("HOST_PID", std::process::id().to_string()),
        ("HOST_PORT", listener.local_addr().unwrap().port().to_string()),
        ("HOST_FD", left_open.as_raw_fd().to_string()),
    ];
    let owner = |path: &str| fs::symlink_metadata(root.join(path)).unwrap().uid();
    let sandbox = Sandbox::new(&root).unwrap();
    let shell = |text: &str| {
        let command = Command {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), text.into()],
            environment: environment.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            input: Vec::new(),
        };
        let mut output = Vec::new();
        let outcome = sandbox.run(&command, &mut |bytes| output.extend_from_slice(bytes)).unwrap();
        (outcome.status, String::from_utf8_lossy(&output).into_owned())
    };
    // What scripts do need works, and root's ids inside are nobody's outside.
    let (status, output) = shell("id -u; perl -e 'print 6 * 7'; echo x > /etc/made; cat /proc/self/uid_map");
    assert!(status.success() && output.starts_with("0\n42"), "{output}");
    println!("ids inside, and outside:{}", output.trim_start_matches("0\n42"));
    if fs::read_to_string("/proc/self/uid_map").unwrap().contains(" 4294967295") {
        assert!(output.contains(" 1879048192 ") && !output.contains(" 0 0 "), "{output}");
    }
    // useradd asks for the audit log, goes on where there seems to be none (EPROTONOSUPPORT), and ends where it is refused.
    let (status, output) = shell("perl -e 'exit(syscall(41, 16, 3, 9) != -1 || $! != 93)'");
    assert!(status.success(), "{output}");
    let through: Vec<String> = ATTACKS
        .iter()
        .filter_map(|attack| {
            let (status, output) = shell(&attack.script());
            // A script that could not be run proves nothing.
            let broken = output.contains("not found") || output.contains("syntax error");
            (status.success() || broken).then(|| format!("{}: {output}", attack.name))
        })
        .collect();
    assert!(through.is_empty(), "{} of {} went through:\n{}", through.len(), ATTACKS.len(), through.join("\n"));
    sandbox.finish().unwrap();
    assert_eq!([owner("etc/made"), owner("etc"), owner("usr/bin/sh")], [0, 0, 0]);
    println!("{} attacks were refused", ATTACKS.len());
}

/// Runs the attacks in a process of its own; returns what it prints.
fn attacks_of(command: &mut HostCommand) -> String {
    command.args(["--exact", "a_script_gets_at_nothing_of_the_machine", "--nocapture"]);
    let output = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("attacks were refused"), "{said}");
    said
}

#[test]
fn nor_does_one_of_a_containers_root() {
    if !rustix::process::geteuid().is_root() {
        return; // a user's build is the same as any
    }
    let few = "-all,+chown,+dac_override,+fsetid,+fowner,+mknod,+setgid,+setuid,+setfcap,+setpcap,+sys_chroot,+kill";
    let mut command = HostCommand::new(need("setpriv", "util-linux"));
    let said = attacks_of(command.arg(format!("--bounding-set={few}")).arg(std::env::current_exe().unwrap()));
    assert!(said.contains("1879048192"), "{said}");
}

#[test]
fn nor_does_one_of_a_users() {
    if !rustix::process::geteuid().is_root() {
        return; // the first test has done it
    }
    let user = User::new();
    let program = user.home.join("attacks");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = HostCommand::new(need("runuser", "util-linux"));
    attacks_of(command.args(["--user", &user.name, "--"]).arg(program).current_dir(&user.home));
}

/// A user with subordinate ids, removed at the end of the test.
struct User {
    name: String,
    home: PathBuf,
}

impl User {
    fn new() -> Self {
        let name = format!("rocbed-attacks-{}", std::process::id());
        let home = Path::new("/var/tmp").join(&name);
        let mut command = HostCommand::new(need("useradd", "passwd"));
        command.args(["--create-home", "--add-subids-for-system", "--home-dir"]).arg(&home).arg(&name);
        assert!(command.status().unwrap().success(), "{command:?}");
        Self { name, home }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // It complains of mail that is not there.
        HostCommand::new("userdel").args(["--force", "--remove", &self.name]).output().unwrap();
    }
}
