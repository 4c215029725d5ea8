//! Tests of the sandbox and of dpkg in it, with a system made from the host's own programs.

mod packages;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command as HostCommand;

use packages::{Block, PackageFile, directory, entry, file, need, need_root, script, symlink};
use progress::Silent;
use rootfs::sandbox::{Command, Sandbox, SandboxError};
use rootfs::{Error, Package, Spec, build};
use sha256::Digest;

/// Programs that dpkg and the tests' scripts call, with their packages.
const PROGRAMS: &[(&str, &str)] = &[
    ("cat", "coreutils"),
    ("diff", "diffutils"),
    ("dpkg", "dpkg"),
    ("dpkg-deb", "dpkg"),
    ("dpkg-divert", "dpkg"),
    ("dpkg-query", "dpkg"),
    ("dpkg-split", "dpkg"),
    ("id", "coreutils"),
    ("ldconfig", "libc-bin"),
    ("ls", "coreutils"),
    ("mv", "coreutils"),
    ("rm", "coreutils"),
    ("sh", "dash"),
    ("sleep", "coreutils"),
    ("start-stop-daemon", "dpkg"),
    ("tar", "tar"),
];

/// A package with a merged /usr and the host's programs and their libraries in it.
fn base() -> PackageFile {
    let mut blocks: Vec<Block> = vec![directory("./usr/"), directory("./usr/bin/"), directory("./usr/lib/")];
    for name in ["bin", "sbin"] {
        blocks.push(symlink(&format!("./{name}"), "usr/bin"));
    }
    for name in ["lib", "lib64"] {
        blocks.push(symlink(&format!("./{name}"), "usr/lib"));
    }
    blocks.push(symlink("./usr/sbin", "bin"));
    for name in ["dev", "etc", "proc", "run", "sys", "tmp", "var"] {
        blocks.push(directory(&format!("./{name}/")));
    }
    let mut libraries = BTreeSet::new();
    for (program, package) in PROGRAMS {
        let path = need(program, package).canonicalize().unwrap();
        blocks.push(entry(b'0', &format!("./usr/bin/{program}"), 0o755, "", &fs::read(&path).unwrap()));
        let listed = HostCommand::new(need("ldd", "libc-bin")).arg(&path).output().unwrap().stdout;
        let listed = String::from_utf8(listed).unwrap();
        libraries.extend(listed.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from));
    }
    // The loader looks in /lib64 and /usr/lib, which are one here.
    for library in libraries {
        let name = library.file_name().unwrap().to_str().unwrap();
        blocks.push(entry(b'0', &format!("./usr/lib/{name}"), 0o755, "", &fs::read(&library).unwrap()));
    }
    let passwd = "root:x:0:0:root:/root:/bin/sh\n";
    blocks.extend([file("./etc/passwd", passwd), file("./etc/group", "root:x:0:\ntty:x:5:\n")]);
    PackageFile::new("base-files").field("Essential: yes").data(blocks)
}

fn spec(at: &Path, packages: &[PackageFile]) -> Spec {
    let packages = packages.iter().map(|package| Package {
        name: package.name.clone(),
        version: "1.0".into(),
        architecture: "all".into(),
        path: package.write(at),
        sha256: Some(Digest::of(package.bytes())),
        essential: false,
    });
    Spec {
        packages: packages.collect(),
        architecture: "amd64".into(),
        preseeds: String::new(),
        epoch: 1_790_000_000,
        threads: None,
        stubbed_programs: vec!["idle-tool".into()],
        log: at.join("log"),
    }
}

/// Builds into `at/root` and returns that, or the error.
fn try_build(at: &Path, packages: &[PackageFile]) -> Result<PathBuf, Error> {
    need_root();
    let root = at.join("root");
    build(&spec(at, packages), &root, &Silent)?;
    Ok(root)
}

