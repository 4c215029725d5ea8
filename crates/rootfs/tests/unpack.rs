//! Tests of unpacking without scripts, compared with the host's own dpkg.

mod packages;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use debian::deb::Deb;
use fsimage::{Timestamp, compare, scan};
use packages::{Block, PackageFile, directory, entry, file, hard_link, need, need_root, owned_entry, symlink};
use progress::Silent;
use rootfs::unpack::{Extent, Package, UnpackReport, unpack};
use rootfs::{Error, database};

/// Writes packages, unpacks them into `directory/root` and writes the database.
fn install(at: &Path, packages: &[PackageFile], threads: usize) -> Result<UnpackReport, Error> {
    need_root();
    let packages: Vec<Package> = packages
        .iter()
        .map(|package| {
            let path = package.write(at);
            let deb = Deb::read(&mut fs::File::open(&path).unwrap()).unwrap();
            Package::trusted(deb, path, Extent::Whole)
        })
        .collect();
    let root = at.join("root");
    fs::create_dir_all(&root).unwrap();
    let report = unpack(&packages, &root, threads, &Silent)?;
    database::write(&root, "amd64", &packages, &report)?;
    Ok(report)
}

fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn keeps_modes_owners_times_links_and_puts_conffiles_aside() {
    let at = tempfile::tempdir().unwrap();
    let package = PackageFile::new("sample")
        .control_file(file("./conffiles", "/etc/sample.conf\n"))
        .control_file(packages::script("./postinst", "true"))
        .data([
            directory("./etc"),
            file("./etc/sample.conf", "a = 1\n"),
            owned_entry(b'5', "./var", 0o2775, (0, 8), "", b""),
            owned_entry(b'0', "./var/tool", 0o4750, (3, 42), "", b"tool"),
            hard_link("./var/same", "./var/tool"),
            symlink("./var/link", "/etc/sample.conf"),
            entry(b'6', "./var/pipe", 0o600, "", b""),
        ]);
    install(at.path(), &[package], 2).unwrap();
    let root = at.path().join("root");
    let tool = fs::metadata(root.join("var/tool")).unwrap();
    assert_eq!((tool.mode() & 0o7777, tool.uid(), tool.gid(), tool.nlink()), (0o4750, 3, 42, 2));
    assert_eq!(tool.mtime(), 1_000_000_000);
    let var = fs::metadata(root.join("var")).unwrap();
    assert_eq!((var.mode() & 0o7777, var.gid()), (0o2775, 8));
    assert_eq!(fs::metadata(root.join("etc")).unwrap().mtime(), 1_000_000_000, "set after the files in it");
    assert_eq!(text(root.join("etc/sample.conf.dpkg-new")), "a = 1\n");
    assert!(!root.join("etc/sample.conf").exists());
    let info = root.join("var/lib/dpkg/info");
    assert!(text(info.join("sample.list")).starts_with("/.\n/etc\n/etc/sample.conf\n"));
    assert_eq!(fs::metadata(info.join("sample.postinst")).unwrap().permissions().mode() & 0o777, 0o755);
    let sums = text(info.join("sample.md5sums"));
    assert_eq!(sums.lines().count(), 3, "one for each name of a regular file: {sums}");
    let status = text(root.join("var/lib/dpkg/status"));
    assert!(status.contains("Status: install ok unpacked\n"), "{status}");
    assert!(status.contains("Conffiles:\n /etc/sample.conf newconffile\n"), "{status}");
}

