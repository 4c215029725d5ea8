//! `debian/tests/control` with the place of each word, and the edits that keep everything else as it is.

use std::ops::Range;

use debian::autopkgtest::without_comment;
use debian::deb822::{Comments, Error, Field, Paragraph, Paragraphs};

use crate::edit::Edit;

/// Path of the control file.
pub(crate) const CONTROL: &str = "debian/tests/control";

/// The control file.
#[derive(Debug)]
pub(crate) struct Control<'a> {
    pub(crate) stanzas: Vec<Stanza<'a>>,
    /// Why the stanzas end before the file does.
    pub(crate) error: Option<Error>,
}

/// A stanza, which describes one or several tests.
#[derive(Debug)]
pub(crate) struct Stanza<'a> {
    pub(crate) text: &'a str,
    pub(crate) paragraph: Paragraph<'a>,
    /// Name of its first test, for people: the file's, the `test-name`, or the number that autopkgtest gives.
    pub(crate) name: String,
}

/// A word of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) text: String,
    /// Its bytes in the control file.
    pub(crate) range: Range<usize>,
}

/// A value as autopkgtest reads it: without comments, in one line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Value {
    pub(crate) text: String,
    /// Where each byte of `text` stands in the file.
    offsets: Vec<usize>,
}

impl<'a> Control<'a> {
    pub(crate) fn parse(text: &'a str) -> Self {
        let (mut stanzas, mut error, mut commands) = (Vec::new(), None, 0);
        for paragraph in Paragraphs::new(text, Comments::Allowed) {
            match paragraph {
                Ok(paragraph) => {
                    let mut stanza = Stanza { text, paragraph, name: String::new() };
                    let named = stanza.tests().into_iter().next().or_else(|| stanza.test_name()).map(|word| word.text);
                    stanza.name = named.unwrap_or_else(|| {
                        commands += 1;
                        format!("command{commands}")
                    });
                    stanzas.push(stanza);
                }
                Err(found) => error = Some(found),
            }
        }
        Self { stanzas, error }
    }
}

/// Offset of a slice in the text that it was cut from.
fn offset(text: &str, part: &str) -> usize {
    part.as_ptr().addr().saturating_sub(text.as_ptr().addr()).min(text.len())
}

