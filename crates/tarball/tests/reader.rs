//! Reading tar archives: valid ones, and such as nobody should write.

use std::io::Read;

use proptest::prelude::*;
use tarball::fixtures::{Block, directory, entry, file, hard_link, pax, seal, symlink, tar};
use tarball::{Entry, EntryKind, Error, Form, Reader, Rules, Time};

const ROOT: Rules = Rules { bytes: 1 << 20, entries: 1000, names: 1 << 20, path: 3072, form: Form::Root };

fn entries_of(archive: &[u8], rules: &Rules) -> Result<Vec<(Entry, Vec<u8>)>, Error> {
    let mut reader = Reader::new(archive, rules.clone());
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let mut content = Vec::new();
        reader.read_to_end(&mut content).unwrap();
        entries.push((entry, content));
    }
    Ok(entries)
}

fn entries(blocks: &[Block]) -> Result<Vec<(Entry, Vec<u8>)>, Error> {
    entries_of(&tar(blocks), &ROOT)
}

/// Why an archive is refused under these rules.
fn refusal_under(rules: &Rules, blocks: &[Block]) -> String {
    entries_of(&tar(blocks), rules).expect_err("it should be refused").to_string()
}

fn refusal(blocks: &[Block]) -> String {
    refusal_under(&ROOT, blocks)
}

#[test]
fn reads_every_kind_of_entry() {
    let read = entries(&[
        directory("./usr/"),
        file("./usr/file", "content"),
        symlink("./usr/link", "../target"),
        hard_link("./usr/other", "./usr/file"),
        entry(b'3', "./usr/tty", 0o620, "", b""),
        entry(b'4', "./usr/disk", 0o660, "", b""),
        entry(b'6', "./usr/pipe", 0o600, "", b""),
        entry(b'0', "./usr/setuid", 0o4755, "", b""),
    ])
    .unwrap();
    let kinds: Vec<_> = read.iter().map(|(entry, _)| entry.kind.clone()).collect();
    assert_eq!(
        kinds,
        [
            EntryKind::Directory,
            EntryKind::File,
            EntryKind::Symlink(b"../target".to_vec()),
            EntryKind::HardLink(b"usr/file".to_vec()),
            EntryKind::CharDevice { major: 1, minor: 3 },
            EntryKind::BlockDevice { major: 1, minor: 3 },
            EntryKind::Fifo,
            EntryKind::File,
        ]
    );
    assert_eq!(read[1].1, b"content");
    assert_eq!(read[7].0.mode, 0o4755);
    assert_eq!(read[0].0.path, b"usr");
    assert_eq!(read[0].0.mtime, Time { seconds: 1_000_000_000, nanoseconds: 0 });
}

#[test]
fn pax_records_override_the_header() {
    let long = "d/".repeat(200) + "name";
    let read = entries(&[
        pax(&[
            ("path", long.as_bytes()),
            ("mtime", b"-1.25"),
            ("uid", b"4000000000"),
            ("SCHILY.xattr.security.capability", b"\x01\0\n="),
            ("comment", b"no effect"),
        ]),
        file("short", "x"),
        pax(&[("linkpath", b"somewhere/else")]),
        symlink("link", "nowhere"),
        file("after", "y"),
    ])
    .unwrap();
    assert_eq!(read[0].0.path, long.as_bytes());
    assert_eq!(read[0].0.mtime, Time { seconds: -2, nanoseconds: 750_000_000 });
    assert_eq!(read[0].0.uid, 4_000_000_000);
    assert_eq!(read[0].0.xattrs[b"security.capability".as_slice()], b"\x01\0\n=");
    assert_eq!(read[1].0.kind, EntryKind::Symlink(b"somewhere/else".to_vec()));
    assert_eq!(read[2].0.path, b"after", "records are for one entry only");
}

#[test]
fn gnu_long_names_and_large_numbers() {
    let long = format!("{}\0", "x/".repeat(150));
    let mut large = <[u8; 512]>::try_from(&file("large", "")[..512]).unwrap();
    large[108..116].copy_from_slice(&[0x80, 0, 0, 0, 0xee, 0x6b, 0x28, 0]); // uid in base 256
    seal(&mut large);
    let read = entries(&[
        entry(b'L', "././@LongLink", 0, "", long.as_bytes()),
        entry(b'K', "././@LongLink", 0, "", long.as_bytes()),
        symlink("short", "short"),
        large.to_vec(),
    ])
    .unwrap();
    assert_eq!(read[0].0.path.len(), 299);
    assert_eq!(read[0].0.kind, EntryKind::Symlink(long.trim_end_matches('\0').into()));
    assert_eq!(read[1].0.uid, 4_000_000_000);
}