/// dpkg itself unpacks the same packages: the trees and the databases have to be the same.
#[test]
fn agrees_with_dpkg_unpack() {
    need_root();
    let at = tempfile::tempdir().unwrap();
    let packages = [
        PackageFile::new("first")
            .field("Multi-Arch: foreign")
            .field("Homepage: https://example.org")
            .field("Priority: optional")
            .field("Section: misc")
            .control_file(file("./triggers", "interest-noawait /usr/share/first\ninterest first-named\n"))
            .data([
                directory("./usr/"),
                directory("./usr/share/"),
                owned_entry(b'5', "./usr/share/first/", 0o2750, (0, 8), "", b""),
                file("./usr/share/first/one", "one"),
                hard_link("./usr/share/first/two", "./usr/share/first/one"),
                symlink("./usr/share/first/link", "one"),
            ]),
        PackageFile::new("second")
            .field("Depends: first (>= 1)")
            .field("Replaces: third (<< 2)")
            .control_file(file("./conffiles", "/etc/second.conf\n"))
            .control_file(file("./md5sums", "5ae3a5c0e2b1d9c1a6d6a2b5d3f1c0aa  usr/share/shared\n"))
            .data([
                directory("./etc"),
                file("./etc/second.conf", "second"),
                directory("./usr/"),
                directory("./usr/share/"),
                file("./usr/share/shared", "second's"),
            ]),
        PackageFile::new("third").data([
            directory("./usr/"),
            directory("./usr/share/"),
            file("./usr/share/shared", "third's"),
            file("./usr/share/own", "third's own"),
        ]),
    ];
    install(at.path(), &packages, 3).unwrap();

    let oracle = at.path().join("oracle");
    for path in ["info", "updates", "triggers", "alternatives", "parts"] {
        fs::create_dir_all(oracle.join("var/lib/dpkg").join(path)).unwrap();
    }
    fs::write(oracle.join("var/lib/dpkg/status"), "").unwrap();
    fs::write(oracle.join("var/lib/dpkg/arch"), "amd64\n").unwrap();
    let output = Command::new(need("dpkg", "dpkg"))
        .args(["--force-unsafe-io", "--force-depends", "--force-script-chrootless", "--log=/dev/null"])
        .arg(format!("--root={}", oracle.display()))
        .arg("--unpack")
        .args(packages.iter().map(|package| at.path().join(format!("{}.deb", package.name))))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let trees = [at.path().join("root"), oracle].map(|root| {
        let mut tree = scan(&root).unwrap();
        // dpkg leaves locks, backups and a note on formats; directories have the time of the last change in them.
        for path in ["lock", "lock-frontend", "triggers/Lock", "status-old", "available", "info/format"] {
            let path = format!("var/lib/dpkg/{path}");
            if tree.get(&path).is_some() {
                tree.remove(&path).unwrap();
            }
        }
        let paths: Vec<Vec<u8>> = tree.iter().map(|(path, _)| path.to_vec()).collect();
        for path in paths {
            let generated = path.starts_with(b"var/lib/dpkg");
            let node = tree.get_mut(&path).unwrap();
            if generated || node.is_directory() {
                node.metadata.mtime = Timestamp::from_seconds(0);
            }
        }
        tree
    });
    let differences = compare(&trees[0], &trees[1]).unwrap();
    let differences: Vec<_> = differences.iter().map(ToString::to_string).collect();
    let status = |root: &str| text(at.path().join(root).join("var/lib/dpkg/status"));
    assert!(differences.is_empty(), "{differences:#?}\nours:\n{}\ndpkg's:\n{}", status("root"), status("oracle"));
}

fn one_file(name: &str, path: &str) -> PackageFile {
    PackageFile::new(name).data([directory("./usr"), file(path, name)])
}

#[test]
fn packages_with_the_same_file_conflict() {
    for threads in [1, 4] {
        let at = tempfile::tempdir().unwrap();
        let error = install(at.path(), &[one_file("a", "./usr/x"), one_file("b", "./usr/x")], threads).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("packages a and b both ship /usr/x"), "{message}");
    }
}

#[test]
fn a_replacing_package_wins_whoever_comes_first() {
    let replacing = || one_file("b", "./usr/x").field("Replaces: a (<< 2)");
    // It has a file of its own: dpkg forgets a package that has none any more.
    let a = || {
        let files = [file("./usr/own", "a"), file("./usr/x", "a")];
        PackageFile::new("a").data([directory("./usr")].into_iter().chain(files))
    };
    for packages in [[a(), replacing()], [replacing(), a()]] {
        let at = tempfile::tempdir().unwrap();
        install(at.path(), &packages, 2).unwrap();
        assert_eq!(text(at.path().join("root/usr/x")), "b");
        let list = |name: &str| text(at.path().join(format!("root/var/lib/dpkg/info/{name}.list")));
        assert_eq!(list("b"), "/.\n/usr\n/usr/x\n");
        assert_eq!(list("a"), "/.\n/usr\n/usr/own\n");
    }
}

#[test]
fn merged_usr_is_followed_and_seen_by_the_conflict_check() {
    let base = || {
        PackageFile::new("base-files").data([
            directory("./usr"),
            directory("./usr/bin"),
            symlink("./bin", "usr/bin"),
            symlink("./sbin", "/usr/bin"),
        ])
    };
    let at = tempfile::tempdir().unwrap();
    let tool = PackageFile::new("a").data([directory("./bin"), file("./bin/tool", "a"), file("./sbin/admin", "a")]);
    install(at.path(), &[tool, base()], 2).unwrap();
    assert_eq!(text(at.path().join("root/usr/bin/tool")), "a");
    assert_eq!(text(at.path().join("root/usr/bin/admin")), "a", "absolute links are inside the root");
    assert!(fs::symlink_metadata(at.path().join("root/bin")).unwrap().is_symlink());

    let at = tempfile::tempdir().unwrap();
    let packages = [base(), one_file("a", "./usr/bin/tool"), one_file("b", "./bin/tool")];
    assert!(matches!(install(at.path(), &packages, 2), Err(Error::Conflict { .. })));
}

