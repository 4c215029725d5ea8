//! Control file syntax, deb822(5): paragraphs of fields.
//!
//! Parsing copies nothing: names and values are slices of the text. [`Writer`] does the opposite.

mod write;

pub use write::{WriteError, Writer};

/// Whether lines that begin with `#` are comments, which deb822(5) allows in source control files only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comments {
    /// A line that begins with `#` is skipped.
    Allowed,
    /// A line that begins with `#` is an error.
    Forbidden,
}

/// Syntax error in deb822 text. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A line is neither a field, a continuation nor empty.
    #[error("line {line}: expected \"Name: value\", found {found:?}")]
    NotAField {
        /// Line number.
        line: usize,
        /// The start of the line.
        found: String,
    },
    /// A field name holds a character that deb822(5) does not allow.
    #[error("line {line}: {name:?} is not a field name")]
    BadName {
        /// Line number.
        line: usize,
        /// Text before the colon.
        name: String,
    },
    /// A continuation line comes before any field of its paragraph.
    #[error("line {line}: continuation line outside of a field")]
    StrayContinuation {
        /// Line number.
        line: usize,
    },
    /// A paragraph has a field twice; names differ in case only.
    #[error("line {line}: field {name} was already given in line {first}")]
    Duplicate {
        /// Line of the second occurrence.
        line: usize,
        /// Line of the first occurrence.
        first: usize,
        /// Field name.
        name: String,
    },
    /// The text is not UTF-8, which Debian Policy 5.1 demands.
    #[error("byte {offset}: not UTF-8")]
    NotUtf8 {
        /// Offset of the first invalid byte.
        offset: usize,
    },
}

/// One field of a [`Paragraph`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Field name as written.
    pub name: &'a str,
    /// Value without surrounding blanks. Continuation lines are included, each with its newline and leading blank, so
    /// a value that begins on the line below the name begins with a newline.
    pub value: &'a str,
    /// As `value`, but with trailing blanks, which dpkg keeps in its status file.
    pub raw: &'a str,
    /// Line number of the name, from 1.
    pub line: usize,
}

impl<'a> Field<'a> {
    /// Lines of a multiline value, without surrounding blanks. The first is empty if the value begins on the line
    /// below the name, as in the checksum lists of a Release file. Comment lines are left out.
    pub fn lines(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let comment = |(index, line): &(usize, &str)| *index > 0 && line.starts_with('#');
        self.value.split('\n').enumerate().filter(move |line| !comment(line)).map(|(_, line)| line.trim())
    }
}

/// Paragraph: the fields up to an empty line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paragraph<'a> {
    fields: Vec<Field<'a>>,
}

impl<'a> Paragraph<'a> {
    /// The field called `name`, compared without regard to case.
    pub fn field(&self, name: &str) -> Option<&Field<'a>> {
        self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name))
    }

    /// Value of the field called `name`, compared without regard to case.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.field(name).map(|field| field.value)
    }

    /// All fields in the order of the text.
    pub fn fields(&self) -> &[Field<'a>] {
        &self.fields
    }
}

/// Iterator over the paragraphs of a text. It ends after an error.
#[derive(Debug, Clone)]
pub struct Paragraphs<'a> {
    rest: &'a str,
    line: usize,
    comments: Comments,
}

impl<'a> Paragraphs<'a> {
    /// Reads `text` from its start.
    pub fn new(text: &'a str, comments: Comments) -> Self {
        Self { rest: text, line: 1, comments }
    }