impl<'a> Stanza<'a> {
    pub(crate) fn field(&self, name: &str) -> Option<&Field<'a>> {
        self.paragraph.field(name)
    }

    /// Bytes of a field's name.
    pub(crate) fn name_range(&self, field: &Field<'_>) -> Range<usize> {
        let start = offset(self.text, field.name);
        start..start + field.name.len()
    }

    /// Bytes of the stanza's first name of a field, to point at the stanza.
    pub(crate) fn range(&self) -> Range<usize> {
        self.paragraph.fields().first().map_or(0..0, |field| self.name_range(field))
    }

    /// A field's value as autopkgtest reads it; empty if there is no such field.
    pub(crate) fn value(&self, name: &str) -> Value {
        let Some(field) = self.field(name) else { return Value::default() };
        let mut value = Value::default();
        let mut at = offset(self.text, field.value);
        for (index, line) in field.value.split_inclusive('\n').enumerate() {
            if index == 0 || !line.starts_with('#') {
                let kept = without_comment(line).trim_end_matches(['\n', '\r']);
                value.text.push_str(kept);
                value.offsets.extend(at..at + kept.len());
            }
            at += line.len();
        }
        value
    }

    /// Words of a list that commas and blanks separate.
    pub(crate) fn words(&self, name: &str) -> Vec<Word> {
        self.value(name).split(|char| char == ',' || char.is_whitespace())
    }

    pub(crate) fn tests(&self) -> Vec<Word> {
        self.words("Tests")
    }

    pub(crate) fn has_restriction(&self, name: &str) -> bool {
        self.words("Restrictions").iter().any(|word| word.text == name)
    }

    /// The value of the first `test-name` in Features.
    pub(crate) fn test_name(&self) -> Option<Word> {
        let word = self.words("Features").into_iter().find(|word| word.text.starts_with("test-name="))?;
        let text = word.text.split_once('=')?.1.to_owned();
        let start = word.range.end - text.len();
        (!text.is_empty()).then_some(Word { text, range: start..word.range.end })
    }

    fn newline(&self) -> &'static str {
        if self.text.contains("\r\n") { "\r\n" } else { "\n" }
    }

    /// Adds a word to a list, in the style of the list; adds the field if there is none.
    pub(crate) fn append(&self, name: &str, word: &str) -> Edit {
        let Some(field) = self.field(name) else { return self.add_field(name, word) };
        let value = self.value(name);
        let commas = name == "Depends" || value.text.contains(',');
        let items = value.split(|char| char == ',' || (name != "Depends" && char.is_whitespace()));
        let Some(last) = items.last() else {
            let at = self.name_range(field).end + 1;
            return Edit::Replace { range: at..at, text: format!(" {word}") };
        };
        // The line that the last word stands in.
        let before = self.text.get(..last.range.end).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        let indent: String = line.chars().take_while(|char| matches!(char, ' ' | '\t')).collect();
        let between = if indent.is_empty() { " ".to_owned() } else { format!("{}{indent}", self.newline()) };
        let (at, text) = match value.comma_after(last.range.end) {
            Some(comma) => (comma + 1, format!("{between}{word},")),
            None if commas || items.len() == 1 => (last.range.end, format!(",{between}{word}")),
            None => (last.range.end, format!("{between}{word}")),
        };
        Edit::Replace { range: at..at, text }
    }

    /// Adds a field after the stanza's last.
    pub(crate) fn add_field(&self, name: &str, value: &str) -> Edit {
        let end = self.paragraph.fields().last().map_or(self.text.len(), |field| {
            let empty_or_end = offset(self.text, field.value) + field.value.len();
            empty_or_end.max(self.name_range(field).end)
        });
        let rest = self.text.get(end..).unwrap_or_default();
        let newline = self.newline();
        if let Some(length) = rest.find('\n') {
            let at = end + length + 1;
            Edit::Replace { range: at..at, text: format!("{name}: {value}{newline}") }
        } else {
            let at = self.text.len();
            Edit::Replace { range: at..at, text: format!("{newline}{name}: {value}{newline}") }
        }
    }

    /// Removes a word of a list, and the field if it was the only one. `None` where a comment would go with it.
    pub(crate) fn remove(&self, name: &str, word: &Word) -> Option<Edit> {
        let field = self.field(name)?;
        let words = self.words(name);
        let index = words.iter().position(|other| other == word)?;
        let range = if let Some(next) = words.get(index + 1) {
            word.range.start..next.range.start
        } else if let Some(before) = index.checked_sub(1).and_then(|before| words.get(before)) {
            before.range.end..word.range.end
        } else {
            let end = (offset(self.text, field.value) + field.value.len()).max(word.range.end);
            let end = self.text.get(end..)?.find('\n').map_or(self.text.len(), |more| end + more + 1);
            self.name_range(field).start..end
        };
        let goes = self.text.get(range.clone())?;
        (!goes.contains('#')).then(|| Edit::Replace { range, text: String::new() })
    }
}

impl Value {
    /// Pieces between separators, without blanks around them; empty ones are left out.
    pub(crate) fn split(&self, separates: impl Fn(char) -> bool) -> Vec<Word> {
        let mut words = Vec::new();
        let mut at = 0;
        for piece in self.text.split_inclusive(&separates) {
            let body = piece.trim_end_matches(&separates).trim();
            let start = at + (piece.len() - piece.trim_start().len());
            at += piece.len();
            if body.is_empty() || body.chars().all(&separates) {
                continue;
            }
            if let Some(range) = self.range(start..start + body.len()) {
                words.push(Word { text: body.to_owned(), range });
            }
        }
        words
    }

    /// Bytes of the file for bytes of the text.
    pub(crate) fn range(&self, range: Range<usize>) -> Option<Range<usize>> {
        let first = self.offsets.get(range.start)?;
        let last = self.offsets.get(range.end.checked_sub(1)?)?;
        Some(*first..last + 1)
    }

