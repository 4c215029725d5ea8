//! Finds the stanzas of a `Packages` file, and in each the fields that every lookup needs, in one pass over the text.

use std::ops::Range;

/// An index that cannot be used. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// The text is not UTF-8.
    #[error("{index}: byte {offset} is not UTF-8: the index is damaged")]
    NotUtf8 {
        /// Name of the index.
        index: String,
        /// Offset of the first invalid byte.
        offset: usize,
    },
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

/// Finds all stanzas of `text` in one pass.
pub(super) fn scan(index: &str, text: &str) -> Result<Vec<Spans>, IndexError> {
    if u32::try_from(text.len()).is_err() {
        return Err(IndexError::TooBig { index: index.to_owned(), size: text.len() });
    }
    let bytes = text.as_bytes();
    // A stanza of sid has 850 bytes on average.
    let mut found = Vec::with_capacity(bytes.len() / 800);
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
                    found.push(finish(index, text, std::mem::take(&mut spans))?);
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
                    return Err(IndexError::Invalid {
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
                        return Err(IndexError::Duplicate { index, line, field: kind.name() });
                    }
                    seen.push(kind);
                    note(&mut spans, text, kind, value);
                }
            }
        }
        start = end + 1;
    }
    if begun {
        spans.stanza.end = bytes.len() as u32;
        found.push(finish(index, text, spans)?);
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

fn finish(index: &str, text: &str, spans: Spans) -> Result<Spans, IndexError> {
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
    Ok(spans)
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
