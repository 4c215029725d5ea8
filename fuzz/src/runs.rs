//! What comes out of a testbed, where tests can write anything: autopkgtest's summary and log, reports, bundles; and
//! what goes in.

use std::fs;
use std::io::BufReader;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path};

use bundle::{EntryKind, RESULT};
use runner::cases::Case;
use runner::log::Reader;
use runner::summary::Summary;

use crate::archive::mend_tar;
use crate::bytes::{InPieces, pieces};
use crate::directory;

/// autopkgtest's summary. Each test is there once, and nothing has what a terminal would act on.
pub fn summary(data: &[u8]) {
    let summary = Summary::parse(data);
    let mut names: Vec<&str> = summary.tests.iter().map(|test| test.name.as_str()).collect();
    let reasons = summary.tests.iter().map(|test| test.reason.as_str());
    for text in names.iter().copied().chain(reasons).chain(summary.problems.iter().map(String::as_str)) {
        assert!(!text.contains(char::is_control) && text.chars().count() <= 1000, "{text:?}");
    }
    assert!(names.iter().all(|name| !name.is_empty() && !name.contains(char::is_whitespace)), "{names:?}");
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), summary.tests.len());
}

/// autopkgtest's log. However it is cut it says the same.
pub fn test_log(data: &[u8]) {
    let (mut whole, mut cut) = (Reader::default(), Reader::default());
    let lines = whole.push(data);
    let in_pieces: Vec<_> = pieces(data).into_iter().flat_map(|piece| cut.push(piece)).collect();
    assert_eq!(in_pieces, lines);
    assert_eq!(cut.order, whole.order);
    assert_eq!(whole.order.len(), whole.times.len());
    for name in &whole.order {
        assert!(!name.is_empty() && !name.contains(|char: char| char.is_whitespace() || char.is_control()), "{name:?}");
        let times = whole.times[name];
        assert!(times.seconds.is_none() || times.began.is_some(), "{times:?}");
    }
}

/// A report in XML. However it is cut it says the same; the numbers are those of the cases; texts are not endless.
pub fn report(data: &[u8]) {
    let mut seen = Vec::new();
    let cases = runner::cases::read(data, &mut |case| seen.push(case));
    let mut cut = Vec::new();
    let in_pieces = BufReader::with_capacity(40, InPieces::of(data));
    assert_eq!(runner::cases::read(in_pieces, &mut |case| cut.push(case)), cases);
    assert_eq!(cut, seen);
    let cases = cases.unwrap_or_default();
    assert_eq!(cases.total, seen.len() as u64);
    assert!(cases.failed + cases.skipped <= cases.total);
    let short = |case: &Case| [&case.class, &case.name, &case.time].iter().all(|text| text.len() <= 16 << 10);
    assert!(seen.iter().all(|case| short(case) && case.message.len() <= 2 * (16 << 10) + 1));
}

/// Whether a path stays where it is.
fn stays(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_)))
}

/// A result bundle: the bytes as they are, and as the tar in one, its checksums put right. All ways to read it find the
/// same in it; unpacked, nothing of it is outside or leads there; and the hub takes exactly what can be unpacked and has a
/// result.
pub fn bundle(data: &[u8]) {
    let _as_it_is = (bundle::parse(data).is_ok(), hub::check_bundle(data).is_ok());
    let bundle = zstd::encode_all(&mend_tar(data)[..], 1).expect("compressing in memory");
    let whole = bundle::parse(&bundle);
    let for_hub = hub::check_bundle(&bundle);
    let mut entries = Vec::new();
    if bundle::list(InPieces::of(&bundle), u64::MAX, &mut |entry| entries.push(entry)).is_err() {
        assert!(whole.is_err() && for_hub.is_err());
        return;
    }
    for (index, entry) in entries.iter().enumerate() {
        assert!(stays(Path::new(&entry.name)) && !entry.name.is_empty(), "{entry:?}");
        let same = |other: &bundle::BundleEntry| other.name == entry.name && other.kind == EntryKind::File;
        if entry.kind == EntryKind::File && !entries[..index].iter().any(same) {
            match bundle::file(&bundle[..], &entry.name, 1 << 20) {
                Ok(bytes) => assert_eq!(bytes.map(|bytes| bytes.len() as u64), Some(entry.size), "{entry:?}"),
                Err(error) => assert!(entry.size > 1 << 20, "{entry:?}: {error}"),
            }
        }
    }
    let directory = directory();
    let inside = directory.path().join("inside");
    fs::create_dir(&inside).expect("a directory in it");
    let unpacked = bundle::unpack(&bundle[..], &inside);
    assert_eq!(fs::read_dir(directory.path()).expect("the directory").count(), 1);
    look_through(&inside, &mut |path, metadata| {
        assert_eq!(metadata.permissions().mode() & 0o6000, 0, "{}", path.display());
        if metadata.is_symlink() {
            assert!(stays(&fs::read_link(path).expect("a link")), "{}", path.display());
        }
    });
    assert_eq!(unpacked.expect("what can be listed can be unpacked"), entries);
    assert_eq!(whole.is_ok(), for_hub.is_ok());
    if let Ok(whole) = whole {
        assert_eq!(whole.entries, entries);
        assert_eq!((entries[0].name.as_str(), entries[0].kind), (RESULT, EntryKind::File));
    }
}

fn look_through(directory: &Path, look: &mut dyn FnMut(&Path, &fs::Metadata)) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let metadata = fs::symlink_metadata(&path).expect("what was listed");
        look(&path, &metadata);
        if metadata.is_dir() {
            look_through(&path, look);
        }
    }
}

/// A `.dsc` or a `.changes`. Its files are beside it.
pub fn dsc(data: &[u8]) {
    let of_source = debian::dsc::Dsc::parse(data).map(|dsc| dsc.files).unwrap_or_default();
    let of_upload = debian::changes::Changes::parse(data).map(|changes| changes.files).unwrap_or_default();
    for file in of_source.into_iter().chain(of_upload) {
        assert!(stays(Path::new(&file.name)) && !file.name.contains('/') && !file.name.starts_with('.'), "{file:?}");
    }
}

/// A `debian/tests/control`. A comment before it changes nothing.
pub fn tests_control(data: &[u8]) {
    let wants = debian::autopkgtest::wants_packages(data);
    assert_eq!(debian::autopkgtest::wants_packages(&[&b"# a comment\n"[..], data].concat()), wants);
    if !wants {
        let stanzas = debian::deb822::parse(data, debian::deb822::Comments::Allowed).expect("what needs nothing");
        assert!(stanzas.iter().all(|stanza| stanza.get("Depends") == Some("")), "{stanzas:?}");
    }
}
