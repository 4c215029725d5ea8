//! Relations between packages: `libc6 (>= 2.38), default-mta | mail-transport-agent`. Debian Policy 7.1,
//! deb-control(5), deb-src-control(5).

mod parse;

use crate::version::compare;
use std::{cmp::Ordering, fmt};

pub use parse::is_package_name;
pub use parse::{RelationError, parse, parse_one, parse_request};

/// Comparison operator of a versioned relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operator {
    /// `<<`, strictly earlier.
    Earlier,
    /// `<=`, earlier or equal.
    EarlierOrEqual,
    /// `=`, equal.
    Equal,
    /// `>=`, later or equal.
    LaterOrEqual,
    /// `>>`, strictly later.
    Later,
}

impl Operator {
    /// Whether `version` OPERATOR `wanted` holds.
    pub fn holds(self, version: &str, wanted: &str) -> bool {
        let order = compare(version, wanted);
        match self {
            Self::Earlier => order == Ordering::Less,
            Self::EarlierOrEqual => order != Ordering::Greater,
            Self::Equal => order == Ordering::Equal,
            Self::LaterOrEqual => order != Ordering::Less,
            Self::Later => order == Ordering::Greater,
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Earlier => "<<",
            Self::EarlierOrEqual => "<=",
            Self::Equal => "=",
            Self::LaterOrEqual => ">=",
            Self::Later => ">>",
        })
    }
}

/// An architecture or build profile, optionally negated: `!i386`, `nocheck`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Term<'a> {
    /// Whether it is written with `!`.
    pub negated: bool,
    /// Architecture or build profile.
    pub name: &'a str,
}

impl fmt::Display for Term<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.negated { "!" } else { "" }, self.name)
    }
}

/// Relation to one package, with all its restrictions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Relation<'a> {
    /// Package name, real or virtual.
    pub name: &'a str,
    /// Architecture qualifier after the name: `any`, `native` or an architecture.
    pub qualifier: Option<&'a str>,
    /// Version restriction.
    pub version: Option<(Operator, &'a str)>,
    /// Architecture restriction, `[amd64 !i386]`: architectures for which the relation counts.
    pub architectures: Vec<Term<'a>>,
    /// Build profile restriction, `<!nocheck> <cross stage1>`: any of the lists, all terms of a list.
    pub profiles: Vec<Vec<Term<'a>>>,
}

impl Relation<'_> {
    /// Whether `version` satisfies the version restriction.
    pub fn accepts_version(&self, version: &str) -> bool {
        self.version.is_none_or(|(operator, wanted)| operator.holds(version, wanted))
    }

    /// Whether the qualifier includes packages of `architecture`: `name:i386` means only those of i386
    /// (deb-control(5), Conflicts and Breaks).
    pub fn means_architecture(&self, architecture: &str) -> bool {
        self.qualifier.is_none_or(|wanted| matches!(wanted, "any" | "native") || wanted == architecture)
    }

    /// Whether the relation applies on `architecture` by its architecture restriction. Supports the wildcards `any`,
    /// `linux-any` and `any-CPU` for architectures that are named like their CPU, such as amd64 (Debian Policy 11.1).
    pub fn applies_to(&self, architecture: &str) -> bool {
        let matches = |term: &Term<'_>| {
            term.name == architecture
                || matches!(term.name, "any" | "linux-any")
                || term.name.strip_prefix("any-") == Some(architecture)
                || term.name.strip_prefix("linux-") == Some(architecture)
        };
        // Policy 7.1 requires all terms or none to be negated; a mix is interpreted as dpkg does.
        let mut applies = self.architectures.is_empty();
        for term in &self.architectures {
            match (matches(term), term.negated) {
                (true, negated) => return !negated,
                (false, true) => applies = true,
                (false, false) => {}
            }
        }
        applies
    }

    /// Whether the relation applies by its build profile restriction when `profiles` are active.
    pub fn applies_with_profiles(&self, profiles: &[&str]) -> bool {
        let holds = |term: &Term<'_>| profiles.contains(&term.name) != term.negated;
        self.profiles.is_empty() || self.profiles.iter().any(|list| list.iter().all(holds))
    }
}

impl fmt::Display for Relation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        if let Some(qualifier) = self.qualifier {
            write!(f, ":{qualifier}")?;
        }
        if let Some((operator, version)) = self.version {
            write!(f, " ({operator} {version})")?;
        }
        if !self.architectures.is_empty() {
            write!(f, " [{}]", Spaced(&self.architectures))?;
        }
        for list in &self.profiles {
            write!(f, " <{}>", Spaced(list))?;
        }
        Ok(())
    }
}

struct Spaced<'a>(&'a [Term<'a>]);

impl fmt::Display for Spaced<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        separated(f, self.0, " ")
    }
}

/// Alternative relations, one of which is enough: `a | b`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Alternatives<'a>(pub Vec<Relation<'a>>);

impl fmt::Display for Alternatives<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        separated(f, &self.0, " | ")
    }
}

/// A whole relation field, all items of which must hold: `a | b, c`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Relations<'a>(pub Vec<Alternatives<'a>>);

impl fmt::Display for Relations<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        separated(f, &self.0, ", ")
    }
}

fn separated(f: &mut fmt::Formatter<'_>, items: &[impl fmt::Display], separator: &str) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(separator)?;
        }
        item.fmt(f)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared() {
        let relation = parse_one("a (>= 1.0)").unwrap();
        assert!(relation.accepts_version("1.0-1"));
        assert!(!relation.accepts_version("1.0~rc1"));
        assert!(parse_one("a").unwrap().accepts_version("0"));
        assert!(!parse_one("a (<< 2)").unwrap().accepts_version("2"));
        assert!(parse_one("a (<= 2)").unwrap().accepts_version("2"));
        assert!(!parse_one("a (>> 2)").unwrap().accepts_version("2"));
    }

    #[test]
    fn architecture_restrictions() {
        for (text, applies) in [
            ("a", true),
            ("a [amd64]", true),
            ("a [arm64 linux-any]", true),
            ("a [any-amd64]", true),
            ("a [arm64]", false),
            ("a [!amd64]", false),
            ("a [!i386 !arm64]", true),
            ("a [amd64 !i386]", true),
        ] {
            assert_eq!(parse_one(text).unwrap().applies_to("amd64"), applies, "{text}");
        }
    }

    #[test]
    fn build_profiles() {
        let relation = parse_one("a <!nocheck !cross> <stage1>").unwrap();
        assert!(relation.applies_with_profiles(&[]));
        assert!(!relation.applies_with_profiles(&["nocheck"]));
        assert!(relation.applies_with_profiles(&["nocheck", "stage1"]));
    }
}
