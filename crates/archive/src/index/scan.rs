//! Finds the stanzas of a `Packages` file, and in each the fields that every lookup needs, in one pass over the text.

use std::ops::Range;

/// An index that cannot be used. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// The text has four gigabytes or more.
    #[error("{index}: {size} bytes are more than an index may have")]
    TooBig {
        /// Name of the index.
        index: String,
        /// Size in bytes.
        size: usize,
    },
    /// A stanza lacks a required field.
    #[error("{index}, line {line}: the stanza has no {field}")]
    Missing {
        /// Name of the index.
        index: String,
        /// First line of the stanza.
        line: usize,
        /// Field name.
        field: &'static str,
    },
    /// A stanza has a field twice: readers would not agree on which counts. dpkg refuses such a stanza too.
    #[error("{index}, line {line}: the stanza has a second {field}")]
    Duplicate {
        /// Name of the index.
        index: String,
        /// First line of the stanza.
        line: usize,
        /// Field name.
        field: &'static str,
    },
    /// A package name or version is not valid.
    #[error("{index}, line {line}: {value:?} is not a valid {field}")]
    Invalid {
        /// Name of the index.
        index: String,
        /// First line of the stanza.
        line: usize,
        /// Field name.
        field: &'static str,
        /// Value of the field.
        value: String,
    },
}

/// Positions of the parts of a stanza that every lookup needs, as offsets into the text of the index.
#[derive(Debug, Clone, Default)]
pub(super) struct Spans {
    pub(super) stanza: Range<u32>,
    pub(super) name: Range<u32>,
    pub(super) version: Range<u32>,
    pub(super) architecture: Range<u32>,
    pub(super) provides: Range<u32>,
    pub(super) essential: bool,
    pub(super) required: bool,
}

/// A package that cannot be used, and so is left out. One odd stanza does not make an archive unusable, as with apt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// What its stanza gives as `Package`; empty if nothing.
    pub name: String,
    /// What is wrong.
    pub error: IndexError,
}

/// The stanzas of an index.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    /// Those of packages that can be used.
    pub(super) stanzas: Vec<Spans>,
    /// The others.
    pub(super) left_out: Vec<LeftOut>,
}

impl Scanned {
    /// Takes in a stanza. One of the base system has to be right: an image without it would not be what was asked for.
    fn end(&mut self, index: &str, text: &str, spans: Spans, wrong: Option<IndexError>) -> Result<(), IndexError> {
        match wrong.map_or_else(|| check(index, text, &spans), Err) {
            Ok(()) => self.stanzas.push(spans),
            Err(error) if spans.essential || spans.required => return Err(error),
            Err(error) => self.left_out.push(LeftOut { name: shorten(slice(text, &spans.name)), error }),
        }
        Ok(())
    }
}

