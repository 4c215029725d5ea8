//! The XML form of a block map.

use std::fmt::Write;
use std::ops::Range;

use roxmltree::{Document, Node};
use sha256::{Digest, Hasher};

use super::{BlockMap, MappedRange};

/// Size limit of a map in bytes: half a million ranges.
const MAX_BYTES: usize = 64 << 20;

/// Placeholder for the map's own checksum while that is computed.
const NO_CHECKSUM: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Text that is not a block map.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not XML, or larger than any block map.
    #[error("the block map is not XML: {0}")]
    Xml(String),
    /// An element is missing or malformed.
    #[error("the block map has no valid {0}")]
    Field(&'static str),
    /// The version is not 2.x.
    #[error("the block map has version {0:?}; only 2.x can be read")]
    Version(String),
    /// The map was changed or damaged: its checksum is wrong.
    #[error("the block map is damaged: its checksum is wrong")]
    Checksum,
    /// An invalid range.
    #[error("range {0:?} of the block map is malformed, out of order, or outside of the image")]
    Range(String),
}

pub(super) fn write(map: &BlockMap) -> String {
    let mut text = String::from("<?xml version=\"1.0\" ?>\n<bmap version=\"2.0\">\n");
    let mut element = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "    <{name}> {value} </{name}>");
    };
    element("ImageSize", &map.image_size.to_string());
    element("BlockSize", &map.block_size.to_string());
    element("BlocksCount", &map.image_size.div_ceil(map.block_size.max(1)).to_string());
    element("MappedBlocksCount", &map.mapped_blocks().to_string());
    element("ChecksumType", "sha256");
    element("BmapFileChecksum", NO_CHECKSUM);
    text.push_str("    <BlockMap>\n");
    for range in &map.ranges {
        let checksum = range.sha256.map_or(String::new(), |sum| format!(" chksum=\"{sum}\""));
        let numbers =
            if range.first == range.last { range.first.to_string() } else { format!("{}-{}", range.first, range.last) };
        let _ = writeln!(text, "        <Range{checksum}> {numbers} </Range>");
    }
    text.push_str("    </BlockMap>\n</bmap>\n");
    let checksum = Digest::of(&text).to_string();
    // Only the first one: the checksum of a range could be all zeros too, in theory.
    text.replacen(NO_CHECKSUM, &checksum, 1)
}

pub(super) fn parse(text: &[u8]) -> Result<BlockMap, ParseError> {
    if text.len() > MAX_BYTES {
        return Err(ParseError::Xml("it is implausibly large".into()));
    }
    let text = std::str::from_utf8(text).map_err(|error| ParseError::Xml(error.to_string()))?;
    // Document types, and thus entities, are refused by default.
    let document = Document::parse(text).map_err(|error| ParseError::Xml(error.to_string()))?;
    let root = document.root_element();
    if !root.has_tag_name("bmap") {
        return Err(ParseError::Field("root element"));
    }
    let version = root.attribute("version").unwrap_or("");
    if version.split('.').next() != Some("2") {
        return Err(ParseError::Version(version.to_owned()));
    }
    if field(root, "ChecksumType")? != "sha256" {
        return Err(ParseError::Field("ChecksumType (sha256 is the only one that can be checked)"));
    }
    check_whole(text, root)?;

    let image_size = number(root, "ImageSize")?;
    let block_size = number(root, "BlockSize")?;
    let blocks = number(root, "BlocksCount")?;
    if block_size == 0 || image_size > 1 << 63 || image_size.div_ceil(block_size) != blocks {
        return Err(ParseError::Field("BlocksCount"));
    }
    let list = child(root, "BlockMap")?;
    let mut ranges: Vec<MappedRange> = Vec::new();
    for node in list.children().filter(|node| node.has_tag_name("Range")) {
        let range = parse_range(node, blocks)?;
        if ranges.last().is_some_and(|last| range.first <= last.last) {
            return Err(ParseError::Range(node.text().unwrap_or("").trim().to_owned()));
        }
        ranges.push(range);
    }
    let map = BlockMap { image_size, block_size, ranges };
    if map.mapped_blocks() != number(root, "MappedBlocksCount")? {
        return Err(ParseError::Field("MappedBlocksCount"));
    }
    Ok(map)
}