/// Whether a link or a directory of the same name comes first decides what dpkg makes of both.
#[test]
fn the_given_order_counts_however_many_threads_there_are() {
    let target = PackageFile::new("target").data([directory("./d"), directory("./d/real")]);
    let link = || PackageFile::new("link").data([directory("./d"), symlink("./d/name", "real")]);
    let inside = || PackageFile::new("inside").data([directory("./d"), directory("./d/name"), file("./d/name/f", "x")]);
    let check = |packages: &[PackageFile], expect_link: bool| {
        for threads in [1, 8] {
            let at = tempfile::tempdir().unwrap();
            install(at.path(), packages, threads).unwrap();
            let root = at.path().join("root/d");
            assert_eq!(fs::symlink_metadata(root.join("name")).unwrap().is_symlink(), expect_link);
            assert_eq!(text(root.join("name/f")), "x");
            assert_eq!(root.join("real/f").exists(), expect_link);
        }
    };
    check(&[PackageFile::new("z").data([directory("./d"), directory("./d/real")]), link(), inside()], true);
    check(&[target, inside(), link()], false);
}

#[test]
fn nothing_is_ever_written_outside_the_root() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().to_str().unwrap().to_owned();
    let up = "../".repeat(20) + &target[1..];
    let hostile: Vec<(&str, Vec<Block>)> = vec![
        ("through an absolute link", vec![symlink("./a", &target), file("./a/x", "x")]),
        ("through a relative link", vec![symlink("./a", &up), file("./a/x", "x")]),
        ("directory through a link", vec![symlink("./a", &target), directory("./a"), file("./a/x", "x")]),
        ("over a link", vec![symlink("./x", &format!("{target}/x")), file("./x", "x")]),
        ("hard link through a link", vec![file("./f", "x"), symlink("./a", &target), hard_link("./a/x", "./f")]),
        ("hard link of a file outside", vec![symlink("./a", "/etc"), hard_link("./x", "./a/passwd")]),
        ("link loop", vec![symlink("./a", "a"), file("./a/x", "x")]),
    ];
    for (what, blocks) in hostile {
        let at = tempfile::tempdir().unwrap();
        // An error is fine, and so is a file inside.
        let result = install(at.path(), &[PackageFile::new("hostile").data(blocks)], 2);
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "{what}: {result:?}");
        let stolen = at.path().join("root/x");
        if let Ok(metadata) = fs::symlink_metadata(&stolen) {
            assert!(metadata.nlink() == 1 || what.starts_with("hard link through"), "{what}");
        }
    }
}

#[test]
fn the_result_does_not_depend_on_the_number_of_threads() {
    let packages: Vec<PackageFile> = (0..40)
        .map(|number| {
            let mut blocks = vec![directory("./usr"), owned_entry(b'5', "./usr/shared", 0o755, (number, 0), "", b"")];
            for part in 0..10 {
                blocks.push(directory(&format!("./usr/d{part}")));
                blocks.push(file(&format!("./usr/d{part}/f{number}"), &format!("{number} {part}")));
            }
            PackageFile::new(&format!("p{number}")).data(blocks)
        })
        .collect();
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let trees = [(&directories[0], 1), (&directories[1], 8)].map(|(at, threads)| {
        install(at.path(), &packages, threads).unwrap();
        let mut tree = scan(&at.path().join("root")).unwrap();
        tree.remove("var").unwrap(); // the database has the time of its writing
        tree.get_mut("").unwrap().metadata.mtime = Timestamp::from_seconds(0); // and so has its parent
        tree
    });
    let differences = compare(&trees[0], &trees[1]).unwrap();
    assert!(differences.is_empty(), "{differences:?}");
    assert_eq!(trees[0].get("usr/shared").unwrap().metadata.uid, 0, "the first package says what a directory is like");
}

#[test]
fn devices_that_may_not_be_made_are_remembered() {
    let at = tempfile::tempdir().unwrap();
    let package = PackageFile::new("dev").data([directory("./dev"), entry(b'3', "./dev/null", 0o666, "", b"")]);
    let report = install(at.path(), &[package], 1).unwrap();
    let made = fs::symlink_metadata(at.path().join("root/dev/null")).is_ok();
    assert_eq!(report.devices.len(), usize::from(!made));
    let mut tree = scan(&at.path().join("root")).unwrap();
    rootfs::add_devices(&mut tree, &report.devices).unwrap();
    let node = tree.get("dev/null").unwrap();
    assert_eq!(node.kind, fsimage::NodeKind::CharDevice { major: 1, minor: 3 });
    assert_eq!(node.metadata.mode, 0o666);
}
