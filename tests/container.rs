//! Builds with few privileges: as an ordinary user and as a container's root, in environments like those of container
//! engines. Also checks the messages where even that is not allowed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;

use rocbed_tests::{TestUser, image_sums, rocbed_path, scratch, seed_cache, smoke_image, tool};
use seccompiler::{SeccompAction, SeccompFilter, TargetArch};

/// Capabilities that Docker leaves to a container's root (its documentation of runtime privileges).
const CAPABILITIES: &str = "-all,+chown,+dac_override,+fsetid,+fowner,+mknod,+net_raw,+setgid,+setuid,+setfcap,+setpcap,\
    +net_bind_service,+sys_chroot,+kill,+audit_write";

/// A machine as containers see it: the root file system is read-only except for one directory; /dev has no disks, loop
/// devices or KVM; parts of /proc are covered; there is no network, and no process ever gets more capabilities than
/// these.
const CONTAINER: &str = r#"
    home=$1 capabilities=$2; shift 2
    mount -n --make-rprivate /
    mount -n --bind "$home" "$home"
    mount -n -o remount,bind,ro /
    mkdir -p "$home/dev"
    mount -n -t tmpfs -o mode=755 dev "$home/dev"
    for name in null zero full random urandom tty; do
        : >"$home/dev/$name"
        mount -n --bind "/dev/$name" "$home/dev/$name"
    done
    mkdir "$home/dev/shm"
    mount -n --move "$home/dev" /dev
    rmdir "$home/dev"
    mount -n -t proc proc /proc
    mount -n --bind /dev/null /proc/interrupts
    mount -n -t tmpfs -o ro covered /proc/fs
    mkdir -p -m 1777 "$home/tmp"
    export TMPDIR="$home/tmp"
    cd "$home"
    exec setpriv --bounding-set="$capabilities" "$@"
"#;

/// Arguments with which root becomes another user.
fn as_user(name: &str) -> Vec<String> {
    let id = |option| tool("id", [option, name]).trim().to_owned();
    vec![format!("--reuid={}", id("-u")), format!("--regid={}", id("-g")), "--init-groups".to_owned()]
}

/// Runs a build in a container as the user that `who` selects. Programs are searched in `programs` first.
fn build_in_container(home: &Path, programs: &Path, who: &[String], image: &Path) -> Output {
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--net",
        "--ipc",
        "--uts",
        "sh",
        "-euc",
        CONTAINER,
        "sh",
    ]);
    command.arg(home).arg(CAPABILITIES).args(who).arg(rocbed_path());
    command.args(["build", "smoke", "--locked", "--offline", "--ci=plain", "--output"]).arg(image);
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
    command.env("HOME", home).env("PATH", path).env("ROCBED_CACHE", home.join("cache"));
    command.output().expect("starting a container")
}

/// Checks that the build succeeded with exactly the same image as other builds.
fn is_the_same(output: &Output, image: &Path) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(image_sums(image), image_sums(&smoke_image()));
}

#[test]
fn a_user_builds_the_same_image_in_a_container() {
    let user = TestUser::new("user");
    user.seed();
    let (who, image) = (as_user(&user.name), user.home.join("smoke"));
    // Without CAP_SYS_ADMIN, setuid programs as in Debian cannot map ids.
    let output = build_in_container(&user.home, Path::new("/usr/bin"), &who, &image);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("chmod u-s /usr/bin/newuidmap /usr/bin/newgidmap; setcap cap_setuid=ep"), "{said}");
    // Follows the advice, with copies of the programs.
    let programs = user.home.join("programs");
    fs::create_dir(&programs).expect("making a directory");
    for (name, capability) in [("newuidmap", "cap_setuid=ep"), ("newgidmap", "cap_setgid=ep")] {
        let program = programs.join(name);
        fs::copy(Path::new("/usr/bin").join(name), &program).expect("copying a program");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("taking its setuid bit");
        tool("setcap", [capability, &program.to_string_lossy()]);
    }
    is_the_same(&build_in_container(&user.home, &programs, &who, &image), &image);
    let owner = tool("stat", ["--format=%U", &image.join("disk.img").to_string_lossy()]);
    assert_eq!(owner.trim(), user.name);
}

#[test]
fn a_containers_root_builds_the_same_image_without_a_right_to_namespaces() {
    let home = tempfile::tempdir_in(scratch()).expect("a directory");
    seed_cache(&home.path().join("cache"));
    let image = home.path().join("smoke");
    is_the_same(&build_in_container(home.path(), Path::new("/nonexistent"), &[], &image), &image);
}

