//! A root directory with a shell, from the host's programs and their libraries.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, chmod, makedev, mknodat};

const PROGRAMS: [&str; 29] = [
    "sh", "bash", "cat", "chmod", "cp", "dmesg", "env", "grep", "head", "hostname", "id", "insmod", "ln", "ls",
    "mkdir", "mkfifo", "mknod", "mount", "perl", "readlink", "rm", "sleep", "stat", "tail", "true", "truncate", "tty",
    "umount", "unshare",
];

/// Creates the root directory.
pub fn make(root: &Path) {
    for name in ["dev", "etc/rocbed", "proc", "run", "srv", "sys", "tmp", "usr/bin"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\ntester:x:1000:1000::/home:/bin/sh\n").unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\nrender:x:992:tester\n").unwrap();
    fs::write(root.join("etc/rocbed/rocbed.toml"), "token = \"secret\"\n").unwrap();
    // The kernel's log: every process that can open the node may write to it.
    let (mode, log) = (Mode::from_raw_mode(0o666), makedev(1, 11));
    mknodat(CWD, root.join("srv/kmsg"), FileType::CharacterDevice, mode, log).expect("making a node (CAP_MKNOD)");
    chmod(root.join("srv/kmsg"), mode).unwrap();
    for link in ["bin", "sbin"] {
        std::os::unix::fs::symlink("usr/bin", root.join(link)).unwrap();
    }
    let mut files = BTreeSet::new();
    for program in PROGRAMS {
        let found = find(program);
        files.extend(libraries(&found));
        fs::copy(&found, root.join("usr/bin").join(program)).unwrap();
    }
    // Perl itself knows where its modules are.
    let directories =
        Command::new("perl").args(["-e", "print join \"\\n\", grep { -d && m{^/usr} } @INC"]).output().unwrap();
    for directory in String::from_utf8(directories.stdout).unwrap().lines() {
        if !directory.contains("local") && !root.join(directory.trim_start_matches('/')).exists() {
            let to = root.join(directory.trim_start_matches('/'));
            fs::create_dir_all(&to).unwrap();
            let copied = Command::new("cp").args(["-rL", &format!("{directory}/."), to.to_str().unwrap()]).status();
            assert!(copied.is_ok(), "cp");
        }
    }
    for file in files {
        let to = root.join(file.strip_prefix("/").unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(&file, &to).unwrap();
    }
}

fn find(program: &str) -> PathBuf {
    ["/bin", "/usr/bin", "/sbin", "/usr/sbin"]
        .into_iter()
        .map(|directory| Path::new(directory).join(program))
        .find(|path| path.is_file())
        .unwrap_or_else(|| {
            panic!("{program} is not installed; install coreutils, grep, kmod, mount, perl and util-linux")
        })
}

/// The libraries of a program, as the dynamic linker resolves them.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().expect("ldd is not installed; install libc-bin");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}
