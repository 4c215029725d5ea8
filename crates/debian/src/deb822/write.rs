//! Writes deb822 paragraphs.

use super::is_field_name;

/// Writes paragraphs such that [`parse`](super::parse) reads back the same fields.
#[derive(Debug, Clone, Default)]
pub struct Writer {
    text: String,
    open: bool,
}

/// A field that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// deb822(5) does not allow this name.
    #[error("{0:?} is not a field name")]
    Name(String),
    /// A line of a multiline value is empty, which would end the paragraph. Use a single dot instead.
    #[error("the value of {0} has an empty line: write \".\" there")]
    EmptyLine(String),
    /// A carriage return or another control character that no field may hold.
    #[error("the value of {0} has a control character")]
    Control(String),
}

impl Writer {
    /// An empty writer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field to the current paragraph. Lines of `value` after the first become continuation lines; an empty
    /// first line puts the value below the name.
    pub fn field(&mut self, name: &str, value: &str) -> Result<&mut Self, WriteError> {
        if !is_field_name(name) {
            return Err(WriteError::Name(name.to_owned()));
        }
        if value.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
            return Err(WriteError::Control(name.to_owned()));
        }
        let mut lines = value.split('\n');
        let first = lines.next().unwrap_or_default().trim();
        let mut text = format!("{name}:");
        if !first.is_empty() {
            text.push(' ');
            text.push_str(first);
        }
        text.push('\n');
        for line in lines {
            let line = line.trim();
            if line.is_empty() {
                return Err(WriteError::EmptyLine(name.to_owned()));
            }
            text.push(' ');
            text.push_str(line);
            text.push('\n');
        }
        self.text.push_str(&text);
        self.open = true;
        Ok(self)
    }

    /// Ends the current paragraph, if it has fields.
    pub fn end_paragraph(&mut self) -> &mut Self {
        if self.open {
            self.text.push('\n');
            self.open = false;
        }
        self
    }

    /// Returns the text.
    pub fn finish(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deb822::{Comments, parse};
    use proptest::prelude::*;

    #[test]
    fn a_paragraph_as_dpkg_writes_it() {
        let mut writer = Writer::new();
        writer.field("Package", "a").unwrap().field("Conffiles", "\n/etc/a 1234").unwrap().end_paragraph();
        assert_eq!(writer.finish(), "Package: a\nConffiles:\n /etc/a 1234\n\n");
        assert_eq!(Writer::new().field("A", "1\n\n2").unwrap_err(), WriteError::EmptyLine("A".into()));
        assert_eq!(Writer::new().field("A:", "1").unwrap_err(), WriteError::Name("A:".into()));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            paragraphs in prop::collection::vec(prop::collection::btree_map("[a-z]{1,8}", "[!-~]{0,9}(\n[!-~]{1,9}){0,3}", 1..5), 0..5)
        ) {
            let mut writer = Writer::new();
            for paragraph in &paragraphs {
                for (name, value) in paragraph {
                    writer.field(name, value).unwrap();
                }
                writer.end_paragraph();
            }
            let text = writer.finish();
            let read = parse(text.as_bytes(), Comments::Forbidden).unwrap();
            prop_assert_eq!(read.len(), paragraphs.len());
            for (read, written) in read.iter().zip(&paragraphs) {
                prop_assert_eq!(read.fields().len(), written.len());
                for (name, value) in written {
                    let lines: Vec<_> = read.field(name).unwrap().lines().collect();
                    // An empty first line and a value on one line below the name are the same value.
                    let written: Vec<_> = value.split('\n').skip_while(|line| line.is_empty()).collect();
                    let lines: Vec<_> = lines.into_iter().skip_while(|line| line.is_empty()).collect();
                    prop_assert_eq!(lines, written);
                }
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[A-Za-z:# \t\r\n.-]{0,80}") {
            for comments in [Comments::Allowed, Comments::Forbidden] {
                if let Ok(paragraphs) = parse(text.as_bytes(), comments) {
                    prop_assert!(paragraphs.iter().all(|paragraph| !paragraph.fields().is_empty()));
                }
            }
        }
    }
}
