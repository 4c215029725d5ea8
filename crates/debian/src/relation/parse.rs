//! Parses relations: a whole field, one item of it, or a user's request on a command line.

use super::{Alternatives, Operator, Relation, Relations, Term};
use crate::version::{Version, VersionError};

/// Syntax error in a relation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RelationError {
    /// A package name is missing.
    #[error("{text:?}: a package name is missing")]
    NoName {
        /// Text of the relation.
        text: String,
    },
    /// A name with a character that Debian Policy 5.6.7 does not allow.
    #[error("{text:?}: {name:?} is not a package name (lower case letters, digits, \"+\", \"-\", \".\")")]
    BadName {
        /// Text of the relation.
        text: String,
        /// The invalid name.
        name: String,
    },
    /// A bracket is not closed.
    #[error("{text:?}: {bracket:?} is missing")]
    Unclosed {
        /// Text of the relation.
        text: String,
        /// The missing bracket.
        bracket: char,
    },
    /// There is text after the end of a relation.
    #[error("{text:?}: did not expect {found:?}")]
    Trailing {
        /// Text of the relation.
        text: String,
        /// Text after the end.
        found: String,
    },
    /// The operator is none of `<<`, `<=`, `=`, `>=`, `>>`.
    #[error("{text:?}: expected \"<<\", \"<=\", \"=\", \">=\" or \">>\" and a version")]
    Operator {
        /// Text of the relation.
        text: String,
    },
    /// The version is not valid.
    #[error("{text:?}: {error}")]
    Version {
        /// Text of the relation.
        text: String,
        /// The cause.
        #[source]
        error: VersionError,
    },
    /// A list of architectures or profiles is empty or has invalid words.
    #[error("{text:?}: an empty or malformed list in brackets")]
    List {
        /// Text of the relation.
        text: String,
    },
}

/// Parses a whole field: `a (>= 1) | b, c`. Empty items, such as after a trailing comma, are skipped.
pub fn parse(field: &str) -> Result<Relations<'_>, RelationError> {
    let items = field.split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(parse_alternatives).collect::<Result<_, _>>().map(Relations)
}

/// Parses one item between commas.
fn parse_alternatives(item: &str) -> Result<Alternatives<'_>, RelationError> {
    item.split('|').map(parse_one).collect::<Result<_, _>>().map(Alternatives)
}

/// Parses a user's request: alternatives as in a field, or apt's command line syntax, `name=version` and
/// `name:arch=version`.
pub fn parse_request(text: &str) -> Result<Alternatives<'_>, RelationError> {
    match text.split_once('=') {
        Some((name, version)) if !text.contains(['(', '|', ' ']) => {
            let mut relation = parse_one(name)?;
            let version = checked_version(text, version)?;
            relation.version = Some((Operator::Equal, version));
            Ok(Alternatives(vec![relation]))
        }
        _ if text.contains(',') => Err(trailing(text, ",")),
        _ => parse_alternatives(text),
    }
}

/// Parses one relation without alternatives.
pub fn parse_one(text: &str) -> Result<Relation<'_>, RelationError> {
    let text = text.trim();
    let end = text.find(|c: char| c.is_whitespace() || "([<".contains(c)).unwrap_or(text.len());
    let (full, mut rest) = text.split_at(end);
    let (name, qualifier) = match full.split_once(':') {
        Some((name, qualifier)) => (name, Some(qualifier)),
        None => (full, None),
    };
    if name.is_empty() {
        return Err(RelationError::NoName { text: shorten(text) });
    }
    if !is_package_name(name) {
        return Err(RelationError::BadName { text: shorten(text), name: shorten(name) });
    }
    if qualifier.is_some_and(|qualifier| !is_architecture(qualifier)) {
        return Err(trailing(text, full.get(name.len()..).unwrap_or_default()));
    }
    let mut relation = Relation { name, qualifier, version: None, architectures: Vec::new(), profiles: Vec::new() };
    rest = rest.trim_start();
    if let Some(after) = rest.strip_prefix('(') {
        let (inside, after) = close(text, after, ')')?;
        relation.version = Some(parse_version(text, inside)?);
        rest = after;
    }
    if let Some(after) = rest.strip_prefix('[') {
        let (inside, after) = close(text, after, ']')?;
        relation.architectures = parse_terms(text, inside)?;
        rest = after;
    }
    while let Some(after) = rest.strip_prefix('<') {
        let (inside, after) = close(text, after, '>')?;
        relation.profiles.push(parse_terms(text, inside)?);
        rest = after;
    }
    if rest.is_empty() { Ok(relation) } else { Err(trailing(text, rest)) }
}

fn close<'a>(text: &str, rest: &'a str, bracket: char) -> Result<(&'a str, &'a str), RelationError> {
    let (inside, after) =
        rest.split_once(bracket).ok_or_else(|| RelationError::Unclosed { text: shorten(text), bracket })?;
    Ok((inside.trim(), after.trim_start()))
}

