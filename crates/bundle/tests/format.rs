//! Valid and invalid bundles, from handmade archives.

use std::fs;
use std::io::Write;

use proptest::prelude::*;
use tar::EntryType;

/// An entry: name, type, and content or link target.
type Item<'a> = (&'a str, EntryType, &'a [u8]);

/// A bundle with unchecked entries, which the tar crate would refuse to write.
fn archive(entries: &[Item<'_>]) -> Vec<u8> {
    let mut plain = Vec::new();
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_gnu();
        let fields = header.as_gnu_mut().unwrap();
        fields.name[..name.len()].copy_from_slice(name.as_bytes());
        let is_link = kind.is_symlink() || kind.is_hard_link();
        if is_link {
            fields.linkname[..content.len()].copy_from_slice(content);
        }
        let content = if is_link { &[][..] } else { content };
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        header.set_cksum();
        plain.extend_from_slice(header.as_bytes());
        plain.extend_from_slice(content);
        plain.resize(plain.len().next_multiple_of(512), 0);
    }
    plain.extend([0; 1024]);
    zstd::encode_all(&plain[..], 1).unwrap()
}

const RESULT: &[u8] = br#"{"version": 1, "job": {"package": "gzip"}, "verdict": "pass", "simulated": false,
    "started": "2026-11-01T10:00:00Z", "finished": "2026-11-01T10:01:00Z", "runs": [], "gpus": [],
    "machine": {"name": "m", "kernel": "6", "processors": 1, "memory": 1, "rocbed": "0",
        "gpus": {"gpus": [], "unusable": [], "simulated": false}}}"#;
const FILE: EntryType = EntryType::Regular;

