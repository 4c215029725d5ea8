//! apt's configured archives: `/etc/apt/sources.list` and the files of `sources.list.d`, in the formats of
//! sources.list(5).

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use debian::deb822::{Comments, Paragraph, Paragraphs};

use crate::architecture::ARCHITECTURE;

/// One address of an archive of binary packages in apt's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AptSource {
    /// The address as written.
    pub uri: String,
    /// Suites, or one directory that ends in `/`.
    pub suites: Vec<String>,
    /// Components.
    pub components: Vec<String>,
    /// Accepted signing keys: paths, fingerprints, or a whole key.
    pub signed_by: Option<String>,
    /// Position in apt's configuration.
    pub location: SourceLocation,
}

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLocation {
    /// Path of the file.
    pub path: PathBuf,
    /// Line number, from 1.
    pub line: usize,
}

impl fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.line)
    }
}

/// The enabled sources for this architecture, in the order in which apt reads them. Unreadable files are skipped:
/// apt's configuration is only a hint here, and a wrong one can be overridden.
pub fn read(apt: &Path) -> Vec<AptSource> {
    let mut files = vec![apt.join("sources.list")];
    let parts =
        fs::read_dir(apt.join("sources.list.d")).map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())));
    let mut parts: Vec<PathBuf> = parts.map(|parts| parts.filter(|path| is_read(path)).collect()).unwrap_or_default();
    parts.sort();
    files.extend(parts);
    files.iter().flat_map(|path| fs::read_to_string(path).map(|text| parse(&text, path)).unwrap_or_default()).collect()
}

/// Whether apt reads a file of this name in `sources.list.d`.
fn is_read(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let ending = name.rsplit_once('.').map(|(_, ending)| ending);
    matches!(ending, Some("list" | "sources")) && !name.starts_with('.') && name.chars().all(plain)
}

/// The sources of one file.
pub fn parse(text: &str, path: &Path) -> Vec<AptSource> {
    if path.extension().is_some_and(|end| end == "sources") {
        // Anything after an invalid stanza is skipped.
        return Paragraphs::new(text, Comments::Allowed)
            .map_while(Result::ok)
            .flat_map(|stanza| of_stanza(&stanza, path))
            .collect();
    }
    let numbered = text.lines().enumerate();
    numbered
        .filter_map(|(index, line)| of_line(line, SourceLocation { path: path.to_owned(), line: index + 1 }))
        .collect()
}

/// A line in the old style: `deb [option=value ...] URI suite [component ...]`.
fn of_line(line: &str, location: SourceLocation) -> Option<AptSource> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let rest = line.strip_prefix("deb").filter(|rest| rest.starts_with(char::is_whitespace))?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    let (uri, suite) = (words.next()?, words.next()?);
    let options: Vec<(&str, &str)> = options.split_whitespace().filter_map(|word| word.split_once('=')).collect();
    // `arch+=` and `arch-=` change the default list.
    let option =
        |name: &str| options.iter().rev().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value);
    let is_ours = |list: &str| list.split(',').any(|word| word == ARCHITECTURE);
    if !option("arch").is_none_or(is_ours) || option("arch-").is_some_and(is_ours) {
        return None;
    }
    let (suites, components) = (vec![suite], words.collect());
    Some(AptSource { uri, suites, components, signed_by: option("signed-by").map(str::to_owned), location })
}

