//! The texts of a Debian archive and of its packages.

use std::cmp::Ordering;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use archive::index::{IndexText, SourceIndex, Universe, is_safe_path};
use archive::release::{Keyring, Release, ValidUntil, verify_inrelease};
use debian::deb::Paragraph;
use debian::deb822::{Comments, Writer};
use debian::version::{Version, compare};

use crate::text;

/// A package's control file and its relations, as unpacking reads them.
pub fn control(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let Ok(paragraph) = Paragraph::parse(text) else { return };
    for (name, value) in paragraph.iter() {
        assert_eq!(paragraph.get_raw(name), Some(value));
    }
    for alternatives in ["Pre-Depends", "Depends", "Replaces"].iter().flat_map(|name| paragraph.relations(name).0) {
        assert!(alternatives.0.iter().all(|relation| !relation.name.is_empty()));
    }
}

/// Paragraphs of fields. What the writer makes of them reads back.
pub fn deb822(data: &[u8]) {
    let _with_comments = debian::deb822::parse(data, Comments::Allowed);
    let Ok(paragraphs) = debian::deb822::parse(data, Comments::Forbidden) else { return };
    let mut writer = Writer::new();
    for paragraph in &paragraphs {
        assert!(!paragraph.fields().is_empty());
        for field in paragraph.fields() {
            let lines: Vec<_> = field.lines().collect();
            if writer.field(field.name, &lines.join("\n")).is_err() {
                return;
            }
        }
        writer.end_paragraph();
    }
    let written = writer.finish();
    let again = debian::deb822::parse(written.as_bytes(), Comments::Forbidden).expect("our own text");
    assert_eq!(again.len(), paragraphs.len());
    for (one, two) in paragraphs.iter().zip(&again) {
        assert_eq!(one.fields().len(), two.fields().len());
        for (one, two) in one.fields().iter().zip(two.fields()) {
            assert_eq!(one.name, two.name);
            assert_eq!(one.lines().collect::<Vec<_>>(), two.lines().collect::<Vec<_>>());
        }
    }
}

/// A relation field, and what a user may ask for. What is shown of either means the same again.
pub fn relation(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Ok(relations) = debian::relation::parse(text) {
        let shown = relations.to_string();
        assert_eq!(debian::relation::parse(&shown).as_ref(), Ok(&relations), "{shown}");
        for relation in relations.0.iter().flat_map(|item| &item.0) {
            relation.applies_to("amd64");
            relation.applies_with_profiles(&["nocheck"]);
            relation.accepts_version("1.0-1");
        }
    }
    if let Ok(request) = debian::relation::parse_request(text) {
        let shown = request.to_string();
        assert_eq!(debian::relation::parse_request(&shown).as_ref(), Ok(&request), "{shown}");
    }
}

/// Version numbers, three of them on a line each: their order is total.
pub fn version(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let mut lines = text.splitn(3, '\n');
    let [a, b, c] = std::array::from_fn(|_| lines.next().unwrap_or_default());
    for version in [a, b, c].map(Version::parse).into_iter().flatten() {
        assert!(text.contains(version.as_str()) && !version.upstream().is_empty());
        assert_eq!(Version::parse(&version.to_string()), Ok(version));
        let parts = format!("{}:{}-{}", version.epoch(), version.upstream(), version.revision());
        assert_eq!(compare(parts.trim_end_matches('-'), version.as_str()), Ordering::Equal, "{parts}");
    }
    for (x, y, z) in [(a, b, c), (b, c, a), (c, a, b), (a, c, b)] {
        assert_eq!(compare(x, x), Ordering::Equal);
        assert_eq!(compare(x, y), compare(y, x).reverse(), "{x:?} {y:?}");
        if compare(x, y).is_le() && compare(y, z).is_le() {
            assert!(compare(x, z).is_le(), "{x:?} {y:?} {z:?}");
            assert!(compare(x, z).is_lt() || (compare(x, y).is_eq() && compare(y, z).is_eq()), "{x:?} {y:?} {z:?}");
        }
    }
}

static KEYRING: LazyLock<Keyring> = LazyLock::new(|| {
    let mut keyring = Keyring::new();
    keyring.add("seed", include_bytes!("../seeds-keyring.pgp")).expect("the keyring beside the seeds");
    keyring
});

/// A moment that does not change, at which the seed's key and signature are good.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_793_347_681)
}

