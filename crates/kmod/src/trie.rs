//! The binary index format of kmod ("BOOTFAST", version 2.1): a radix tree from keys to values with priorities.
//!
//! All integers are 32 bits, big-endian. The file starts with magic, version and the root's offset. A node consists of
//! the following parts, each present only if its flag is set in the offset that points to it: prefix (NUL-terminated);
//! first and last child character and an offset for each character between them (0: no child); number of values, each
//! a priority and a NUL-terminated string.

use std::collections::BTreeMap;

const MAGIC: u32 = 0xb007_f457;
const VERSION: u32 = 0x0002_0001;
const HAS_PREFIX: u32 = 0x8000_0000;
const HAS_VALUES: u32 = 0x4000_0000;
const HAS_CHILDREN: u32 = 0x2000_0000;

/// Values of a key, with their priorities.
type Values = Vec<(u32, Vec<u8>)>;

/// A map from keys to values; collected first, written at once.
#[derive(Debug, Default)]
pub(crate) struct Trie {
    /// Only 7-bit keys and strings without NUL can be stored; no others are ever looked up.
    entries: BTreeMap<Vec<u8>, Values>,
}

impl Trie {
    /// Adds a value; lower priorities are found first. Duplicate values are stored once.
    pub(crate) fn insert(&mut self, key: &str, value: &str, priority: u32) {
        if key.is_ascii() && !key.contains('\0') && !value.contains('\0') {
            let values = self.entries.entry(key.as_bytes().to_vec()).or_default();
            if !values.iter().any(|(_, known)| known == value.as_bytes()) {
                values.push((priority, value.as_bytes().to_vec()));
            }
        }
    }

    /// Encodes the whole file.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut entries: Vec<_> = self.entries.iter().map(|(key, values)| (key.as_slice(), values.clone())).collect();
        for (_, values) in &mut entries {
            values.sort();
        }
        let mut file = [MAGIC, VERSION, 0].map(u32::to_be_bytes).concat();
        let root = write_node(&mut file, &entries, 0, true);
        file[8..12].copy_from_slice(&root.to_be_bytes());
        file
    }
}

/// Writes the node for these sorted keys, which agree in their first `depth` bytes, after its children. Returns its
/// offset with the flags, or 0 if there are no keys.
fn write_node(file: &mut Vec<u8>, entries: &[(&[u8], Values)], depth: usize, root: bool) -> u32 {
    let (Some((first, _)), Some((last, _))) = (entries.first(), entries.last()) else { return 0 };
    // The keys are sorted: a prefix of the first and the last is shared by all. The root has no prefix, as readers
    // start at its children.
    let shared = first.iter().zip(last.iter()).skip(depth).take_while(|(a, b)| a == b).count();
    let end = if root { depth } else { depth + shared };
    let (values, deeper) = match entries.split_first() {
        Some(((key, values), rest)) if key.len() == end => (values.as_slice(), rest),
        _ => (&[][..], entries),
    };
    let mut children = Vec::new();
    for group in deeper.chunk_by(|(a, _), (b, _)| a.get(end) == b.get(end)) {
        if let Some(byte) = group.first().and_then(|(key, _)| key.get(end)) {
            children.push((*byte, write_node(file, group, end + 1, false)));
        }
    }
    let mut offset = file.len() as u32;
    if end > depth {
        offset |= HAS_PREFIX;
        file.extend_from_slice(&first[depth..end]);
        file.push(0);
    }
    if let (Some((low, _)), Some((high, _))) = (children.first(), children.last()) {
        offset |= HAS_CHILDREN;
        file.extend([*low, *high]);
        for byte in *low..=*high {
            let child = children.iter().find(|(at, _)| *at == byte).map_or(0, |(_, offset)| *offset);
            file.extend(child.to_be_bytes());
        }
    }
    if !values.is_empty() {
        offset |= HAS_VALUES;
        file.extend((values.len() as u32).to_be_bytes());
        for (priority, value) in values {
            file.extend(priority.to_be_bytes());
            file.extend_from_slice(value);
            file.push(0);
        }
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Decodes the file by the format's description, without sharing code with the writer.
    fn dump(file: &[u8]) -> Vec<(String, u32, String)> {
        let word = |at: usize| u32::from_be_bytes(file[at..at + 4].try_into().unwrap());
        let string = |at: usize| file[at..].iter().take_while(|byte| **byte != 0).copied().collect::<Vec<_>>();
        assert_eq!((word(0), word(4)), (MAGIC, VERSION));
        let mut found = Vec::new();
        let mut todo = vec![(word(8), Vec::new())];
        while let Some((offset, mut key)) = todo.pop() {
            if offset == 0 {
                continue;
            }
            let mut at = (offset & 0x0fff_ffff) as usize;
            if offset & HAS_PREFIX != 0 {
                key.extend(string(at));
                at += string(at).len() + 1;
            }
            if offset & HAS_CHILDREN != 0 {
                let (low, high) = (file[at], file[at + 1]);
                at += 2;
                for byte in low..=high {
                    todo.push((word(at), [key.as_slice(), &[byte]].concat()));
                    at += 4;
                }
            }
            if offset & HAS_VALUES != 0 {
                let count = word(at);
                at += 4;
                for _ in 0..count {
                    let value = string(at + 4);
                    found.push((
                        String::from_utf8(key.clone()).unwrap(),
                        word(at),
                        String::from_utf8(value.clone()).unwrap(),
                    ));
                    at += 4 + value.len() + 1;
                }
            }
        }
        found.sort();
        found
    }

    proptest! {
        #[test]
        fn every_key_is_found_again(entries in prop::collection::btree_map("[a-d*_]{0,6}", ("[a-z/ ]{0,6}", 0_u32..9), 0..30)) {
            let mut trie = Trie::default();
            for (key, (value, priority)) in &entries {
                trie.insert(key, value, *priority);
            }
            let expected: Vec<_> = entries.into_iter().map(|(key, (value, priority))| (key, priority, value)).collect();
            prop_assert_eq!(dump(&trie.to_bytes()), expected);
        }
    }

    #[test]
    fn values_of_one_key_are_sorted_by_priority() {
        let mut trie = Trie::default();
        for (value, priority) in [("late", 7), ("early", 2), ("late", 7)] {
            trie.insert("key", value, priority);
        }
        let found: Vec<_> = dump(&trie.to_bytes()).into_iter().map(|(_, _, value)| value).collect();
        assert_eq!(found, ["early", "late"]);
    }
}