/// The text of an index. Bytes that are not UTF-8, as in old maintainers' names, do not matter to dependencies, and where
/// they are in a name or a path that one cannot be used.
pub(super) fn decoded(index: &str, text: Vec<u8>) -> Result<String, IndexError> {
    if u32::try_from(text.len()).is_err() {
        return Err(IndexError::TooBig { index: index.to_owned(), size: text.len() });
    }
    Ok(String::from_utf8(text).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// Finds all stanzas of `text` in one pass.
pub(super) fn scan(index: &str, text: &str) -> Result<Scanned, IndexError> {
    if u32::try_from(text.len()).is_err() {
        return Err(IndexError::TooBig { index: index.to_owned(), size: text.len() });
    }
    let bytes = text.as_bytes();
    // A stanza of sid has 850 bytes on average.
    let mut found = Scanned { stanzas: Vec::with_capacity(bytes.len() / 800), left_out: Vec::new() };
    // The first thing that is wrong with the stanza.
    let mut wrong: Option<IndexError> = None;
    let mut spans = Spans::default();
    let mut seen = Vec::new();
    let mut field = Field::Other;
    let mut start = 0;
    let mut begun = false;
    for end in memchr::memchr_iter(b'\n', bytes).chain(std::iter::once(bytes.len())) {
        let line = bytes.get(start..end).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match line.first() {
            None => {
                if begun {
                    spans.stanza.end = start as u32;
                    found.end(index, text, std::mem::take(&mut spans), wrong.take())?;
                    begun = false;
                }
                field = Field::Other;
            }
            Some(b' ' | b'\t') => match field {
                Field::Provides => spans.provides.end = (start + line.len()) as u32,
                // Debian Policy 5.1: these are simple fields, of one line.
                Field::Package | Field::Version | Field::Architecture => {
                    let value = shorten(&String::from_utf8_lossy(line));
                    let field = "continuation of a field of one line";
                    wrong.get_or_insert_with(|| IndexError::Invalid {
                        index: index.to_owned(),
                        line: line_of(text, start),
                        field,
                        value,
                    });
                }
                Field::Essential | Field::Priority | Field::Other => {}
            },
            Some(first) => {
                if !begun {
                    begun = true;
                    seen.clear();
                    spans.stanza.start = start as u32;
                }
                field = Field::Other;
                if matches!(first.to_ascii_uppercase(), b'P' | b'V' | b'A' | b'E')
                    && let Some((kind, value)) = recognise(line)
                {
                    field = kind;
                    let value = (start + value) as u32..(start + line.len()) as u32;
                    if seen.contains(&kind) {
                        let (index, line) = (index.to_owned(), line_of(text, start));
                        wrong.get_or_insert(IndexError::Duplicate { index, line, field: kind.name() });
                        note_base(&mut spans, text, kind, &value);
                    } else {
                        seen.push(kind);
                        note(&mut spans, text, kind, value);
                    }
                }
            }
        }
        start = end + 1;
    }
    if begun {
        spans.stanza.end = bytes.len() as u32;
        found.end(index, text, spans, wrong)?;
    }
    Ok(found)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Package,
    Version,
    Architecture,
    Provides,
    Essential,
    Priority,
    Other,
}

impl Field {
    fn name(self) -> &'static str {
        match self {
            Self::Package => "Package",
            Self::Version => "Version",
            Self::Architecture => "Architecture",
            Self::Provides => "Provides",
            Self::Essential => "Essential",
            Self::Priority => "Priority",
            Self::Other => "field",
        }
    }
}

/// The kind of field in `line`, and the offset of its value.
fn recognise(line: &[u8]) -> Option<(Field, usize)> {
    const FIELDS: [(&[u8], Field); 6] = [
        (b"package:", Field::Package),
        (b"version:", Field::Version),
        (b"architecture:", Field::Architecture),
        (b"provides:", Field::Provides),
        (b"essential:", Field::Essential),
        (b"priority:", Field::Priority),
    ];
    let (name, kind) =
        FIELDS.iter().find(|(name, _)| line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)))?;
    let value = line.get(name.len()..)?;
    let blanks = value.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    Some((*kind, name.len() + blanks))
}

/// As [`note`] for a field that was there before: the package is of the base system if any of them says so.
fn note_base(spans: &mut Spans, text: &str, kind: Field, value: &Range<u32>) {
    let value = slice(text, value).trim_end();
    spans.essential |= kind == Field::Essential && value == "yes";
    spans.required |= kind == Field::Priority && value == "required";
}

fn note(spans: &mut Spans, text: &str, kind: Field, value: Range<u32>) {
    let value_text = slice(text, &value).trim_end();
    let value = value.start..value.start + value_text.len() as u32;
    match kind {
        Field::Package => spans.name = value,
        Field::Version => spans.version = value,
        Field::Architecture => spans.architecture = value,
        Field::Provides => spans.provides = value,
        Field::Essential => spans.essential = value_text == "yes",
        Field::Priority => spans.required = value_text == "required",
        Field::Other => {}
    }
}

/// Checks the fields that every package has to have.
fn check(index: &str, text: &str, spans: &Spans) -> Result<(), IndexError> {
    let line = || line_of(text, spans.stanza.start as usize);
    let index = || index.to_owned();
    for (field, span) in [("Package", &spans.name), ("Version", &spans.version), ("Architecture", &spans.architecture)]
    {
        if span.is_empty() {
            return Err(IndexError::Missing { index: index(), line: line(), field });
        }
    }
    let name = slice(text, &spans.name);
    if !debian::relation::is_package_name(name) {
        return Err(IndexError::Invalid { index: index(), line: line(), field: "Package", value: shorten(name) });
    }
    let version = slice(text, &spans.version);
    if debian::version::Version::parse(version).is_err() {
        return Err(IndexError::Invalid { index: index(), line: line(), field: "Version", value: shorten(version) });
    }
    Ok(())
}

pub(super) fn slice<'a>(text: &'a str, range: &Range<u32>) -> &'a str {
    text.get(range.start as usize..range.end as usize).unwrap_or_default()
}

/// Line number of an offset, for messages only.
fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or_default();
    memchr::memchr_iter(b'\n', before).count() + 1
}

fn shorten(text: &str) -> String {
    text.chars().take(100).collect()
}