/// A `Release` file, and the bytes as a signed `InRelease`. A signature holds for one text only: that of the seed.
pub fn release(data: &[u8]) {
    let read = |text: &[u8]| {
        let Ok(release) = Release::parse(text) else { return };
        let _in_time = release.check_valid_until(now(), ValidUntil::Check);
        for (path, index) in &release.indexes {
            assert!(is_safe_path(path) && is_safe_path(&index.by_hash()), "{path:?}");
        }
    };
    read(data);
    if let Ok(verified) = verify_inrelease(data, &KEYRING, now()) {
        // Blanks at the ends of lines are not signed (RFC 9580, section 7.2).
        let lines = |text: &[u8]| -> Vec<Vec<u8>> {
            text.trim_ascii_end().split(|byte| *byte == b'\n').map(|line| line.trim_ascii_end().to_vec()).collect()
        };
        assert_eq!(lines(&verified.text), lines(include_bytes!("../seeds-release")), "a forgery");
        read(&verified.text);
    }
}

#[cfg(test)]
pub(crate) fn seed_is_trusted(data: &[u8]) -> bool {
    verify_inrelease(data, &KEYRING, now()).is_ok()
}

/// A `Packages` and a `Sources` index.
pub fn index(data: &[u8]) {
    let part = |text: &[u8]| IndexText { archive: "sid".into(), component: "main".into(), text: text.to_vec() };
    // In two halves as well: an archive has several indexes.
    let (first, second) = data.split_at(data.len() / 2);
    for texts in [vec![part(data)], vec![part(first), part(second)]] {
        // A field that is there twice is an error in deb822; an index is read too quickly to notice.
        let parses = |one: &IndexText| debian::deb822::parse(&one.text, Comments::Forbidden).is_ok();
        let well_formed = texts.iter().all(parses);
        let Ok(universe) = Universe::new(texts, "amd64") else { continue };
        assert_eq!(universe.ids().count(), universe.len());
        for id in universe.ids().take(50) {
            let package = universe.get(id).expect("an id of this universe");
            // Of one version that is there twice, one is a candidate.
            let mut candidates = universe.candidates(package.name()).into_iter().filter_map(|id| universe.get(id));
            assert!(candidates.any(|other| compare(other.version(), package.version()).is_eq()), "{package}");
            assert!(universe.knows(package.name()), "{package}");
            assert!(package.filename().is_ok_and(is_safe_path) || package.filename().is_err());
            let _fields = (package.size(), package.installed_size(), package.sha256(), package.source());
            let _more = (package.multi_arch(), package.summary(), package.priority(), package.section());
            if let Ok(provides) = package.relations("Provides") {
                // Provides has no alternatives (Policy 7.5); only the first of such would be found.
                for relation in provides.0.iter().filter_map(|item| item.0.first()) {
                    let found = universe.providers(relation.name).iter().any(|(provider, _)| *provider == id);
                    assert!(found || !well_formed, "{package} provides {}", relation.name);
                }
            }
        }
        let _lists = (universe.essential(), universe.required(), universe.suggestions("libc6"));
    }
    if let Ok(sources) = SourceIndex::new(data.to_vec()) {
        for line in text(data).unwrap_or_default().lines().filter_map(|line| line.strip_prefix("Package:")).take(50) {
            for package in sources.candidates(line.trim()) {
                assert_eq!(package.name(), line.trim());
                let _lists = (package.uploaders(), package.binaries(), package.testsuite());
                for file in package.files().unwrap_or_default() {
                    assert!(is_safe_path(&file.path), "{file:?}");
                }
            }
        }
    }
}

/// A source package whose files are parted by lines of `%%`: debian/tests/control, a script, debian/control, the override
/// file. Places are in their files, nothing that is told moves a terminal, and mending ends.
pub fn lint(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let files: Vec<&str> = text.split("%%\n").collect();
    let part = |number: usize| files.get(number).copied().unwrap_or_default();
    let mut tree = ::lint::Memory::default();
    tree.add("debian/tests/control", part(0))
        .add("debian/tests/a", part(1))
        .add("debian/bin/run-tests", part(1))
        .add("debian/a-tests.install", "debian/bin/run-tests usr/libexec/rocm/a-tests\n")
        .add("debian/control", part(2))
        .add(::lint::OVERRIDES, part(3));
    let report = ::lint::check(&tree);
    for finding in &report.findings {
        assert!(finding.message.chars().all(safetext::is_printable), "{:?}", finding.message);
        if let (Some(range), Some(text)) = (&finding.range, tree.text(&finding.file)) {
            assert!(text.get(range.clone()).is_some(), "{finding:?}");
        }
    }
    let least = ::lint::Severity::Note;
    ::lint::fix(&mut tree, least).expect("memory can be written");
    let again = ::lint::fix(&mut tree, least).expect("memory can be written");
    assert_eq!(again.files, Vec::<String>::new());
}
