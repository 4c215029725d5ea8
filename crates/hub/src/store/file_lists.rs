//! [`FileLists`]: storage of the list of files in each result's bundle.

use std::io::{self, BufRead as _, BufReader};
use std::path::PathBuf;

use bundle::{BundleEntry, EntryKind};
use protocol::api::{BundleFile, BundleFiles};
use serde::{Deserialize, Serialize};

use crate::store::derived;

const SUFFIX: &str = "files";

/// Largest file that is sent by itself, in bytes.
pub(crate) const LARGEST: u64 = 64 << 20;

/// Most bytes of an unpacked bundle that one request reads. A file that ends behind them is not sent by itself.
pub(crate) const REACH: u64 = 1 << 30;

/// The list of a bundle as it is made, entry by entry.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    files: Vec<BundleFile>,
    /// Number of the next entry, directories included.
    next: usize,
    /// Where the next entry begins in the unpacked bundle, in bytes, or somewhat before.
    position: u64,
    /// Whether entries are missing at the end.
    pub(crate) cut: bool,
}

/// The first line of a stored list. Each other line is a file.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    cut: bool,
}

/// The directory of lists.
#[derive(Debug, Clone)]
pub(crate) struct FileLists {
    root: PathBuf,
}

impl Listing {
    /// Adds the next entry of the bundle.
    pub(crate) fn add(&mut self, entry: BundleEntry) {
        let number = self.next;
        self.next = number.saturating_add(1);
        let long = |text: &str| if text.len() < 100 { 0 } else { blocks(text.len() as u64).saturating_add(1024) };
        let headers = 512 + long(&entry.name) + entry.target.as_deref().map_or(0, long);
        self.position = self.position.saturating_add(headers).saturating_add(blocks(entry.size));
        if entry.kind == EntryKind::Directory {
            return;
        }
        let only_in_bundle =
            entry.kind == EntryKind::File && (entry.size > LARGEST || self.position > REACH.saturating_sub(512));
        let BundleEntry { name, size, target, .. } = entry;
        self.files.push(BundleFile { number, name, size, target, only_in_bundle });
    }
}

/// The bytes that a content takes in a tar archive.
fn blocks(size: u64) -> u64 {
    size.checked_next_multiple_of(512).unwrap_or(u64::MAX)
}

impl FileLists {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Stores a list.
    pub(crate) fn keep(&self, job: i64, listing: &Listing) -> io::Result<()> {
        let mut text = serde_json::to_vec(&Head { cut: listing.cut })?;
        for file in &listing.files {
            text.push(b'\n');
            serde_json::to_writer(&mut text, file)?;
        }
        derived::keep(&self.root, job, SUFFIX, &text)
    }

    /// Files of a list whose names contain a text, in upper or lower case: at most `limit`, from this place in the list
    /// on. `None` if there is no list.
    pub(crate) fn page(&self, job: i64, find: &str, from: usize, limit: usize) -> io::Result<Option<BundleFiles>> {
        let Some((head, lines)) = self.lines(job)? else { return Ok(None) };
        let find = find.to_lowercase();
        let mut page = BundleFiles { cut: head.cut, ..BundleFiles::default() };
        for (place, line) in lines.enumerate().skip(from) {
            let file: BundleFile = serde_json::from_str(&line?)?;
            if !find.is_empty() && !file.name.to_lowercase().contains(&find) {
                continue;
            }
            if page.files.len() == limit {
                page.next = Some(place.to_string());
                break;
            }
            page.files.push(file);
        }
        Ok(Some(page))
    }

    /// The file with this number; `None` if there is no such file, or no list.
    pub(crate) fn one(&self, job: i64, number: usize) -> io::Result<Option<BundleFile>> {
        let Some((_, lines)) = self.lines(job)? else { return Ok(None) };
        for line in lines {
            let file: BundleFile = serde_json::from_str(&line?)?;
            if file.number >= number {
                return Ok(Some(file).filter(|file| file.number == number));
            }
        }
        Ok(None)
    }

    /// The head of a list, and its other lines. A list that is cut off is none: it is made again.
    fn lines(&self, job: i64) -> io::Result<Option<(Head, impl Iterator<Item = io::Result<String>> + use<>)>> {
        let Some(file) = derived::open(&self.root, job, SUFFIX)? else { return Ok(None) };
        let mut lines = BufReader::new(zstd::Decoder::new(file)?).lines();
        let Some(Ok(head)) = lines.next() else { return Ok(None) };
        Ok(Some((serde_json::from_str(&head)?, lines)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(name: &str, kind: EntryKind, size: u64) -> BundleEntry {
        let target = (kind == EntryKind::Link).then(|| "log".to_owned());
        BundleEntry { name: name.to_owned(), kind, size, target }
    }

    fn kept(entries: &[BundleEntry]) -> io::Result<(tempfile::TempDir, FileLists)> {
        let temp = tempfile::tempdir()?;
        let lists = FileLists::new(temp.path().to_owned());
        let mut listing = Listing::default();
        entries.iter().cloned().for_each(|entry| listing.add(entry));
        lists.keep(7, &listing)?;
        Ok((temp, lists))
    }

    #[test]
    fn a_list_is_read_a_page_at_a_time() -> io::Result<()> {
        let (_temp, lists) = kept(&[
            entry("result.json", EntryKind::File, 10),
            entry("user", EntryKind::Directory, 0),
            entry("user/Log", EntryKind::File, 20),
            entry("user/link", EntryKind::Link, 0),
            entry("user/a\nb", EntryKind::File, 1),
        ])?;
        let numbers = |page: &BundleFiles| page.files.iter().map(|file| file.number).collect::<Vec<_>>();
        let first = lists.page(7, "", 0, 2)?.expect("a list");
        assert_eq!((numbers(&first), first.next.as_deref()), (vec![0, 2], Some("2")));
        let second = lists.page(7, "", 2, 2)?.expect("a list");
        assert_eq!((numbers(&second), second.next), (vec![3, 4], None));
        assert_eq!(numbers(&lists.page(7, "uSER/l", 0, 9)?.expect("a list")), [2, 3]);
        assert_eq!(lists.one(7, 4)?.map(|file| file.name), Some("user/a\nb".to_owned()));
        assert_eq!((lists.one(7, 1)?, lists.one(7, 99)?, lists.one(8, 0)?), (None, None, None));
        Ok(())
    }

    #[test]
    fn what_is_large_or_far_behind_is_only_in_the_bundle() {
        let mut listing = Listing::default();
        for (name, size) in [("a", LARGEST), ("b", LARGEST + 1), ("c", REACH), ("d", 1)] {
            listing.add(entry(name, EntryKind::File, size));
        }
        let only: Vec<bool> = listing.files.iter().map(|file| file.only_in_bundle).collect();
        assert_eq!(only, [false, true, true, true]);
    }

    proptest! {
        #[test]
        fn any_list_comes_back(names in prop::collection::vec(".{0,40}", 0..20), limit in 1_usize..5) {
            let entries: Vec<_> = names.iter().map(|name| entry(name, EntryKind::File, 3)).collect();
            let (_temp, lists) = kept(&entries).expect("it is kept");
            let (mut found, mut from) = (Vec::new(), Some(0));
            while let Some(place) = from {
                let page = lists.page(7, "", place, limit).expect("it is read").expect("a list");
                prop_assert!(page.files.len() <= limit);
                from = page.next.map(|next| next.parse().expect("a number"));
                found.extend(page.files.into_iter().map(|file| file.name));
            }
            prop_assert_eq!(found, names);
        }
    }
}
