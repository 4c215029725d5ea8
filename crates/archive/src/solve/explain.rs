//! Explains in words why there is no solution.

use super::provider::Provider;
use super::refused::{RefusedPackage, refused};
use super::request::SolveError;
use crate::index::MultiArch;
use debian::relation::{Relation, parse};
use resolvo::{
    Interner, Requirement, SolvableId, Solver,
    conflict::{Conflict, ConflictCause, ConflictEdge, ConflictGraph, ConflictNode},
};
use std::collections::HashSet;

/// Maximum number of lines: enough for every real case, and still readable.
const MOST_LINES: usize = 40;

/// Maximum depth, far below what the stack holds.
const DEEPEST: usize = 200;

/// The error: lines that lead from the request to what cannot be satisfied, and what is not taken that would do.
pub(super) fn explain(conflict: &Conflict, solver: &Solver<Provider<'_>>) -> SolveError {
    let graph = conflict.graph(solver);
    let root = graph.root_node.index();
    let mut teller =
        Teller { graph, provider: solver.provider(), told: HashSet::new(), lines: Vec::new(), refused: Vec::new() };
    teller.node(root, 0);
    if teller.lines.len() > MOST_LINES {
        let more = teller.lines.len() - MOST_LINES;
        teller.lines.truncate(MOST_LINES);
        teller.lines.push(format!("... and {more} more"));
    }
    SolveError::Unsolvable { chain: teller.lines, refused: teller.refused }
}

struct Teller<'a> {
    graph: ConflictGraph<SolvableId>,
    provider: &'a Provider<'a>,
    told: HashSet<usize>,
    lines: Vec<String>,
    refused: Vec<RefusedPackage>,
}

impl Teller<'_> {
    fn node(&mut self, node: usize, depth: usize) {
        if depth > DEEPEST || !self.told.insert(node) {
            return;
        }
        let name = self.describe(node);
        let mut edges: Vec<(ConflictEdge<SolvableId>, usize)> = self
            .graph
            .graph
            .raw_edges()
            .iter()
            .filter(|edge| edge.source().index() == node)
            .map(|edge| (edge.weight, edge.target().index()))
            .collect();
        // Numbers were assigned in the order of the request and the fields.
        edges.sort_unstable();
        let mut before: Option<Requirement> = None;
        for (edge, target) in edges {
            match edge {
                ConflictEdge::Requires(requirement) => {
                    let repeated = before.replace(requirement) == Some(requirement);
                    if !repeated {
                        let text = self.provider.requirement_text(requirement);
                        let unmet = matches!(self.weight(target), Some(ConflictNode::UnresolvedDependency));
                        let end = if unmet { self.availability(&text) } else { String::new() };
                        self.line(depth, &format!("{name} needs {text}{end}"));
                    }
                    self.node(target, depth + 1);
                }
                ConflictEdge::Conflict(cause) => {
                    let other = self.describe(target);
                    let text = match cause {
                        ConflictCause::Constrains(set) => {
                            format!("{name} {}: {other}", self.provider.constraint_text(set))
                        }
                        ConflictCause::ForbidMultipleInstances => {
                            format!("{name} and {other} cannot be installed at the same time")
                        }
                        ConflictCause::Excluded => format!("{name} is not possible: {other}"),
                        ConflictCause::Locked(_) => format!("{name} is held at another version than {other}"),
                    };
                    self.line(depth, &text);
                }
            }
        }
    }

    fn line(&mut self, depth: usize, text: &str) {
        self.lines.push(format!("{}{text}", "  ".repeat(depth.min(20))));
    }

    fn weight(&self, node: usize) -> Option<ConflictNode<SolvableId>> {
        self.graph.graph.raw_nodes().get(node).map(|node| node.weight)
    }

    fn describe(&self, node: usize) -> String {
        match self.weight(node) {
            Some(ConflictNode::Solvable(id)) => self.provider.display_solvable(id).to_string(),
            Some(ConflictNode::Excluded(why)) => self.provider.display_string(why).to_string(),
            Some(ConflictNode::UnresolvedDependency) => "nothing".to_owned(),
            Some(ConflictNode::Root) | None => "the request".to_owned(),
        }
    }

    /// Packages that the archive has for `relations`.
    fn availability(&mut self, relations: &str) -> String {
        let universe = self.provider.universe;
        let Ok(relations) = parse(relations) else { return ", which cannot be read".to_owned() };
        let names: Vec<&Relation<'_>> = relations.0.iter().flat_map(|item| &item.0).collect();
        let mut has: Vec<String> = Vec::new();
        for relation in &names {
            has.extend(universe.candidates(relation.name).into_iter().map(|id| {
                let allowed = universe.get(id).is_some_and(|package| package.multi_arch() == MultiArch::Allowed);
                let why = if relation.qualifier == Some("any") && !allowed { ", not Multi-Arch: allowed" } else { "" };
                format!("{}{why}", universe.describe(id))
            }));
            for (id, version) in universe.providers(relation.name) {
                let package = universe.describe(id);
                let version = version.map_or(String::new(), |version| format!(" (= {version})"));
                has.push(format!("{package} providing {}{version}", relation.name));
            }
        }
        has.dedup();
        has.truncate(5);
        let not_taken: Vec<RefusedPackage> = names.iter().flat_map(|relation| refused(universe, relation)).collect();
        let told: Vec<String> = not_taken.iter().map(ToString::to_string).collect();
        self.refused.extend(not_taken);
        let end = if told.is_empty() { String::new() } else { format!("; not taken: {}", told.join(", ")) };
        let left_out: String = names.iter().map(|relation| universe.why_left_out(relation.name)).collect();
        let end = format!("{left_out}{end}");
        match has.as_slice() {
            [] if !told.is_empty() => end,
            [] if names.len() == 1 => format!(", which is not in the archive{left_out}"),
            [] => format!(", none of which is in the archive{left_out}"),
            has => format!(", but the archive has {}{end}", has.join(", ")),
        }
    }
}