#[test]
fn refuses_what_no_root_directory_may_have() {
    assert!(refusal(&[file("../../etc/passwd", "")]).contains("leads out of it"));
    assert!(refusal(&[file("usr/../../x", "")]).contains("leads out of it"));
    assert!(refusal(&[hard_link("x", "../../etc/passwd")]).contains("leads out of it"));
    assert!(refusal(&[pax(&[("path", b"a/../../b")]), file("x", "")]).contains("leads out of it"));
    assert!(refusal(&[pax(&[("path", b"a\0b")]), file("x", "")]).contains("NUL"));
    assert!(refusal(&[entry(b'S', "x", 0o644, "", b"")]).contains("sparse"));
    assert!(refusal(&[pax(&[("GNU.sparse.major", b"1")]), file("x", "")]).contains("sparse"));
    assert!(refusal(&[entry(b'V', "x", 0o644, "", b"")]).contains("an entry of the kind 'V'"));
    assert!(refusal(&[symlink("x", "")]).contains("without a usable target"));
    assert!(refusal(&[symlink("./", "/etc")]).contains("not a directory"));
    assert!(refusal(&[pax(&[("path", b"x")])]).contains("ends after an extended header"));
    let mut damaged = file("x", "");
    damaged[0] ^= 1;
    assert!(refusal(&[damaged]).contains("checksum"));
    // An absolute path is one inside the root, as for dpkg.
    assert_eq!(entries(&[file("/etc/x", "")]).unwrap()[0].0.path, b"etc/x");
}

#[test]
fn an_archive_that_is_cut_off_is_an_error() {
    let whole = [directory("usr"), file("usr/file", &"content ".repeat(200))].concat();
    for length in 1..whole.len() {
        let mut reader = Reader::new(&whole[..length], ROOT);
        let result: Result<Vec<_>, _> = std::iter::from_fn(|| reader.next_entry().transpose()).collect();
        // Only between entries, or in the padding after the last one, is nothing lost.
        let nothing_lost = length == 512 || length >= 512 + 512 + 1600;
        assert_eq!(result.is_ok(), nothing_lost, "cut at {length}");
    }
}

#[test]
fn names_that_no_root_directory_could_hold_are_refused() {
    let long = format!("./{}", "d/".repeat(2000));
    assert!(refusal(&[pax(&[("path", long.as_bytes())]), file("./x", "")]).contains("over 3072 bytes"));
    let target = "t".repeat(5000);
    assert!(refusal(&[pax(&[("linkpath", target.as_bytes())]), symlink("./x", "y")]).contains("over 4095 bytes"));
}

#[test]
fn what_two_headers_say_of_one_entry_is_refused() {
    let name = |letter| entry(letter, "././@LongLink", 0, "", b"long");
    for twice in [[name(b'L'), name(b'L')], [name(b'K'), name(b'K')], [pax(&[("uid", b"1")]), pax(&[("path", b"x")])]] {
        assert!(refusal(&[&twice[..], &[file("x", "")]].concat()).contains("two extended headers of one type"));
    }
    let global = entry(b'g', "pax_global_header", 0o644, "", b"16 comment=0123\n");
    assert_eq!(entries(&[global.clone(), file("x", "")]).unwrap().len(), 1);
    assert!(refusal(&[vec![global; 7], vec![file("x", "")]].concat()).contains("over 6 extended headers"));
    assert!(refusal(&[entry(b'g', "g", 0o644, "", b"9 path=a\n"), file("x", "")]).contains("global PAX headers"));
    // PAX wins over a long name, in any order.
    for blocks in [[name(b'L'), pax(&[("path", b"pax")])], [pax(&[("path", b"pax")]), name(b'L')]] {
        let read = entries(&[&blocks[..], &[file("x", "")]].concat()).unwrap();
        assert_eq!(read[0].0.path, b"pax");
    }
}

#[test]
fn only_files_have_content() {
    let link = |content: &[u8]| entry(b'2', "l", 0o777, "t", content);
    // A size without content, as some writers give links: no block follows.
    let sized = link(b"12345")[..512].to_vec();
    let read = entries(&[sized.clone(), file("x", "y")]).unwrap();
    assert_eq!((read[0].0.size, read[1].1.as_slice()), (0, &b"y"[..]));
    let plain = Rules { form: Form::Plain, ..ROOT };
    assert!(refusal_under(&plain, &[sized, file("x", "y")]).contains("has content and is not a file"));
}