fn shell(root: &Path, text: &str) -> (std::process::ExitStatus, String) {
    let command = Command {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), text.into()],
        environment: vec![("PATH".into(), "/usr/bin".into())],
        input: b"some input".to_vec(),
    };
    let mut output = Vec::new();
    let outcome = Sandbox::new(root).unwrap().run(&command, &mut |bytes| output.extend_from_slice(bytes)).unwrap();
    (outcome.status, String::from_utf8(output).unwrap())
}

fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn a_command_sees_nothing_of_the_host_and_leaves_nothing_behind() {
    let at = tempfile::tempdir().unwrap();
    let root = try_build(at.path(), &[base()]).unwrap();
    let (status, output) = shell(&root, "echo out; echo err >&2; cat; exit 7");
    assert_eq!((status.code(), output.as_str()), (Some(7), "out\nerr\nsome input"));

    let (_, output) = shell(&root, "echo $$; cat /proc/sys/kernel/hostname; id -u; ls / /dev; cat /proc/net/dev");
    assert!(output.starts_with("1\nlocalhost\n0\n"), "{output}");
    assert!(output.contains("\nurandom\n") && output.contains("lo:") && !output.contains("eth"), "{output}");
    assert!(!output.contains("\nhome\n"), "the host's directories are gone: {output}");

    let (status, output) =
        shell(&root, "echo x > /dev/null && echo x > /tmp/x && echo x > /run/x && echo x > /etc/x; ls /tmp");
    assert!(status.success() && output == "x\n", "{output}");
    assert!(root.join("etc/x").exists() && !root.join("tmp/x").exists() && !root.join("run/x").exists());
    assert_eq!(fs::read_dir(root.join("dev")).unwrap().count(), 0);
    assert!(!shell(&root, "echo x > /sys/x").0.success());

    // A background process neither keeps the call waiting for its pipe nor survives it.
    shell(&root, "sleep 1234 & exit 0");
    let running =
        fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read(entry.unwrap().path().join("cmdline")).ok());
    assert!(!running.into_iter().any(|line| line.starts_with(b"sleep\x001234\0")));
    // Other tests mount and unmount elsewhere meanwhile.
    let mounts = text("/proc/self/mountinfo");
    let here = at.path().to_str().unwrap();
    assert!(!mounts.contains(here), "nothing stays mounted: {mounts}");
}

#[test]
fn says_what_it_cannot_do() {
    let at = tempfile::tempdir().unwrap();
    let root = try_build(at.path(), &[base()]).unwrap();
    let command = Command { program: "/no/such/program".into(), ..Command::default() };
    let error = Sandbox::new(&root).unwrap().run(&command, &mut |_| {}).unwrap_err();
    assert!(matches!(&error, SandboxError::Start { program, .. } if program == "/no/such/program"), "{error}");
    fs::remove_dir(root.join("proc")).unwrap();
    assert!(Sandbox::new(&root).unwrap_err().to_string().contains("looking for dev, proc"));
    std::os::unix::fs::symlink("/proc", root.join("proc")).unwrap();
    assert!(Sandbox::new(&root).is_err(), "mounts must not follow a link");
}