/// Runs a `rocbed build` that must be refused; returns its output.
fn refused(mut command: Command, home: &Path) -> String {
    command.args(["build", "smoke", "--locked", "--offline"]).current_dir(home).env("HOME", home);
    let output = command.output().expect("starting the build");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
    assert!(!home.join("images").exists(), "refused before anything is made");
    said
}

/// `program`, started by root as another user with these arguments.
fn setpriv(who: &[String], more: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.args(who).args(more).arg(rocbed_path());
    command
}

#[test]
fn what_is_missing_for_a_user_is_told_with_what_to_do() {
    let user = TestUser::new("refused");
    let who = as_user(&user.name);
    let told = |command: Command, words: &[&str]| {
        let said = refused(command, &user.home);
        let missing: Vec<_> = words.iter().filter(|word| !said.contains(**word)).collect();
        assert!(missing.is_empty(), "{missing:?} is missing in:\n{said}");
        said
    };
    // No program for mapping ids.
    let mut without_mappers = Command::new("/usr/bin/setpriv");
    without_mappers.args(&who).arg(rocbed_path()).env("PATH", "/nonexistent");
    told(
        without_mappers,
        &["newuidmap is not installed; newgidmap is not installed", "help: install the package uidmap"],
    );
    // Set-uid has no effect on the program.
    told(setpriv(&who, &["--no-new-privs"]), &["no_new_privs", "help: Kubernetes: allowPrivilegeEscalation: true"]);
    // Ids that belong to no user.
    let nobody = ["--reuid=64321", "--regid=64321", "--clear-groups"].map(str::to_owned);
    let said = told(
        setpriv(&nobody, &[]),
        &["64321 has no 65535 subordinate ids in /etc/subuid; 64321", "help: as root: usermod --add-subuids "],
    );
    assert_eq!(said.matches("usermod").count(), 1, "{said}");
    // A kernel limit, set in a user namespace so that it affects only this test.
    let limit =
        "echo 0 >/proc/sys/user/max_user_namespaces; exec setpriv --reuid=7 --regid=7 --clear-groups \"$0\" \"$@\"";
    let mut limited = Command::new("setpriv");
    limited.args(&who).args(["unshare", "--user", "--map-root-user", "--map-auto", "sh", "-euc", limit]);
    limited.arg(rocbed_path());
    told(limited, &["user.max_user_namespaces is 0", "sysctl user.max_user_namespaces=10000"]);
    // /proc is hidden.
    let mut hidden = Command::new("unshare");
    hidden.args(["--mount", "sh", "-euc", "mount -t tmpfs hidden /proc; exec setpriv \"$@\"", "sh"]);
    hidden.args(&who).arg(rocbed_path());
    told(hidden, &["there is no /proc here", "help: mount -t proc proc /proc"]);
    // A seccomp filter like Docker's.
    let said = filtered(|| refused(setpriv(&who, &[]), &user.home));
    let help = "help: GitLab Runner: security_opt = [\"seccomp=unconfined\", \"apparmor=unconfined\"]";
    assert!(said.contains("a seccomp filter is in the way") && said.contains(help), "{said}");
}

#[test]
fn what_a_containers_root_lacks_is_told_with_what_to_do() {
    let home = tempfile::tempdir().expect("a directory");
    let no_capabilities = setpriv(&[], &["--bounding-set=-all"]);
    let said = refused(no_capabilities, home.path());
    assert!(said.contains("SETUID, SETGID and SETFCAP"), "{said}");
    let said = filtered(|| refused(setpriv(&[], &[&format!("--bounding-set={CAPABILITIES}")]), home.path()));
    let help = "help: Docker: start the container with --security-opt seccomp=unconfined";
    assert!(said.contains("a seccomp filter is in the way") && said.contains(help), "{said}");
}

/// Runs a function in a thread that may not make namespaces; neither may its child processes.
fn filtered(run: impl FnOnce() -> String + Send) -> String {
    let refuse = SeccompAction::Errno(rustix::io::Errno::PERM.raw_os_error().cast_unsigned());
    let architecture = TargetArch::try_from(std::env::consts::ARCH).expect("a known architecture");
    let rules = BTreeMap::from([(libc::SYS_unshare, Vec::new())]);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, architecture).expect("a filter");
    let program: seccompiler::BpfProgram = filter.try_into().expect("a filter's program");
    thread::scope(|scope| {
        let running = scope.spawn(move || {
            seccompiler::apply_filter(&program).expect("applying a filter");
            run()
        });
        running.join().expect("its end")
    })
}