#[test]
fn a_source_tree_has_no_devices_and_a_plain_archive_is_written_in_one_way() {
    let tree = Rules { form: Form::Tree, ..ROOT };
    for letter in [b'3', b'4', b'6'] {
        assert!(refusal_under(&tree, &[entry(letter, "x", 0o644, "", b"")]).contains("an entry of the kind"));
    }
    let read = entries_of(&tar(&[directory("./"), file("./a", ""), hard_link("b", "./a")]), &tree).unwrap();
    assert_eq!(read[2].0.kind, EntryKind::HardLink(b"a".to_vec()));

    let plain = Rules { form: Form::Plain, ..ROOT };
    let good = [directory("d/"), directory("e"), file("d/a", "x"), symlink("d/l", "a")];
    assert_eq!(entries_of(&tar(&good), &plain).unwrap(), entries(&good).unwrap());
    for path in ["./x", "/x", "a//b", "a/./b", "a/", "./"] {
        assert!(refusal_under(&plain, &[file(path, "")]).contains("empty parts"), "{path}");
    }
    for block in [hard_link("x", "y"), pax(&[("uid", b"1")]), entry(b'7', "x", 0o644, "", b"")] {
        assert!(refusal_under(&plain, &[block, file("y", "")]).contains("an entry of the kind"));
    }
}

#[test]
fn reading_ends_at_the_limits() {
    let two = [file("a", "x"), file("b", "y")];
    let size = tar(&two).len() as u64;
    assert!(matches!(entries_of(&tar(&two), &Rules { bytes: size - 1, ..ROOT }), Err(Error::TooLarge(_))));
    assert_eq!(entries_of(&tar(&two), &Rules { bytes: size, entries: 2, names: 2, ..ROOT }).unwrap().len(), 2);
    assert!(refusal_under(&Rules { entries: 1, ..ROOT }, &two).contains("over 1 entries"));
    assert!(refusal_under(&Rules { names: 1, ..ROOT }, &two).contains("more than 1 bytes"));
    // Only the start of a huge name or header is there; it is refused by its length.
    for (letter, says) in [(b'L', "a name has"), (b'x', "an extended header has")] {
        let mut huge = <[u8; 512]>::try_from(&entry(letter, "x", 0, "", b"")[..512]).unwrap();
        huge[124..136].copy_from_slice(b"10000000000\0");
        seal(&mut huge);
        assert!(refusal(&[huge.to_vec()]).contains(says));
    }
}

/// Blocks that are mostly valid, and sometimes not.
fn blocks() -> impl Strategy<Value = Vec<Block>> {
    let name = "(a|b|\\.|\\.\\.)?(/(a|b|\\.\\.|\\.|)){0,3}";
    let letter = prop::sample::select(&b"00005212xLKg367S"[..]);
    let block = (letter, name, name, prop::collection::vec(any::<u8>(), 0..600), any::<bool>());
    let block = block.prop_map(|(letter, name, link, content, empty)| {
        entry(letter, &name, 0o644, &link, if empty { b"" } else { &content })
    });
    prop::collection::vec(block, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// What the writer writes, the reader reads.
    #[test]
    fn round_trip(files in prop::collection::vec(("[a-z]{1,20}(/[a-z.]{1,5}x){0,3}", prop::collection::vec(any::<u8>(), 0..1500), 0..0o10000_u32), 0..8)) {
        let blocks: Vec<_> = files.iter().map(|(path, content, mode)| entry(b'0', path, *mode, "", content)).collect();
        let read = entries(&blocks).unwrap();
        prop_assert_eq!(read.len(), files.len());
        for ((entry, content), (path, expected, mode)) in read.iter().zip(&files) {
            prop_assert_eq!(&entry.path, path.as_bytes());
            prop_assert_eq!(content, expected);
            prop_assert_eq!(u32::from(entry.mode), *mode);
        }
    }

    /// Whatever is accepted as one form means the same as another.
    #[test]
    fn forms_differ_in_what_they_refuse_only(blocks in blocks()) {
        let read = |form| entries_of(&tar(&blocks), &Rules { form, ..ROOT });
        let root = read(Form::Root);
        for form in [Form::Tree, Form::Plain] {
            if let Ok(entries) = read(form) {
                prop_assert_eq!(&entries, root.as_ref().unwrap());
            }
        }
        for (entry, content) in root.unwrap_or_default() {
            prop_assert!(entry.path.is_empty() || entry.path.split(|byte| *byte == b'/').all(|part| !matches!(part, b"" | b"." | b"..")));
            prop_assert_eq!(entry.size, content.len() as u64);
        }
    }
}