#[test]
fn dpkg_configures_what_was_unpacked_in_process() {
    let at = tempfile::tempdir().unwrap();
    let package = PackageFile::new("sample")
        .field("Depends: base-files")
        .control_file(file("./conffiles", "/etc/sample.conf\n"))
        .control_file(script("./postinst", "echo \"$1 $DEBIAN_FRONTEND $SOURCE_DATE_EPOCH\" > /etc/configured"))
        .data([directory("./etc"), file("./etc/sample.conf", "a = 1\n")]);
    let root = try_build(at.path(), &[base(), package]).unwrap();
    assert_eq!(text(root.join("etc/configured")), "configure noninteractive 1790000000\n");
    assert_eq!(text(root.join("etc/sample.conf")), "a = 1\n");
    assert!(!root.join("etc/sample.conf.dpkg-new").exists());
    let status = text(root.join("var/lib/dpkg/status"));
    assert_eq!(status.matches("Status: install ok installed\n").count(), 2, "{status}");
    let digest = status.split_once(" /etc/sample.conf ").unwrap().1.lines().next().unwrap();
    assert!(digest.len() == 32 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{digest}");
    assert!(!root.join("usr/sbin/policy-rc.d").exists() && !root.join("var/cache/rocbed-packages").exists());
    let (clean, output) = shell(&root, "dpkg --audit && dpkg --verify");
    assert!(clean.success() && output.is_empty(), "{output}");
}

#[test]
fn a_preinst_runs_before_its_package_is_unpacked_and_may_divert() {
    let at = tempfile::tempdir().unwrap();
    let original = PackageFile::new("original").data([directory("./usr"), file("./usr/tool", "original")]);
    let divert = "dpkg-divert --package diverting --rename --divert /usr/tool.real --add /usr/tool";
    let diverting = PackageFile::new("diverting")
        .field("Pre-Depends: helper")
        .control_file(script("./preinst", &format!("cat /etc/helper; [ ! -e /usr/new ]; {divert}")))
        .data([directory("./usr"), file("./usr/tool", "diverted"), file("./usr/new", "")]);
    let helper = PackageFile::new("helper").control_file(script("./postinst", "echo ready > /etc/helper"));
    // The package whose file is diverted comes last: it is diverted all the same.
    let root = try_build(at.path(), &[base(), helper, diverting, original]).unwrap();
    assert_eq!(text(root.join("usr/tool")), "diverted");
    assert_eq!(text(root.join("usr/tool.real")), "original");
    assert!(text(root.join("var/lib/dpkg/diversions")).contains("/usr/tool.real\ndiverting\n"));
    assert!(text(at.path().join("log")).contains("ready\n"), "its Pre-Depends was configured before");
}

#[test]
fn a_package_that_another_replaces_in_whole_disappears_as_with_dpkg() {
    let at = tempfile::tempdir().unwrap();
    let old = PackageFile::new("old").data([directory("./usr"), file("./usr/tool", "old")]);
    let new = PackageFile::new("new")
        .field("Replaces: old")
        .control_file(script("./preinst", "true"))
        .data([directory("./usr"), file("./usr/tool", "new")]);
    let root = try_build(at.path(), &[base(), new, old]).unwrap();
    assert_eq!(text(root.join("usr/tool")), "new");
    assert!(text(at.path().join("log")).contains("Noting disappearance of old"));
    assert_eq!(
        shell(&root, "dpkg-query -W -f '${Package} ${db:Status-Status}\\n'").1,
        "base-files installed\nnew installed\n"
    );
}

/// The same where both are unpacked in process: in dpkg's order, and only if nothing of the old one is left.
#[test]
fn a_package_that_a_later_one_replaces_in_whole_disappears() {
    let states = |old: PackageFile, new: &str| {
        let at = tempfile::tempdir().unwrap();
        let new = PackageFile::new(new).field("Replaces: old").data([directory("./usr"), file("./usr/tool", "new")]);
        let mut packages = vec![base(), new, old];
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        let root = try_build(at.path(), &packages).unwrap();
        assert_eq!(text(root.join("usr/tool")), "new");
        shell(&root, "dpkg-query -W -f '${Package} ${db:Status-Status}\\n'").1
    };
    let old = || PackageFile::new("old").data([directory("./usr"), file("./usr/tool", "old")]);
    assert_eq!(states(old(), "replacing"), "base-files installed\nreplacing installed\n");
    // The other order: the old one comes to a root that has its file already.
    assert_eq!(states(old(), "new"), "base-files installed\nnew installed\nold installed\n");
    let more = PackageFile::new("old").data([directory("./usr"), directory("./usr/own"), file("./usr/tool", "old")]);
    assert_eq!(states(more, "replacing"), "base-files installed\nold installed\nreplacing installed\n");
}

#[test]
fn triggers_are_processed() {
    let at = tempfile::tempdir().unwrap();
    let interested = PackageFile::new("interested")
        .control_file(file("./triggers", "interest-noawait named\n"))
        .control_file(script("./postinst", "echo \"$@\" >> /etc/triggered"));
    let activating = PackageFile::new("activating")
        .field("Depends: interested")
        .control_file(file("./triggers", "activate-noawait named\n"));
    let root = try_build(at.path(), &[base(), interested, activating]).unwrap();
    assert_eq!(text(root.join("etc/triggered")), "configure \ntriggered named\n");
}

#[test]
fn a_failing_script_is_named_with_its_output() {
    let at = tempfile::tempdir().unwrap();
    let failing = PackageFile::new("failing").control_file(script("./postinst", "echo about to fail; exit 3"));
    let error = try_build(at.path(), &[base(), failing]).unwrap_err();
    let message = error.to_string();
    for part in ["package failing", "post-installation script", "status 3", "about to fail", "/log"] {
        assert!(message.contains(part), "{part} is missing in: {message}");
    }
    assert!(text(at.path().join("log")).contains("about to fail\n"));
}

#[test]
fn a_wrong_file_and_a_used_directory_are_refused() {
    let at = tempfile::tempdir().unwrap();
    need_root();
    let mut wrong = spec(at.path(), &[base()]);
    wrong.packages[0].version = "2.0".into();
    let error = build(&wrong, &at.path().join("root"), &Silent).unwrap_err();
    assert!(matches!(error, Error::WrongPackage { .. }), "{error}");
    fs::write(at.path().join("root/file"), "").unwrap();
    let error = build(&spec(at.path(), &[base()]), &at.path().join("root"), &Silent).unwrap_err();
    assert!(matches!(error, Error::NotEmpty(_)), "{error}");
}

#[test]
fn every_damaged_package_is_named_and_none_of_its_scripts_runs() {
    need_root();
    let plain = PackageFile::new("plain").data([directory("./etc"), file("./etc/plain", "right")]);
    let scripted = PackageFile::new("scripted")
        .control_file(script("./preinst", "echo ran > /etc/scripted"))
        .data([directory("./etc"), file("./etc/late", "right")]);
    let packages = [base(), plain, scripted];
    // In the content of a file, in a header, and behind all that is unpacked.
    for (what, right, wrong) in [("content", "right", "wrong"), ("header", "\0ustar\0", "\0vstar\0"), ("end", "", "x")]
    {
        let at = tempfile::tempdir().unwrap();
        let spec = spec(at.path(), &packages);
        for package in &spec.packages[1..] {
            let mut bytes = fs::read(&package.path).unwrap();
            let place = bytes.windows(right.len().max(1)).rposition(|window| window == right.as_bytes());
            match place {
                Some(place) => bytes[place..place + wrong.len()].copy_from_slice(wrong.as_bytes()),
                None => bytes.extend_from_slice(wrong.as_bytes()),
            }
            fs::write(&package.path, bytes).unwrap();
        }
        let error = build(&spec, &at.path().join("root"), &Silent).unwrap_err();
        let Error::Damaged(files) = &error else { panic!("{what}: {error}") };
        let names: Vec<&str> = files.iter().map(|file| file.package.as_str()).collect();
        assert_eq!(names, ["plain", "scripted"], "{what}: {error}");
        assert!(!at.path().join("root/etc/scripted").exists(), "{what}");
        assert!(error.to_string().contains("scripted.deb does not have the SHA-256 "), "{error}");
    }
}

#[test]
fn a_hostile_package_cannot_make_dpkgs_database_or_the_policy_leave_the_root() {
    let outside = tempfile::tempdir().unwrap();
    fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let target = outside.path().to_str().unwrap();
    for link in ["./var/lib", "./var/cache", "./etc/x"] {
        let at = tempfile::tempdir().unwrap();
        let hostile = PackageFile::new("hostile").control_file(script("./preinst", "true")).data([
            directory("./var"),
            directory("./etc"),
            symlink(link, target),
        ]);
        let linking = PackageFile::new("linking").data([directory("./var"), directory("./etc"), symlink(link, target)]);
        let result = try_build(at.path(), &[base(), linking, hostile]);
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "{link}: {result:?}");
    }
}