fn parse_version<'a>(text: &str, inside: &'a str) -> Result<(Operator, &'a str), RelationError> {
    let end = inside.find(|c| !"<=>".contains(c)).unwrap_or(inside.len());
    let (operator, version) = inside.split_at(end);
    let operator = match operator {
        "<<" => Operator::Earlier,
        // A lone "<" has always meant "<=" to dpkg, and old packages use it.
        "<=" | "<" => Operator::EarlierOrEqual,
        // Without one dpkg and apt take it for "=".
        "=" => Operator::Equal,
        "" if !version.is_empty() => Operator::Equal,
        ">=" | ">" => Operator::LaterOrEqual,
        ">>" => Operator::Later,
        _ => return Err(RelationError::Operator { text: shorten(text) }),
    };
    Ok((operator, checked_version(text, version.trim())?))
}

fn checked_version<'a>(text: &str, version: &'a str) -> Result<&'a str, RelationError> {
    match Version::parse(version) {
        Ok(_) => Ok(version),
        Err(error) => Err(RelationError::Version { text: shorten(text), error }),
    }
}

fn parse_terms<'a>(text: &str, inside: &'a str) -> Result<Vec<Term<'a>>, RelationError> {
    let term = |word: &'a str| match word.strip_prefix('!') {
        Some(name) => Term { negated: true, name },
        None => Term { negated: false, name: word },
    };
    let terms: Vec<_> = inside.split_whitespace().map(term).collect();
    let fine =
        |term: &Term<'_>| !term.name.is_empty() && term.name.bytes().all(|byte| is_name_byte(byte) || byte == b'_');
    if terms.is_empty() || !terms.iter().all(fine) {
        return Err(RelationError::List { text: shorten(text) });
    }
    Ok(terms)
}

/// Whether this is a valid package name (Debian Policy 5.6.7). Also accepts names of one character, and upper case and
/// underscores, which foreign archives use.
pub fn is_package_name(name: &str) -> bool {
    name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        && name.bytes().all(|byte| is_name_byte(byte) || byte == b'_')
}

fn is_architecture(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)
}

fn trailing(text: &str, found: &str) -> RelationError {
    RelationError::Trailing { text: shorten(text), found: shorten(found) }
}

/// Shortens text, so that messages stay readable however long the field is.
fn shorten(text: &str) -> String {
    text.chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn everything_at_once() {
        let text = "a:any (>= 1:2.0-1) [amd64 arm64] <!nocheck> <cross stage1> | b, c (<< 3)";
        let relations = parse(text).unwrap();
        assert_eq!(relations.to_string(), text);
        let first = &relations.0[0].0[0];
        assert_eq!((first.name, first.qualifier), ("a", Some("any")));
        assert_eq!(first.version, Some((Operator::LaterOrEqual, "1:2.0-1")));
        assert_eq!(relations.0[0].0.len(), 2);
    }

    #[test]
    fn loose_writing_is_read() {
        assert_eq!(parse("a(>=1)|b ,\n c,").unwrap().to_string(), "a (>= 1) | b, c");
        assert_eq!(parse("").unwrap(), Relations::default());
        assert_eq!(parse_one("a (< 1)").unwrap().to_string(), "a (<= 1)");
        assert_eq!(parse_one("a (2.0)").unwrap().to_string(), "a (= 2.0)");
    }

    #[test]
    fn requests_as_users_write_them() {
        assert_eq!(parse_request("rocminfo=6.1-1").unwrap().to_string(), "rocminfo (= 6.1-1)");
        assert_eq!(parse_request("rocminfo (>= 6.0)").unwrap().to_string(), "rocminfo (>= 6.0)");
        assert_eq!(parse_request("a | b").unwrap().to_string(), "a | b");
        assert_eq!(parse_request("libc6:amd64=2.41-1").unwrap().to_string(), "libc6:amd64 (= 2.41-1)");
        assert!(parse_request("a, b").is_err());
        assert!(parse_request("a=").is_err());
    }

    #[test]
    fn mistakes_are_named() {
        for (text, message) in [
            ("a |", "\"\": a package name is missing"),
            ("A!", "\"A!\": \"A!\" is not a package name (lower case letters, digits, \"+\", \"-\", \".\")"),
            ("a (>= 1", "\"a (>= 1\": ')' is missing"),
            ("a ()", "\"a ()\": expected \"<<\", \"<=\", \"=\", \">=\" or \">>\" and a version"),
            ("a (=> 1)", "\"a (=> 1)\": expected \"<<\", \"<=\", \"=\", \">=\" or \">>\" and a version"),
            ("a b", "\"a b\": did not expect \"b\""),
            ("a []", "\"a []\": an empty or malformed list in brackets"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), message);
        }
    }

    proptest! {
        #[test]
        fn display_is_read_back(
            text in "[a-z][a-z0-9+.-]{1,5}(:any)?( \\((<<|<=|=|>=|>>) [0-9]{1,3}\\))?( \\[!?[a-z]{3}\\])?( <!?[a-z]{2}( [a-z]{2})?>){0,2}"
        ) {
            let relation = parse_one(&text).unwrap();
            prop_assert_eq!(relation.to_string(), text.clone());
            let shown = relation.to_string();
            prop_assert_eq!(parse_one(&shown).unwrap(), relation);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[a-b(<>=) \\[\\]|,:!1~é]{0,30}") {
            if let Ok(relations) = parse(&text) {
                let shown = relations.to_string();
                prop_assert_eq!(parse(&shown).unwrap(), relations);
            }
        }
    }
}
