//! Containers: .deb and its tar, cpio, block maps, and what a server says about the part it sends.

use std::io::{self, Read};

use diskimage::blockmap::BlockMap;
use sha256::Digest;
use tarball::{Form, Reader, Rules};
use transfer::range::ContentRange;

/// A whole .deb. What it says about itself must be fit for file names.
pub fn deb(data: &[u8]) {
    let Ok(deb) = debian::deb::parse(data) else { return };
    for part in [deb.name(), deb.version(), deb.architecture()] {
        assert!(!part.is_empty() && !part.contains(['/', '\n', '\0']), "{part:?}");
    }
    for (path, _) in deb.conffiles() {
        assert!(!path.is_empty());
    }
}

/// The bytes as a tar whose headers' checksums are right.
pub(crate) fn mend_tar(data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    for header in data.as_chunks_mut::<512>().0 {
        if header[257..].starts_with(b"ustar") {
            header[148..156].fill(b' ');
            let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
            header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    data
}

/// A tar, read by the rules for packages, source trees and bundles; the headers' checksums are put right first. No path may
/// lead out, and what is accepted by strict rules means the same by others.
pub fn tar(data: &[u8]) {
    let data = mend_tar(data);
    let entries = |form| {
        let rules = Rules { bytes: 64 << 20, entries: 10_000, names: 1 << 20, path: 3072, form };
        let mut reader = Reader::new(data.as_slice(), rules);
        std::iter::from_fn(|| reader.next_entry().transpose()).collect::<Result<Vec<_>, _>>()
    };
    for strict in [Form::Tree, Form::Plain] {
        if let Ok(found) = entries(strict) {
            assert_eq!(found, entries(Form::Root).expect("what is accepted by stricter rules"));
        }
    }
    let rules = Rules { bytes: 64 << 20, entries: 10_000, names: 1 << 20, path: 3072, form: Form::Root };
    let mut reader = Reader::new(data.as_slice(), rules);
    while let Ok(Some(entry)) = reader.next_entry() {
        let mut parts = entry.path.split(|byte| *byte == b'/');
        assert!(entry.path.is_empty() || parts.all(|part| !matches!(part, b"" | b"." | b"..")), "{entry:?}");
        assert_eq!(entry.mode & !0o7777, 0, "{entry:?}");
        // Every other entry is skipped unread.
        if entry.size % 2 == 0 {
            match io::copy(&mut reader.by_ref(), &mut io::sink()) {
                Ok(read) => assert_eq!(read, entry.size),
                Err(_) => return,
            }
        }
    }
}

/// An initramfs of plain cpio archives. What we write of it reads back.
pub fn cpio(data: &[u8]) {
    let limits = fsimage::cpio::Limits { entries: 1000 };
    let Ok(archive) = fsimage::cpio::read(data, limits) else { return };
    assert!(archive.end <= data.len());
    let mut written = Vec::new();
    if fsimage::cpio::write(&archive.tree, &mut written).is_ok() {
        let again = fsimage::cpio::read(&written, fsimage::cpio::Limits { entries: 3000 }).expect("our own archive");
        assert_eq!(again.tree.len(), archive.tree.len());
        assert_eq!(again.end, written.len());
    }
}

/// A block map, as it is and with its checksum put right. What we write of it reads back.
pub fn blockmap(data: &[u8]) {
    const TAG: &[u8] = b"<BmapFileChecksum>";
    let mut data = data.to_vec();
    let _as_it_is = BlockMap::parse(&data);
    if let Some(tag) = data.windows(TAG.len()).position(|window| window == TAG) {
        let start = tag + TAG.len();
        let blanks = data[start..].iter().take_while(|byte| **byte == b' ').count();
        if let Some(place) = data.get(start + blanks..start + blanks + 64) {
            let place = start + blanks..start + blanks + place.len();
            data[place.clone()].fill(b'0');
            let sum = Digest::of(&data).to_string();
            data[place].copy_from_slice(sum.as_bytes());
        }
    }
    let Ok(map) = BlockMap::parse(&data) else { return };
    for range in &map.ranges {
        let bytes = map.bytes(range);
        assert!(bytes.start < bytes.end && bytes.end <= map.image_size, "{map:?}");
    }
    assert_eq!(BlockMap::parse(map.to_xml().as_bytes()).as_ref(), Ok(&map));
}

/// A `Content-Range` header. Its numbers must not contradict each other.
pub fn content_range(data: &[u8]) {
    let Ok(range) = ContentRange::parse(data) else { return };
    assert_eq!(ContentRange::parse(range.to_string().as_bytes()), Ok(range));
    match range.bytes {
        Some((first, last)) => assert!(first <= last && range.total.is_none_or(|total| last < total)),
        None => assert!(range.total.is_some()),
    }
}