    /// As [`new`](Self::new), for bytes not known to be UTF-8.
    pub fn from_bytes(bytes: &'a [u8], comments: Comments) -> Result<Self, Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Self::new(text, comments)),
            Err(error) => Err(Error::NotUtf8 { offset: error.valid_up_to() }),
        }
    }

    /// The next line without its `\n` or `\r\n`.
    fn take_line(&mut self) -> Option<(&'a str, usize)> {
        if self.rest.is_empty() {
            return None;
        }
        let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        let number = self.line;
        self.rest = rest;
        self.line += 1;
        Some((line.strip_suffix('\r').unwrap_or(line), number))
    }

    fn paragraph(&mut self) -> Result<Option<Paragraph<'a>>, Error> {
        let mut fields: Vec<Field<'a>> = Vec::new();
        loop {
            let before = self.rest;
            let Some((line, number)) = self.take_line() else { break };
            let blank = line.bytes().all(|byte| byte == b' ' || byte == b'\t');
            if blank {
                if fields.is_empty() {
                    continue;
                }
                break;
            }
            if line.starts_with('#') && self.comments == Comments::Allowed {
                continue;
            }
            if line.starts_with([' ', '\t']) {
                if fields.is_empty() {
                    return Err(Error::StrayContinuation { line: number });
                }
                continue;
            }
            let Some((name, _)) = line.split_once(':') else {
                return Err(Error::NotAField { line: number, found: line.chars().take(40).collect() });
            };
            if !is_field_name(name) {
                return Err(Error::BadName { line: number, name: name.chars().take(40).collect() });
            }
            if let Some(earlier) = fields.iter().find(|field| field.name.eq_ignore_ascii_case(name)) {
                return Err(Error::Duplicate { line: number, first: earlier.line, name: name.to_owned() });
            }
            let raw = self.value_from(before.get(name.len() + 1..).unwrap_or_default());
            fields.push(Field { name, value: raw.trim_end(), raw, line: number });
        }
        Ok((!fields.is_empty()).then_some(Paragraph { fields }))
    }

    /// The value that begins at the start of `text`: up to the last line that begins with a blank, without its line
    /// end.
    fn value_from(&self, text: &'a str) -> &'a str {
        let mut end = 0;
        for (index, line) in text.split_inclusive('\n').enumerate() {
            let continues = line.starts_with([' ', '\t']) && !line.trim().is_empty();
            let comment = self.comments == Comments::Allowed && line.starts_with('#');
            if index > 0 && !continues && !comment {
                break;
            }
            // A comment that no continuation line follows is not part of the value.
            if comment && index > 0 {
                let follows = text.get(end + line.len()..).unwrap_or_default();
                let next = follows.split('\n').find(|line| !line.starts_with('#')).unwrap_or_default();
                if !next.starts_with([' ', '\t']) || next.trim().is_empty() {
                    break;
                }
            }
            end += line.len();
        }
        let value = text.get(..end).unwrap_or_default().trim_start_matches([' ', '\t', '\r']);
        let value = value.strip_suffix('\n').unwrap_or(value);
        value.strip_suffix('\r').unwrap_or(value)
    }
}

impl<'a> Iterator for Paragraphs<'a> {
    type Item = Result<Paragraph<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let paragraph = self.paragraph().transpose();
        if matches!(paragraph, Some(Err(_))) {
            self.rest = "";
        }
        paragraph
    }
}

/// Parses all paragraphs of `bytes`.
pub fn parse(bytes: &[u8], comments: Comments) -> Result<Vec<Paragraph<'_>>, Error> {
    Paragraphs::from_bytes(bytes, comments)?.collect()
}

/// By deb822(5): printable ASCII without colon, and not starting with `#` or `-`.
fn is_field_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(['#', '-'])
        && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_fields_and_continuation_lines() {
        let text = b"\n\nPackage: a\nDescription: short\n long\n .\n more\n\nPackage: b\n";
        let found = parse(text, Comments::Forbidden).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].get("description"), Some("short\n long\n .\n more"));
        assert_eq!(found[0].field("Description").unwrap().lines().collect::<Vec<_>>(), ["short", "long", ".", "more"]);
        assert_eq!(found[1].field("PACKAGE").unwrap().line, 9);
    }

    #[test]
    fn windows_line_ends_are_tolerated() {
        let found = parse(b"A: 1\r\n\r\nB: 2\r\n 3\r\n", Comments::Forbidden).unwrap();
        assert_eq!(found[0].get("A"), Some("1"));
        assert_eq!(found[1].field("b").unwrap().lines().collect::<Vec<_>>(), ["2", "3"]);
    }

    #[test]
    fn comments_where_allowed() {
        let text = b"# top\nA: 1,\n# between\n 2\n# after\nB: 3\n";
        let found = parse(text, Comments::Allowed).unwrap();
        assert_eq!(found[0].field("A").unwrap().lines().collect::<Vec<_>>(), ["1,", "2"]);
        assert_eq!(found[0].get("B"), Some("3"));
        assert!(matches!(parse(text, Comments::Forbidden), Err(Error::NotAField { line: 1, .. })));
    }

    #[test]
    fn errors_name_the_line() {
        assert_eq!(
            parse(b"A: 1\nB: 2\na: 3\n", Comments::Forbidden),
            Err(Error::Duplicate { line: 3, first: 1, name: "a".into() })
        );
        assert_eq!(parse(b"\n x\n", Comments::Forbidden), Err(Error::StrayContinuation { line: 2 }));
        assert_eq!(
            parse(b"A: 1\nno colon\n", Comments::Forbidden),
            Err(Error::NotAField { line: 2, found: "no colon".into() })
        );
        assert_eq!(parse(b"A b: 1\n", Comments::Forbidden), Err(Error::BadName { line: 1, name: "A b".into() }));
        assert_eq!(parse(b"A: \xff\n", Comments::Forbidden), Err(Error::NotUtf8 { offset: 3 }));
    }
}