/// Checks the map's own checksum: it is computed over the text with zeros in the checksum's place.
fn check_whole(text: &str, root: Node<'_, '_>) -> Result<(), ParseError> {
    const NAME: &str = "BmapFileChecksum";
    let missing = ParseError::Field(NAME);
    let expected = field(root, NAME)?;
    let Range { start, end } = child(root, NAME)?.first_child().ok_or(missing.clone())?.range();
    let start = text.get(start..end).and_then(|inner| inner.find(expected)).ok_or(missing.clone())? + start;
    let (Some(before), Some(after)) = (text.get(..start), text.get(start + expected.len()..)) else {
        return Err(missing);
    };
    let expected: Digest = expected.parse().map_err(|_| missing)?;
    let hash = Hasher::new().chain(before).chain(NO_CHECKSUM).chain(after).finish();
    if expected == hash { Ok(()) } else { Err(ParseError::Checksum) }
}

fn parse_range(node: Node<'_, '_>, blocks: u64) -> Result<MappedRange, ParseError> {
    let text = node.text().unwrap_or("").trim();
    let error = || ParseError::Range(text.to_owned());
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.trim().parse::<u64>().map_err(|_| error());
    let (first, last) = (number(first)?, number(last)?);
    if first > last || last >= blocks {
        return Err(error());
    }
    let sha256 = node.attribute("chksum").map(|sum| sum.parse().map_err(|_| error())).transpose()?;
    Ok(MappedRange { first, last, sha256 })
}

fn child<'a, 'input>(root: Node<'a, 'input>, name: &'static str) -> Result<Node<'a, 'input>, ParseError> {
    root.children().find(|node| node.has_tag_name(name)).ok_or(ParseError::Field(name))
}

fn field<'a>(root: Node<'a, '_>, name: &'static str) -> Result<&'a str, ParseError> {
    child(root, name)?.text().map(str::trim).ok_or(ParseError::Field(name))
}

fn number(root: Node<'_, '_>, name: &'static str) -> Result<u64, ParseError> {
    field(root, name)?.parse().map_err(|_| ParseError::Field(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map() -> BlockMap {
        let range = |first, last| MappedRange { first, last, sha256: Some([first as u8; 32].into()) };
        BlockMap {
            image_size: (100 << 12) + 1,
            block_size: 4096,
            ranges: vec![range(0, 0), range(3, 7), range(99, 100)],
        }
    }

    #[test]
    fn a_map_reads_back() {
        assert_eq!(parse(write(&map()).as_bytes()), Ok(map()));
    }

    #[test]
    fn changed_maps_are_refused() {
        let text = write(&map());
        let refuse = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            parse(text.replace(from, to).as_bytes()).unwrap_err()
        };
        assert_eq!(refuse(" 3-7 ", " 3-8 "), ParseError::Checksum);
        assert_eq!(refuse("version=\"2.0\"", "version=\"3.0\""), ParseError::Version("3.0".into()));
        assert!(matches!(refuse("<bmap", "<!DOCTYPE x [<!ENTITY a \"b\">]><bmap"), ParseError::Xml(_)));
    }

    #[test]
    fn ranges_have_to_make_sense() {
        let range = |first, last| MappedRange { first, last, sha256: None };
        for ranges in [vec![range(0, 101)], vec![range(5, 6), range(6, 7)], vec![range(5, 6), range(1, 1)]] {
            let text = write(&BlockMap { ranges, ..map() });
            assert!(matches!(parse(text.as_bytes()), Err(ParseError::Range(_))), "{text}");
        }
    }

    proptest! {
        #[test]
        fn hostile_maps_never_panic(noise: Vec<u8>, at in 0_usize..900, with in "[ -~]{0,6}") {
            assert!(parse(&noise).is_err());
            let mut text = write(&map());
            let at = at.min(text.len());
            text.insert_str(at, &with);
            let _map_or_error = parse(text.as_bytes());
        }
    }
}
