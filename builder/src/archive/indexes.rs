//! The package indexes of a suite: which files there are, and fetching their text.

use std::fs::File;

use advice::Advice;
use anyhow::{Context, Result, bail, ensure};
use archive::index::IndexText;
use archive::release::{IndexEntry, Release};
use debian::compression::Compression;
use progress::Progress;
use store::{Download, FetchError, Fetcher};

use super::quote;
use super::release::Verified;
use crate::architecture::ARCHITECTURE;
use crate::recipe;

/// Size limit in bytes for an index whose size the Release file does not give. sid's main index has 65 MiB.
const MAX_INDEX: u64 = 2 << 30;

/// Kind of index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexKind {
    /// Binary packages.
    Packages,
    /// Source packages.
    Sources,
}

/// The text of one index.
pub struct Index {
    /// Component that the index belongs to; empty in a flat archive.
    pub component: String,
    /// Decompressed text.
    pub text: Vec<u8>,
}

impl Index {
    /// The same, ready to be searched.
    pub fn into_text(self, archive: &str) -> IndexText {
        IndexText { archive: archive.to_owned(), component: self.component, text: self.text }
    }
}

/// One index, as the Release file lists it, in the forms that it may come in.
struct WantedIndex<'a> {
    component: &'a str,
    /// Path of the uncompressed file, relative to the suite.
    path: String,
    /// Upper limit on the text in bytes, and whether the text has exactly that size.
    limit: (u64, bool),
    /// Compressed forms in which the index is offered, best first.
    forms: Vec<(Compression, &'a IndexEntry)>,
}

/// Fetches the text of all indexes of a kind.
pub fn indexes(
    kind: IndexKind,
    wish: &recipe::Archive,
    verified: &Verified,
    fetcher: &Fetcher,
    progress: &dyn Progress,
) -> Result<Vec<Index>> {
    let mut wanted = Vec::new();
    for component in components(wish) {
        wanted.extend(of_component(kind, component, wish, &verified.release)?);
    }
    let paths = fetch(&wanted, wish, verified, fetcher, progress).context("fetching the package indexes")?;
    wanted.iter().zip(paths).map(|(index, (compression, path))| read(index, compression, &path)).collect()
}

/// The recipe's components. A flat archive has one, without a name.
fn components(wish: &recipe::Archive) -> impl Iterator<Item = &str> {
    let flat = wish.suite.ends_with('/').then_some("");
    wish.components.iter().map(String::as_str).chain(flat)
}

/// The indexes of a component. Packages of architecture `all` are in the index of each architecture, in an index of
/// their own, or both; the Release file says which (`No-Support-for-Architecture-all`).
fn of_component<'a>(
    kind: IndexKind,
    component: &'a str,
    wish: &recipe::Archive,
    release: &'a Release,
) -> Result<Vec<WantedIndex<'a>>> {
    let find = |directory: &str, name: &str| wanted(release, component, [component, directory, name]);
    let found: Vec<WantedIndex> = match kind {
        IndexKind::Packages if component.is_empty() => find("", "Packages").into_iter().collect(),
        IndexKind::Sources if component.is_empty() => find("", "Sources").into_iter().collect(),
        IndexKind::Sources => find("source", "Sources").into_iter().collect(),
        IndexKind::Packages => {
            let all = release.has_index_of_all("Packages").then(|| find("binary-all", "Packages")).flatten();
            find(&format!("binary-{ARCHITECTURE}"), "Packages").into_iter().chain(all).collect()
        }
    };
    if !found.is_empty() {
        return Ok(found);
    }
    let what = match kind {
        IndexKind::Packages => format!("packages for {ARCHITECTURE}"),
        IndexKind::Sources => "source packages".to_owned(),
    };
    if component.is_empty() {
        bail!("the Release file of the flat archive {} lists no index of {what}", wish.suite);
    }
    bail!(Advice::new(
        format!("the Release file of {} lists no index of {what} in {component}", wish.suite),
        format!(
            "is {component} one of its components? It has: {}; its architectures are: {}",
            release.components.join(", "),
            release.architectures.join(", ")
        )
    ))
}

fn wanted<'a>(release: &'a Release, component: &'a str, parts: [&str; 3]) -> Option<WantedIndex<'a>> {
    let path = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
    let entry = |compression: Compression| release.indexes.get(&format!("{path}{}", compression.extension()));
    let forms: Vec<_> = Compression::ALL.into_iter().filter_map(|form| Some((form, entry(form)?))).collect();
    let limit = entry(Compression::None).map_or((MAX_INDEX, false), |plain| (plain.size.min(MAX_INDEX), true));
    (!forms.is_empty()).then_some(WantedIndex { component, path, limit, forms })
}

