//! Tests reading .deb files: valid ones, compared with dpkg-deb, and invalid ones.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::process::Command;

use debian::deb::fixtures::{PackageFile, ar, entry, file, pax, symlink, tar};
use debian::deb::{Deb, Paragraph, parse};
use proptest::prelude::*;

/// The path of a program; panics with the name of the package if it is missing.
fn need(program: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|directory| directory.join(program));
    found.find(|path| path.is_file()).unwrap_or_else(|| panic!("{program} is missing: install the package {package}"))
}

#[test]
fn the_container_is_checked() {
    let control = tar(&[file("./control", "Package: a\nVersion: 1\nArchitecture: all\n")]);
    let data = tar(&[]);
    let deb = |members: &[(&str, &[u8])]| parse(&ar(members)).map(|deb| deb.name().to_owned());
    let error = |members: &[(&str, &[u8])]| deb(members).unwrap_err().to_string();
    let version = ("debian-binary", b"2.0\n".as_slice());
    let control = ("control.tar", control.as_slice());
    assert_eq!(deb(&[version, control, ("data.tar", &data)]).unwrap(), "a");
    assert_eq!(deb(&[version, ("_extra", b"x"), control, ("data.tar", &data)]).unwrap(), "a");
    assert!(error(&[control]).contains("debian-binary"));
    assert!(error(&[("debian-binary", b"3.0\n"), control]).contains("3.0"));
    assert!(error(&[version, ("data.tar", &data)]).contains("control.tar"));
    assert!(error(&[version, control]).contains("data.tar"));
    assert!(error(&[version, control, ("data.tar.bz2", b"")]).contains("data.tar.bz2"));
    assert!(parse(b"no archive at all").is_err());
    for bad in ["../x", "a/b", "", "a b"] {
        let control = tar(&[file("./control", &format!("Package: {bad}\nVersion: 1\nArchitecture: all\n"))]);
        assert!(error(&[version, ("control.tar", &control), ("data.tar", &data)]).contains("Package"), "{bad:?}");
    }
}

#[test]
fn a_path_with_a_line_break_would_be_two_in_dpkg_s_lists() {
    let error = parse(&PackageFile::new("a").data([file("a\nb", "")]).bytes()).unwrap_err().to_string();
    assert!(error.contains("line break"), "{error}");
}

#[test]
fn control_fields_and_relations() {
    let paragraph = Paragraph::parse("Package: a\nDescription: short \n long\n .\n  more\nX-Own: y\n").unwrap();
    assert_eq!(paragraph.get("description"), Some("short \n long\n .\n  more"));
    assert!(Paragraph::parse("A: 1\nA: 2\n").is_err() && Paragraph::parse("A: 1\n\nB: 2\n").is_err());
    assert_eq!(Paragraph::parse("A: 1 \nB: 2\n").unwrap().get_raw("A"), Some("1 "));
    let paragraph = Paragraph::parse("Depends: libc6 (>= 2.38), a:any | b (<< 1:2~),\n").unwrap();
    let relations = paragraph.relations("Depends");
    assert_eq!(relations.0.iter().map(|alternatives| alternatives.0.len()).collect::<Vec<_>>(), [1, 2]);
    let error = Paragraph::parse("Depends: libc6 (>= )\n").unwrap_err().to_string();
    assert!(error.contains("Depends"), "{error}");
}