fn with_result(more: &[Item<'_>]) -> Vec<u8> {
    archive(&[&[("result.json", FILE, RESULT)], more].concat())
}

/// Formats an error with its causes.
fn whole(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", whole(source)))
}

#[test]
fn what_is_not_a_bundle_is_refused() {
    for (bytes, says) in [
        (b"hello".to_vec(), "reading the archive"),
        (archive(&[]), "no result.json"),
        (archive(&[("../result.json", FILE, b"{}")]), "leads out of it"),
        (archive(&[("./result.json", FILE, b"{}")]), "empty parts"),
        (archive(&[("disk", EntryType::Block, b"")]), "an entry of the kind"),
        (archive(&[("log", FILE, b""), ("result.json", FILE, RESULT)]), "not its first entry"),
        (archive(&[("result.json", FILE, b"{}")]), "result.json in it"),
        (with_result(&[("/etc/passwd", FILE, b"")]), "is absolute"),
        (with_result(&[("a//b", FILE, b"")]), "empty parts"),
        (with_result(&[("a/", FILE, b"")]), "empty parts"),
        (with_result(&[("a", EntryType::XHeader, b"")]), "an entry of the kind"),
        (with_result(&[("a", EntryType::Link, b"result.json")]), "an entry of the kind"),
        (with_result(&[("a", EntryType::Symlink, b"..")]), "leads to elsewhere"),
        (with_result(&[("a", EntryType::Symlink, b"/etc")]), "leads to elsewhere"),
        (with_result(&[("a", EntryType::Symlink, b"")]), "without a usable target"),
        (with_result(&[("a", EntryType::Fifo, b"")]), "an entry of the kind"),
        (with_result(&[("a", EntryType::GNULongName, &[b'a'; 300]), ("a", FILE, b"")]), "a name that is too long"),
        (with_result(&[("result.json", FILE, RESULT)]), "result.json is there twice"),
        (with_result(&[("a", EntryType::Symlink, b"b"), ("a/b", FILE, b"")]), "below something"),
    ] {
        let error = whole(&bundle::parse(&bytes).unwrap_err());
        assert!(error.contains(says), "{says}: {error}");
    }
    assert_eq!(bundle::parse(&with_result(&[("a/l", EntryType::Symlink, b"b/c")])).unwrap().entries.len(), 2);
}

#[test]
fn a_bundle_that_is_cut_off_is_refused_wherever() {
    let plain = zstd::decode_all(&with_result(&[("log", FILE, &[b'x'; 700])])[..]).unwrap();
    // From within the last content on; cut between two entries, it is a shorter archive.
    for length in (1024..plain.len() - 1024).filter(|length| length % 512 != 0).step_by(37) {
        let bytes = zstd::encode_all(&plain[..length], 1).unwrap();
        assert!(bundle::parse(&bytes).is_err(), "{length} of {}", plain.len());
        let to = tempfile::tempdir().unwrap();
        assert!(bundle::unpack(&bytes[..], to.path()).is_err(), "{length}");
    }
}

#[test]
fn bombs_do_not_go_off() {
    let mut bomb = zstd::Encoder::new(Vec::new(), 1).unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(1 << 30);
    header.set_cksum();
    bomb.write_all(header.as_bytes()).unwrap();
    let error = whole(&bundle::parse(&bomb.finish().unwrap()).unwrap_err());
    assert!(error.contains("a name has 1073741824 bytes"), "{error}");

    let zeros = with_result(&[("zeros", FILE, &vec![0; 4 << 20])]);
    assert!(zeros.len() < 10_000, "{}", zeros.len());
    let error = bundle::read_with(&zeros[..], 1 << 20, &mut |_, _| Ok(())).unwrap_err().to_string();
    assert_eq!(error, "it unpacks to more than 1048576 bytes");

    // A window that would need 2 GiB of memory.
    let mut wide = zstd::Encoder::new(Vec::new(), 19).unwrap();
    wide.window_log(31).unwrap();
    wide.long_distance_matching(true).unwrap();
    wide.include_contentsize(false).unwrap();
    wide.write_all(&zstd::decode_all(&with_result(&[])[..]).unwrap()).unwrap();
    assert!(bundle::parse(&wide.finish().unwrap()).is_err());

    // Consecutive long headers without an entry.
    let name: Item<'_> = ("././@LongLink", EntryType::GNULongName, b"a");
    assert!(bundle::parse(&with_result(&[name, name, name])).is_err());
}

/// Entries that are mostly valid in a bundle, and sometimes not.
fn items() -> impl Strategy<Value = Vec<(String, EntryType, Vec<u8>)>> {
    let name = "(a|b|user|c)(/(a|b|\\.\\.|\\.|)){0,2}/?";
    let kind = prop_oneof![
        4 => Just(FILE),
        2 => Just(EntryType::Directory),
        2 => Just(EntryType::Symlink),
        1 => Just(EntryType::Link),
        1 => Just(EntryType::GNULongName),
        1 => Just(EntryType::Fifo),
    ];
    proptest::collection::vec((name, kind, "(a|b|\\.\\.|/|){0,3}".prop_map(String::into_bytes)), 0..6)
}

proptest! {
    #[test]
    fn any_bytes_are_a_bundle_or_refused(bytes: Vec<u8>) {
        let _ = bundle::parse(&bytes);
        let _ = bundle::parse(&zstd::encode_all(&bytes[..], 1).unwrap());
    }

    #[test]
    fn what_is_read_can_be_unpacked_and_nothing_else_can(items in items()) {
        let items: Vec<Item<'_>> = items.iter().map(|(name, kind, content)| (name.as_str(), *kind, &content[..])).collect();
        let bytes = with_result(&items);
        let to = tempfile::tempdir().unwrap();
        let unpacked = bundle::unpack(&bytes[..], to.path());
        match bundle::parse(&bytes) {
            Ok(contents) => {
                prop_assert_eq!(&contents.entries, &unpacked.unwrap());
                for entry in &contents.entries {
                    prop_assert!(fs::symlink_metadata(to.path().join(&entry.name)).is_ok(), "{:?}", entry);
                }
            }
            Err(error) => prop_assert!(unpacked.is_err(), "{}", whole(&error)),
        }
    }

    #[test]
    fn damaged_bundles_too(at in 0_usize..400, with: u8) {
        let mut bytes = with_result(&[("log", FILE, b"x")]);
        if let Some(byte) = bytes.get_mut(at) { *byte = with; }
        let to = tempfile::tempdir().unwrap();
        if bundle::parse(&bytes).is_ok() {
            bundle::unpack(&bytes[..], to.path()).unwrap();
        }
    }
}

#[test]
fn one_entry_is_copied_by_its_number_without_reading_the_rest() {
    let big = vec![b'x'; 1 << 20];
    let bytes = with_result(&[
        ("user", EntryType::Directory, b""),
        ("user/<script>", FILE, b"a"),
        ("user/link", EntryType::Symlink, b"log"),
        ("user/big", FILE, &big),
    ]);
    let copied = |number, limit| {
        let mut to = Vec::new();
        bundle::copy_entry(&bytes[..], number, limit, &mut to).map(|size| size.map(|size| (size, to)))
    };
    assert_eq!(copied(2, 1 << 20).unwrap(), Some((1, b"a".to_vec())));
    // A directory, a link, and no entry.
    assert_eq!([1, 3, 9].map(|number| copied(number, 2 << 20).unwrap()), [None, None, None]);
    assert_eq!(copied(4, 2 << 20).unwrap().map(|(size, _)| size), Some(1 << 20));
    assert_eq!(copied(4, 1 << 20).unwrap_err().to_string(), "it unpacks to more than 1048576 bytes");
    // The list goes as far as the limit.
    let mut names = Vec::new();
    let ended = bundle::list(&bytes[..], 1 << 20, &mut |entry| names.push((entry.name, entry.size)));
    assert!(matches!(ended, Err(bundle::ReadError::TooLarge(_))) && names.len() == 5, "{names:?}");
    let cut = &bytes[..bytes.len() - 20];
    assert!(bundle::list(cut, 2 << 20, &mut |_| ()).is_err());
}
