//! The control file of a binary package (deb-control(5)).

use super::DebError;
use crate::deb822::{Comments, Paragraphs};
use crate::relation::{self, Relations};

/// Relation fields that unpacking and configuring use (Debian Policy 7).
const RELATION_FIELDS: [&str; 3] = ["Pre-Depends", "Depends", "Replaces"];

/// A paragraph of fields, in their order and as written, including trailing blanks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Paragraph {
    fields: Vec<(String, String)>,
}

impl Paragraph {
    /// Parses the single paragraph of a `control` file. Continuation lines keep their leading blank. Invalid relations
    /// are an error here, so that [`Paragraph::relations`] cannot fail.
    pub fn parse(text: &str) -> Result<Self, DebError> {
        let wrong = |error: &dyn std::fmt::Display| DebError::Control(error.to_string());
        let mut paragraphs = Paragraphs::new(text, Comments::Forbidden);
        let paragraph = paragraphs.next().transpose().map_err(|error| wrong(&error))?.unwrap_or_default();
        if paragraphs.next().is_some() {
            return Err(DebError::Control("it has more than one paragraph".into()));
        }
        for name in RELATION_FIELDS {
            relation::parse(paragraph.get(name).unwrap_or_default())
                .map_err(|error| DebError::Control(format!("{name}: {error}")))?;
        }
        let fields = paragraph.fields().iter().map(|field| (field.name.to_owned(), field.raw.to_owned())).collect();
        Ok(Self { fields })
    }

    /// Value of a field without trailing blanks; names are case-insensitive.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_raw(name).map(str::trim_end)
    }

    /// Value of a field with trailing blanks, which dpkg keeps.
    pub fn get_raw(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All fields in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The relations in one of the fields `Pre-Depends`, `Depends` and `Replaces`; empty if the field is missing.
    pub fn relations(&self, name: &str) -> Relations<'_> {
        self.get(name).and_then(|value| relation::parse(value).ok()).unwrap_or_default()
    }
}