/// Every compression that dpkg-deb writes, and its own idea of what is inside.
#[test]
fn agrees_with_dpkg_deb() {
    let dpkg_deb = need("dpkg-deb", "dpkg");
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("source");
    std::fs::create_dir_all(source.join("DEBIAN")).unwrap();
    std::fs::create_dir_all(source.join("usr/share/doc/sample")).unwrap();
    std::fs::create_dir_all(source.join("etc")).unwrap();
    let control =
        "Package: sample\nVersion: 1:2.0-3\nArchitecture: all\nMaintainer: T <t@example.org>\nDescription: s\n";
    std::fs::write(source.join("DEBIAN/control"), control).unwrap();
    std::fs::write(source.join("DEBIAN/conffiles"), "/etc/sample.conf\n").unwrap();
    std::fs::write(source.join("etc/sample.conf"), "a = 1\n").unwrap();
    std::fs::write(source.join("usr/share/doc/sample").join("n".repeat(200)), vec![7; 100_000]).unwrap();
    std::os::unix::fs::symlink("sample.conf", source.join("etc/link")).unwrap();
    std::fs::set_permissions(&source, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for compression in ["none", "gzip", "xz", "zstd"] {
        let path = directory.path().join(format!("{compression}.deb"));
        let built = Command::new(&dpkg_deb)
            .args(["--root-owner-group", "-Z", compression, "-b"])
            .args([&source, &path])
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let deb = Deb::read(&mut File::open(&path).unwrap()).unwrap();
        assert_eq!((deb.name(), deb.version()), ("sample", "1:2.0-3"), "{compression}");
        assert_eq!(deb.conffiles().collect::<Vec<_>>(), [(b"/etc/sample.conf".as_slice(), None)]);
        let mut data = deb.data(File::open(&path).unwrap()).unwrap();
        let mut ours = Vec::new();
        while let Some(entry) = data.next_entry().unwrap() {
            ours.push(format!("/{}", String::from_utf8(entry.path).unwrap()));
        }
        let listed = Command::new(&dpkg_deb).arg("--fsys-tarfile").arg(&path).output().unwrap().stdout;
        let mut tar = Command::new(need("tar", "tar"))
            .arg("-t")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut tar.stdin.take().unwrap(), &listed).unwrap();
        let theirs = String::from_utf8(tar.wait_with_output().unwrap().stdout).unwrap();
        let theirs: Vec<_> = theirs.lines().map(|line| format!("/{}", line.trim_matches(['.', '/']))).collect();
        let theirs: Vec<_> = theirs.into_iter().map(|line| line.replace("//", "/")).collect();
        assert_eq!(ours, theirs, "{compression}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A damaged package is an error or another package, never a panic, and never a path out of the root.
    #[test]
    fn damage_is_survived(changes in prop::collection::vec((0..4096_usize, any::<u8>()), 1..12), cut in 0..6000_usize) {
        let package = PackageFile::new("a").data([pax(&[("path", b"long/name")]), file("x", "content"), symlink("l", "t")]);
        let mut bytes = package.bytes();
        for (at, value) in changes {
            let length = bytes.len();
            bytes[at % length] = value;
        }
        bytes.truncate(bytes.len().saturating_sub(cut / 10));
        if let Ok(deb) = parse(&bytes) {
            let mut data = deb.data(std::io::Cursor::new(&bytes)).unwrap();
            while let Ok(Some(entry)) = data.next_entry() {
                prop_assert!(!entry.path.split(|byte| *byte == b'/').any(|part| part == b".."));
            }
        }
    }

    #[test]
    fn control_files_never_panic(text in "\\PC{0,200}") {
        let _ignored = Paragraph::parse(&text);
    }
}

/// A package whose data archive is this, compressed by `xz` with a dictionary of so many bytes.
fn compressed(field: &str, data: &[u8], dictionary: u32) -> Vec<u8> {
    let mut options = liblzma::stream::LzmaOptions::new_preset(0).unwrap();
    options.dict_size(dictionary);
    let mut filters = liblzma::stream::Filters::new();
    filters.lzma2(&options);
    let stream = liblzma::stream::Stream::new_stream_encoder(&filters, liblzma::stream::Check::Crc32).unwrap();
    let mut encoder = liblzma::read::XzEncoder::new_stream(data, stream);
    let mut bytes = Vec::new();
    encoder.read_to_end(&mut bytes).unwrap();
    let control = format!("{field}Package: bomb\nVersion: 1.0\nArchitecture: all\n");
    ar(&[("debian-binary", b"2.0\n"), ("control.tar", &tar(&[file("./control", &control)])), ("data.tar.xz", &bytes)])
}

#[test]
fn a_package_unpacks_to_no_more_than_its_size_says() {
    // 80 MiB of nothing take 12 KiB.
    let large = entry(b'0', "./large", 0o644, "", &vec![0; 80 << 20]);
    let bomb = compressed("Installed-Size: 1\n", &tar(std::slice::from_ref(&large)), 1 << 20);
    let error = parse(&bomb).unwrap_err().to_string();
    assert!(error.contains("unpacks to more than 67112960 bytes") && error.contains("Installed-Size"), "{error}");
    parse(&compressed("Installed-Size: 81920\n", &tar(&[large]), 1 << 20)).unwrap();
    // Nor does what no file gets.
    let bomb = compressed("Installed-Size: 1\n", &vec![0; 80 << 20], 1 << 20);
    assert!(parse(&bomb).unwrap_err().to_string().contains("unpacks to more than"));
}

#[test]
fn a_package_takes_no_more_memory_than_dpkg_deb_s_do() {
    let small = tar(&[file("./small", "content")]);
    parse(&compressed("", &small, 64 << 20)).unwrap();
    let error = parse(&compressed("", &small, 512 << 20)).unwrap_err().to_string();
    assert!(error.contains("takes more than 160 MiB of memory"), "{error}");
}
