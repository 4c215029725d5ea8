//! [`Request`]: what the solver is asked for: relations, a base of packages, and options.

use super::refused::{RefusedPackage, help, refused};
use crate::index::{FieldError, Universe};
use advice::{Advise, Help};
use debian::relation::{Alternatives, RelationError, parse_one, parse_request};

/// Packages that are always installed, as in mmdebstrap's variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Base {
    /// None: only the requested packages.
    None,
    /// All packages with `Essential: yes`, on which others need not depend.
    #[default]
    Essential,
    /// The essential packages, and all with `Priority: required`.
    Required,
}

/// Request to the solver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Relations to satisfy: `rocminfo`, `rocminfo (>= 6.0)`, `rocminfo=6.1-1`, `a | b`.
    pub install: Vec<String>,
    /// Names of packages that must not be installed.
    pub exclude: Vec<String>,
    /// Packages that are always included.
    pub base: Base,
    /// Whether to add what chosen packages recommend, where possible.
    pub recommends: bool,
    /// Machine architecture, for example `amd64`.
    pub architecture: String,
}

impl Request {
    /// A request for `install` on amd64, with the essential packages and without recommended ones.
    pub fn new(install: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            install: install.into_iter().map(Into::into).collect(),
            exclude: Vec::new(),
            base: Base::default(),
            recommends: false,
            architecture: "amd64".to_owned(),
        }
    }

    /// All goals: the base first, then the requested packages. Unknown names are reported here, where similar names
    /// can be suggested.
    pub(super) fn goals(&self, universe: &Universe) -> Result<Vec<Goal>, SolveError> {
        let mut goals = Vec::new();
        let mut add = |ids: Vec<_>, kind| {
            for package in ids.into_iter().filter_map(|id| universe.get(id)) {
                if !self.exclude.iter().any(|name| name == package.name()) {
                    goals.push(Goal { kind, text: package.name().to_owned() });
                }
            }
        };
        if self.base != Base::None {
            add(universe.essential(), GoalKind::Essential);
        }
        if self.base == Base::Required {
            add(universe.required(), GoalKind::Required);
        }
        for text in &self.install {
            for relation in &alternatives(text)?.0 {
                let name = relation.name;
                if !universe.knows(name) {
                    let refused = refused(universe, &parse_one(name).map_err(SolveError::Request)?);
                    if !refused.is_empty() {
                        return Err(SolveError::NotTaken { name: name.to_owned(), refused });
                    }
                    let suggestions = universe.suggestions(name).into_iter().map(ToOwned::to_owned).collect();
                    let left_out = universe.why_left_out(name);
                    return Err(SolveError::UnknownPackage { name: name.to_owned(), left_out, suggestions });
                }
            }
            goals.push(Goal { kind: GoalKind::Requested, text: text.clone() });
        }
        Ok(goals)
    }
}

/// One relation to satisfy.
#[derive(Debug, Clone)]
pub(super) struct Goal {
    pub(super) kind: GoalKind,
    pub(super) text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GoalKind {
    Essential,
    Required,
    Requested,
}

impl Goal {
    pub(super) fn alternatives(&self) -> Result<Alternatives<'_>, SolveError> {
        alternatives(&self.text)
    }
}

pub(super) fn alternatives(text: &str) -> Result<Alternatives<'_>, SolveError> {
    parse_request(text).map_err(SolveError::Request)
}

/// Reason why there is no solution.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SolveError {
    /// A requested relation cannot be parsed.
    #[error("requested package {0}")]
    Request(#[source] RelationError),
    /// No package has or provides a requested name.
    #[error("there is no package {name} in the archive{left_out}{}", did_you_mean(suggestions))]
    UnknownPackage {
        /// Requested name.
        name: String,
        /// Why packages of this name were left out, in brackets; empty if there were none.
        left_out: String,
        /// Similar names, best first.
        suggestions: Vec<String>,
    },
    /// Only packages that are not taken have a requested name.
    #[error("{name} is not taken from any archive: {}", texts(refused))]
    NotTaken {
        /// Requested name.
        name: String,
        /// Who has it.
        refused: Vec<RefusedPackage>,
    },
    /// A field of a chosen package is broken.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// The requested packages cannot be installed together.
    #[error("the packages cannot be installed:\n  {}", chain.join("\n  "))]
    Unsolvable {
        /// Chain of requirements that leads to the conflict, one per line, indented by depth.
        chain: Vec<String>,
        /// Packages that would do and are not taken.
        refused: Vec<RefusedPackage>,
    },
}

impl Advise for SolveError {
    fn help(&self) -> Help {
        match self {
            Self::Unsolvable { refused, .. } | Self::NotTaken { refused, .. } => help(refused),
            _ => Help::none(),
        }
    }
}

fn texts(refused: &[RefusedPackage]) -> String {
    refused.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn did_you_mean(suggestions: &[String]) -> String {
    match suggestions {
        [] => String::new(),
        names => format!("; did you mean {}?", names.join(", ")),
    }
}
