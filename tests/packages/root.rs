//! A Debian system in a directory, in which commands run as in a container.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rocbed_tests::{NO_SYNC, OnlyProxy, scratch, tool};
use tempfile::TempDir;

/// Runs a shell script with `$1` as the root directory, in namespaces of its own. The root is moved to `/`, as where it is
/// only a chroot nobody may make user namespaces (`user_namespaces(7)`), and builds of images do.
const ENTER: &str = r#"
    root=$1 script=$2
    mount --make-rprivate /
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount --rbind /dev "$root/dev"
    ip link set lo up 2>/dev/null || true
    cd "$root"
    mount --move . /
    exec chroot . /bin/sh -euc "cd /root; $script"
"#;

/// Files that apt and dpkg write whatever they install, and where tests put theirs.
const UNINTERESTING: [&str; 7] = ["dev", "proc", "sys", "var/cache", "var/log", "var/lib/apt", "var/tmp"];

/// The network that commands reach.
#[derive(Clone, Copy)]
pub enum Net<'a> {
    /// The machine's.
    Host,
    /// A loopback interface of their own, where every port is free.
    Loopback,
    /// One whose only way out is a proxy, that apt in the root is configured to use.
    OnlyProxy(&'a OnlyProxy),
}

/// A system that is removed with this.
pub struct Root {
    directory: TempDir,
    /// The clean system that it is a copy of.
    base: PathBuf,
}

impl Root {
    /// A clean system of this suite with what the packages depend on, made once by mmdebstrap and then copied.
    pub fn new(suite: &str, include: &str) -> Self {
        let base = scratch().join("clean-roots").join(suite);
        if !base.join("etc/debian_version").is_file() {
            let fresh = base.with_extension("new");
            for path in [&base, &fresh] {
                if path.exists() {
                    fs::remove_dir_all(path).expect("removing half a root");
                }
            }
            fs::create_dir_all(&fresh).expect("a directory");
            let mut words = vec!["--quiet".to_owned(), "--variant=apt".into(), "--mode=root".into()];
            // A mirror that is a copy may be some days old; signatures are checked.
            words.push("--aptopt=Acquire::Check-Valid-Until \"false\"".into());
            words.extend([NO_SYNC.to_owned(), format!("--include={include}")]);
            words.extend([suite.to_owned(), fresh.display().to_string()]);
            words.extend(std::env::var("ROCBED_MIRROR"));
            tool("mmdebstrap", words);
            fs::rename(&fresh, &base).expect("naming a root");
        }
        let directory = tempfile::tempdir_in(scratch()).expect("a directory");
        // tempfile keeps others out, and the hub's user has to get in.
        tool("chmod", ["755", &directory.path().display().to_string()]);
        tool("cp", ["-a", "--reflink=auto", &format!("{}/.", base.display()), &directory.path().display().to_string()]);
        let root = Self { directory, base };
        // systemd makes it where it runs a service with a dynamic user.
        tool("mkdir", ["--mode=0711", &root.path("/var/lib/private").display().to_string()]);
        root
    }

    /// The clean system that this is a copy of.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// A path in it, from outside.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.directory.path().join(inside.trim_start_matches('/'))
    }

    /// Copies a file or directory into `/var/tmp`; returns its path inside.
    pub fn bring(&self, path: &Path) -> String {
        let name = path.file_name().expect("a name").to_string_lossy();
        tool("cp", ["-a", &path.display().to_string(), &self.path("/var/tmp").display().to_string()]);
        format!("/var/tmp/{name}")
    }

    /// A script that will run as root inside.
    pub fn command(&self, net: Net<'_>, script: &str) -> Command {
        let mut command = match net {
            Net::Host | Net::Loopback => Command::new("unshare"),
            Net::OnlyProxy(machine) => {
                let mut enter = Command::new("nsenter");
                enter.arg(format!("--net={}", machine.network().display())).arg("unshare");
                enter
            }
        };
        command.args(["--mount", "--pid", "--fork", "--kill-child"]);
        if matches!(net, Net::Loopback) {
            command.arg("--net");
        }
        command.args(["sh", "-euc", ENTER, "sh"]).arg(self.directory.path()).arg(script);
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", "/root").env("LC_ALL", "C.UTF-8").env("DEBIAN_FRONTEND", "noninteractive");
        // Otherwise Python leaves files beside the programs of other packages.
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command.env("ROCBED_CACHE", "/var/tmp/cache");
        let settings: &[&str] = match net {
            Net::Host | Net::Loopback => &["ROCBED_ACCEL", "ROCBED_MIRROR", "http_proxy", "https_proxy", "no_proxy"],
            Net::OnlyProxy(_) => &["ROCBED_ACCEL"],
        };
        for name in settings {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
    }

    /// Runs a script as root inside, which must succeed; returns its output including stderr.
    pub fn run(&self, net: Net<'_>, script: &str) -> String {
        let output = self.command(net, script).output().expect("starting unshare");
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{script}\n{}\n{text}", output.status);
        text
    }

    /// All its files with their types and permissions, but for those that every use of apt changes.
    pub fn files(&self) -> Vec<String> {
        let root = self.directory.path().display().to_string();
        let text = tool("find", [root.as_str(), "-xdev", "-printf", "%P %y %m\n"]);
        let uninteresting = |line: &&str| {
            let below = |path: &&str| line.strip_prefix(path).is_some_and(|rest| rest.starts_with(['/', ' ']));
            UNINTERESTING.iter().any(below)
        };
        let mut files: Vec<_> = text.lines().filter(|line| !uninteresting(line)).map(str::to_owned).collect();
        files.sort();
        files
    }
}