/// Fetches each index in the best form that the mirror has: many Release files list a plain or better compressed file
/// that the mirror does not have.
fn fetch(
    wanted: &[WantedIndex<'_>],
    wish: &recipe::Archive,
    verified: &Verified,
    fetcher: &Fetcher,
    progress: &dyn Progress,
) -> Result<Vec<(Compression, std::path::PathBuf)>> {
    let mut chosen = vec![0; wanted.len()];
    loop {
        let forms: Vec<_> = wanted.iter().zip(&chosen).filter_map(|(index, at)| index.forms.get(*at)).collect();
        let downloads: Vec<_> = forms.iter().map(|(_, entry)| download(entry, wish, verified)).collect();
        let error = match fetcher.fetch_checked(&downloads, progress) {
            Ok(paths) => return Ok(forms.iter().map(|(compression, _)| *compression).zip(paths).collect()),
            Err(error) => error,
        };
        let FetchError::Failed { failures, .. } = &error else { return Err(error.into()) };
        for failure in failures {
            let index = downloads.iter().position(|download| download.label == failure.label);
            let next = index.and_then(|index| Some((index, chosen.get(index)? + 1)));
            match next {
                Some((index, next))
                    if failure.is_not_found() && wanted.get(index).is_some_and(|w| next < w.forms.len()) =>
                {
                    chosen[index] = next;
                }
                _ => return Err(error.into()),
            }
        }
    }
}

fn download(entry: &IndexEntry, wish: &recipe::Archive, Verified { base, release, .. }: &Verified) -> Download {
    let digest = entry.sha256;
    let mut urls = vec![format!("{base}/{}", quote(&entry.path))];
    if release.acquire_by_hash {
        // By hash first: that file stays the same while the mirror is being updated.
        urls.insert(0, format!("{base}/{}", quote(&entry.by_hash())));
    }
    Download { urls, size: Some(entry.size), digest, label: format!("{} {}", wish.suite, entry.path) }
}

/// Reads the index's text and checks its size against the Release file.
fn read(index: &WantedIndex<'_>, compression: Compression, path: &std::path::Path) -> Result<Index> {
    let (limit, exact) = index.limit;
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let text = compression.read(file, limit).with_context(|| format!("decompressing {}", index.path))?;
    let text = text.with_context(|| {
        let than = if exact { "the Release file says" } else { "any package index" };
        format!("{} is larger than {than}: over {limit} bytes", index.path)
    })?;
    ensure!(
        !exact || text.len() as u64 == limit,
        "{} is smaller than the Release file says: {} of {limit} bytes",
        index.path,
        text.len()
    );
    Ok(Index { component: index.component.to_owned(), text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(fields: &str, indexes: &[&str]) -> Release {
        let digest = "0".repeat(64);
        let lines: String = indexes.iter().map(|path| format!(" {digest} 7 {path}\n")).collect();
        let text = format!("Suite: sid\n{fields}Date: Fri, 30 Oct 2026 08:08:01 UTC\nSHA256:\n{lines}");
        Release::parse(text.as_bytes()).unwrap()
    }

    fn wish(suite: &str) -> recipe::Archive {
        recipe::Archive {
            suite: suite.to_owned(),
            components: if suite.ends_with('/') { Vec::new() } else { vec!["main".to_owned()] },
            mirror: None,
            snapshot: String::new(),
            check_valid_until: true,
            keyrings: Vec::new(),
        }
    }

    /// The files that would be asked for, each with its alternatives.
    fn files(kind: IndexKind, suite: &str, release: &Release) -> Vec<String> {
        let wish = wish(suite);
        let found = components(&wish).flat_map(|component| of_component(kind, component, &wish, release).unwrap());
        let names =
            |index: WantedIndex| index.forms.iter().map(|(_, entry)| entry.path.clone()).collect::<Vec<_>>().join(" ");
        found.map(names).collect()
    }

    #[test]
    fn the_best_compression_comes_first() {
        let main = "main/binary-amd64/Packages";
        let some = release("", &[main, &format!("{main}.gz"), &format!("{main}.xz"), "main/source/Sources.gz"]);
        assert_eq!(files(IndexKind::Packages, "sid", &some), [format!("{main}.xz {main}.gz {main}")]);
        assert_eq!(files(IndexKind::Sources, "sid", &some), ["main/source/Sources.gz"]);
    }

    #[test]
    fn packages_for_all_architectures_may_have_an_index_of_their_own() {
        let (amd64, all) = ("main/binary-amd64/Packages.gz", "main/binary-all/Packages.gz");
        let asked = |fields: &str, indexes: &[&str]| files(IndexKind::Packages, "sid", &release(fields, indexes));
        assert_eq!(asked("Architectures: all amd64\n", &[amd64, all]), [amd64, all]);
        let debian = "Architectures: all amd64\nNo-Support-for-Architecture-all: Packages\n";
        assert_eq!(asked(debian, &[amd64, all]), [amd64]);
        assert_eq!(asked("Architectures: amd64\n", &[amd64, all]), [amd64]);
        assert_eq!(asked("Architectures: all\n", &[all]), [all]);
    }

    #[test]
    fn a_flat_archive_has_its_indexes_beside_the_release_file() {
        let flat = release("", &["Packages", "Packages.gz", "Sources.xz"]);
        assert_eq!(files(IndexKind::Packages, "./", &flat), ["Packages.gz Packages"]);
        assert_eq!(files(IndexKind::Sources, "./", &flat), ["Sources.xz"]);
        let error = of_component(IndexKind::Packages, "", &wish("./"), &release("", &["Sources"])).err().unwrap();
        assert!(error.to_string().contains("flat archive ./"), "{error}");
    }

    #[test]
    fn a_text_that_is_not_as_long_as_listed_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("Packages");
        let release = release("", &["Packages"]);
        let index = wanted(&release, "", ["", "", "Packages"]).unwrap();
        for (text, expected) in [("1234567", None), ("12345678", Some("larger than")), ("123456", Some("smaller than"))]
        {
            std::fs::write(&path, text).unwrap();
            let said = read(&index, Compression::None, &path).err().map(|error| error.to_string());
            match expected {
                None => assert_eq!(said, None),
                Some(words) => assert!(said.is_some_and(|said| said.contains(words)), "{text}"),
            }
        }
    }
}