    /// Bytes of the file for all of the text, without blanks around it.
    pub(crate) fn whole(&self) -> Option<Range<usize>> {
        let start = self.text.len() - self.text.trim_start().len();
        self.range(start..start + self.text.trim().len())
    }

    /// Where a comma stands after this byte of the file, with blanks at most before it.
    fn comma_after(&self, end: usize) -> Option<usize> {
        let index = self.offsets.iter().position(|offset| *offset >= end)?;
        let rest = self.text.get(index..)?;
        rest.trim_start()
            .starts_with(',')
            .then(|| rest.len() - rest.trim_start().len() + index)
            .and_then(|index| self.offsets.get(index).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::apply;

    fn appended(text: &str, field: &str, word: &str) -> String {
        let control = Control::parse(text);
        let Edit::Replace { range, text: new } = control.stanzas[0].append(field, word) else { panic!("a mode") };
        apply(text, &[(range, &new)])
    }

    #[test]
    fn a_word_is_added_in_the_style_of_the_list() {
        for (before, after) in [
            ("Restrictions: a\nTests: t\n", "Restrictions: a, x\nTests: t\n"),
            ("Restrictions: a b\n", "Restrictions: a b x\n"),
            ("Restrictions: a, b,\n", "Restrictions: a, b, x,\n"),
            ("Restrictions:\n a,\n b,\n", "Restrictions:\n a,\n b,\n x,\n"),
            ("Restrictions: a,\n\tb\n", "Restrictions: a,\n\tb,\n\tx\n"),
            ("Restrictions: a # why\n", "Restrictions: a, x # why\n"),
            ("Restrictions: a, # why\n# more\n b\n", "Restrictions: a, # why\n# more\n b,\n x\n"),
            ("Restrictions:\nTests: t\n", "Restrictions: x\nTests: t\n"),
            ("Tests: t", "Tests: t\nRestrictions: x\n"),
            ("Tests: t\n# end\n\nTests: u\n", "Tests: t\nRestrictions: x\n# end\n\nTests: u\n"),
            ("Tests: t\r\nDepends: a\r\n", "Tests: t\r\nDepends: a\r\nRestrictions: x\r\n"),
        ] {
            assert_eq!(appended(before, "Restrictions", "x"), after);
        }
        assert_eq!(appended("Depends: a (>= 1) | b\n", "Depends", "c"), "Depends: a (>= 1) | b, c\n");
    }

    #[test]
    fn words_have_their_place_and_comments_are_left_out() {
        let text = "Tests: a, b # c\n# d\n e\n";
        let control = Control::parse(text);
        let words = control.stanzas[0].tests();
        let found: Vec<_> = words.iter().map(|word| (word.text.as_str(), &text[word.range.clone()])).collect();
        assert_eq!(found, [("a", "a"), ("b", "b"), ("e", "e")]);
    }

    #[test]
    fn a_word_is_removed_with_its_separator_or_the_field_with_it() {
        let removed = |text: &str| {
            let control = Control::parse(text);
            let stanza = &control.stanzas[0];
            let word = stanza.words("Restrictions").into_iter().find(|word| word.text == "x")?;
            let Edit::Replace { range, text: new } = stanza.remove("Restrictions", &word)? else { return None };
            Some(apply(text, &[(range, &new)]))
        };
        assert_eq!(removed("Restrictions: x, a\n").as_deref(), Some("Restrictions: a\n"));
        assert_eq!(removed("Restrictions: a, x\n").as_deref(), Some("Restrictions: a\n"));
        assert_eq!(removed("Tests: t\nRestrictions: x\nDepends: a\n").as_deref(), Some("Tests: t\nDepends: a\n"));
        assert_eq!(removed("Tests: t\nRestrictions: x\n ,\n").as_deref(), Some("Tests: t\n"));
        assert_eq!(removed("Restrictions: a,\n# why\n x\n"), None);
    }
}