/// The sources of one stanza, one per address; none if it is disabled or for source packages only.
fn of_stanza(stanza: &Paragraph<'_>, path: &Path) -> Vec<AptSource> {
    let words = |name: &str| -> Option<Vec<String>> {
        let field = stanza.field(name)?;
        Some(field.lines().flat_map(str::split_whitespace).map(str::to_owned).collect())
    };
    let has = |name: &str, word: &str| words(name).is_some_and(|words| words.iter().any(|known| known == word));
    // All values that apt understands as no.
    let is_off = |value: &str| {
        ["no", "false", "without", "off", "disable", "0"].iter().any(|no| value.trim().eq_ignore_ascii_case(no))
    };
    let off = stanza.get("Enabled").is_some_and(is_off);
    let binary = stanza.field("Types").is_none() || has("Types", "deb");
    let ours = (stanza.field("Architectures").is_none() || has("Architectures", ARCHITECTURE))
        && !has("Architectures-Remove", ARCHITECTURE);
    let Some(uris) = stanza.field("URIs").filter(|_| !off && binary && ours) else { return Vec::new() };
    let (suites, components) = (words("Suites").unwrap_or_default(), words("Components").unwrap_or_default());
    let source = |uri: &str| AptSource {
        uri: uri.to_owned(),
        suites: suites.clone(),
        components: components.clone(),
        signed_by: stanza.get("Signed-By").map(str::to_owned),
        location: SourceLocation { path: path.to_owned(), line: uris.line },
    };
    uris.lines().flat_map(str::split_whitespace).map(source).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn uris(name: &str, text: &str) -> Vec<String> {
        parse(text, Path::new(name)).into_iter().map(|source| format!("{} {}", source.location, source.uri)).collect()
    }

    #[test]
    fn lines_in_the_old_style() {
        let text = "# deb http://commented.example/debian sid main\n\
            deb [ arch=amd64,i386  signed-by=/k.gpg ]\thttp://a.example/debian\tsid main contrib # near\n\
            deb-src http://b.example/debian sid main\n\
            \tdeb http://c.example/debian ./\n\
            deb [arch=arm64] http://d.example/debian sid main\n\
            deb [arch-=amd64] http://e.example/debian sid main\n\
            deb http://f.example/debian\n\
            debx http://g.example/debian sid main\n";
        assert_eq!(uris("s.list", text), ["s.list:2 http://a.example/debian", "s.list:4 http://c.example/debian"]);
        let source = &parse(text, Path::new("s.list"))[0];
        assert_eq!(
            (&source.suites[..], &source.components[..]),
            (&["sid".into()][..], &["main".into(), "contrib".into()][..])
        );
        assert_eq!(source.signed_by.as_deref(), Some("/k.gpg"));
    }

    #[test]
    fn stanzas() {
        let text = "Types: deb-src\nURIs: http://a.example/debian\n\n\
            Types: deb\nURIs: http://off.example/debian\nenabled: False\n \n\
            Types: deb deb-src\nURIs:\n http://b.example/debian\n# a mirror nearby\n\thttp://c.example/debian\nSuites: sid\n trixie\n\n\
            Types: deb\nURIs: http://d.example/debian\nArchitectures: arm64\n";
        assert_eq!(
            uris("s.sources", text),
            ["s.sources:9 http://b.example/debian", "s.sources:9 http://c.example/debian"]
        );
        assert_eq!(parse(text, Path::new("s.sources"))[1].suites, ["sid", "trixie"]);
    }

    #[test]
    fn files_are_read_in_the_order_of_their_names() {
        let apt = tempfile::tempdir().unwrap();
        let directory = apt.path().join("sources.list.d");
        fs::create_dir(&directory).unwrap();
        for name in ["b.list", "a.sources", "c.list.save", ".d.list", "e f.list", "g.list~"] {
            let text = if name.ends_with("sources") { "URIs: http://x/1\n" } else { "deb http://x/2 sid main\n" };
            fs::write(directory.join(name), text).unwrap();
        }
        fs::create_dir(directory.join("h.list")).unwrap();
        fs::write(apt.path().join("sources.list"), "deb http://x/0 sid main\n").unwrap();
        let found: Vec<String> = read(apt.path()).into_iter().map(|source| source.uri).collect();
        assert_eq!(found, ["http://x/0", "http://x/1", "http://x/2"]);
        assert!(read(&apt.path().join("nowhere")).is_empty());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(deb|Types|URIs|[ \t\n\\[\\]=#:/a-z]|\\PC){0,60}") {
            for name in ["s.list", "s.sources"] {
                prop_assert!(parse(&text, Path::new(name)).iter().all(|source| !source.uri.is_empty()));
            }
        }
    }
}
