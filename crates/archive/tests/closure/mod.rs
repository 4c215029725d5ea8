//! Independent check of a set of packages, which shares no matching code with the solver: it compares every relation
//! with every package.

use archive::index::{FieldError, MultiArch, Package};
use debian::relation::{Relation, parse};
use std::fmt;

/// A violation of the rules by a set of packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// A relation that no package in the set satisfies.
    Unmet {
        /// Package with the relation.
        package: String,
        /// `Depends` or `Pre-Depends`.
        field: &'static str,
        /// The relation.
        relation: String,
    },
    /// A package that another one in the set forbids.
    Conflict {
        /// Package with the relation.
        package: String,
        /// `Conflicts` or `Breaks`.
        field: &'static str,
        /// The relation.
        relation: String,
        /// The forbidden package.
        other: String,
    },
    /// Two versions of one package are in the set.
    TwoVersions {
        /// One of them.
        package: String,
        /// The other one.
        other: String,
    },
    /// A field that cannot be read.
    Field(FieldError),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unmet { package, field, relation } => write!(f, "{package}: {field}: {relation} is not met"),
            Self::Conflict { package, field, relation, other } => {
                write!(f, "{package}: {field}: {relation} hits {other}")
            }
            Self::TwoVersions { package, other } => write!(f, "both {package} and {other}"),
            Self::Field(error) => error.fmt(f),
        }
    }
}

/// All violations of Debian Policy 7 that keep `packages` from being installed together on `architecture`.
pub fn check_closure(packages: &[Package<'_>], architecture: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (index, package) in packages.iter().enumerate() {
        for other in packages.iter().skip(index + 1).filter(|other| other.name() == package.name()) {
            violations.push(Violation::TwoVersions { package: package.to_string(), other: other.to_string() });
        }
        for field in ["Pre-Depends", "Depends"] {
            let items = match package.relations(field) {
                Ok(items) => items.0,
                Err(error) => {
                    violations.push(Violation::Field(error));
                    continue;
                }
            };
            for item in items {
                let mut counting = item.0.iter().filter(|relation| relation.applies_to(architecture)).peekable();
                let satisfied = |relation: &Relation<'_>| {
                    packages.iter().any(|other| is_meant(other, relation) && qualified(other, relation, architecture))
                };
                if counting.peek().is_some() && !counting.any(satisfied) {
                    violations.push(Violation::Unmet {
                        package: package.to_string(),
                        field,
                        relation: item.to_string(),
                    });
                }
            }
        }
        for field in ["Conflicts", "Breaks"] {
            let items = match package.relations(field) {
                Ok(items) => items.0,
                Err(error) => {
                    violations.push(Violation::Field(error));
                    continue;
                }
            };
            let counts = |relation: &&Relation<'_>| {
                relation.applies_to(architecture) && relation.means_architecture(architecture)
            };
            for relation in items.iter().flat_map(|item| &item.0).filter(counts) {
                let hit = |other: &&Package<'_>| other.name() != package.name() && is_meant(other, relation);
                for other in packages.iter().filter(hit) {
                    violations.push(Violation::Conflict {
                        package: package.to_string(),
                        field,
                        relation: relation.to_string(),
                        other: other.to_string(),
                    });
                }
            }
        }
    }
    violations
}

fn is_meant(package: &Package<'_>, relation: &Relation<'_>) -> bool {
    if package.name() == relation.name && relation.accepts_version(package.version()) {
        return true;
    }
    // A Provides field that does not parse provides nothing.
    let provides = parse(package.field("Provides").unwrap_or_default()).unwrap_or_default();
    provides.0.iter().flat_map(|item| &item.0).filter(|provided| provided.name == relation.name).any(|provided| {
        match provided.version {
            Some((_, version)) => relation.accepts_version(version),
            None => relation.version.is_none(),
        }
    })
}

fn qualified(package: &Package<'_>, relation: &Relation<'_>, architecture: &str) -> bool {
    match relation.qualifier {
        Some("any") => package.multi_arch() == MultiArch::Allowed,
        Some("native") | None => true,
        Some(other) => other == architecture,
    }
}
