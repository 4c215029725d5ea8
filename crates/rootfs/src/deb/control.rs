//! The control file and the relations in it (deb-control(5)).

use debversion::Version;

use super::DebError;

/// One paragraph of fields, in their order and as they are written, blanks at line ends included.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Paragraph {
    fields: Vec<(String, String)>,
}

impl Paragraph {
    /// Parses the one paragraph of a `control` file. Continuation lines keep their leading blank.
    pub fn parse(text: &str) -> Result<Self, DebError> {
        let mut fields: Vec<(String, String)> = Vec::new();
        let mut lines = text.lines().skip_while(|line| line.trim().is_empty());
        for line in lines.by_ref() {
            if line.trim().is_empty() {
                break;
            }
            if line.starts_with([' ', '\t']) {
                let Some((_, value)) = fields.last_mut() else {
                    return Err(DebError::Control("it begins with a continuation line".into()));
                };
                value.push('\n');
                value.push_str(line);
                continue;
            }
            let Some((name, value)) = line.split_once(':') else {
                return Err(DebError::Control(format!("the line {line:?} has no colon")));
            };
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(DebError::Control(format!("{name:?} is no field name")));
            }
            if fields.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                return Err(DebError::Control(format!("it has two {name} fields")));
            }
            fields.push((name.to_owned(), value.trim_start().to_owned()));
        }
        if lines.any(|line| !line.trim().is_empty()) {
            return Err(DebError::Control("it has more than one paragraph".into()));
        }
        Ok(Self { fields })
    }

    /// A field's value without blanks at its end; names are compared without regard to case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_raw(name).map(str::trim_end)
    }

    /// A field's value with the blanks at its end, which dpkg keeps.
    pub fn get_raw(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All fields in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// One possible package in a relation field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// The package's name, without an architecture qualifier.
    pub name: String,
    /// The operator (`<<`, `<=`, `=`, `>=`, `>>`) and the version it compares with.
    pub constraint: Option<(String, String)>,
}

impl Relation {
    /// Whether a package with this name and version is meant. A version that cannot be parsed satisfies nothing.
    pub fn matches(&self, name: &str, version: &str) -> bool {
        if self.name != name {
            return false;
        }
        let Some((operator, wanted)) = &self.constraint else { return true };
        let (Ok(version), Ok(wanted)) = (version.parse::<Version>(), wanted.parse::<Version>()) else { return false };
        match operator.as_str() {
            "<<" => version < wanted,
            "<=" | "<" => version <= wanted,
            "=" => version == wanted,
            ">=" | ">" => version >= wanted,
            ">>" => version > wanted,
            _ => false,
        }
    }
}

/// Parses a relation field: an `and` of `or`s (Policy 7.1). Architecture restrictions do not occur in binary packages.
pub fn relations(field: &str) -> Vec<Vec<Relation>> {
    field
        .split(',')
        .map(|alternatives| alternatives.split('|').filter_map(relation).collect::<Vec<_>>())
        .filter(|alternatives| !alternatives.is_empty())
        .collect()
}

fn relation(text: &str) -> Option<Relation> {
    let (name, rest) =
        text.trim().split_once('(').map_or((text.trim(), None), |(name, rest)| (name.trim(), Some(rest)));
    let name = name.split(':').next().unwrap_or_default();
    let constraint = rest.and_then(|rest| {
        let inner = rest.split(')').next().unwrap_or_default().trim();
        let digits = inner.find(|letter| !"<=>".contains(letter))?;
        let (operator, version) = inner.split_at(digits);
        Some((operator.to_owned(), version.trim().to_owned()))
    });
    (!name.is_empty()).then(|| Relation { name: name.to_owned(), constraint })
}
