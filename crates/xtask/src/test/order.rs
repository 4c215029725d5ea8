//! Order of the test programs: long ones first, so that none runs alone at the end.

use super::program::{Kind, Program};

/// End-to-end programs that take more than half a minute, longest first.
const END_TO_END: [&str; 18] = [
    "appliance",
    "debci",
    "worker",
    "packages",
    "netboot",
    "docs",
    "stick",
    "local",
    "flash",
    "boot",
    "same_as_dpkg",
    "virtual_machine",
    "elsewhere",
    "same_twice",
    "bisect",
    "interrupted",
    "container",
    "simulate",
];

/// Programs with unit tests that take more than ten seconds, longest first.
const UNITS: [&str; 6] = ["hub/hub", "hub/browser", "agent", "testbed/server", "documentation", "hub"];

pub(super) fn sort(programs: &mut [Program]) {
    programs.sort_by_key(|program| (place(program.kind, &program.name), program.name.clone()));
}

/// Position of a program in the order of starts.
fn place(kind: Kind, program: &str) -> usize {
    let long: &[&str] = match kind {
        Kind::EndToEnd => &END_TO_END,
        Kind::Unit => &UNITS,
    };
    long.iter().position(|name| *name == program).unwrap_or(long.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_programs_are_first() {
        let mut names = ["image", "stick", "appliance", "archive"];
        names.sort_by_key(|name| (place(Kind::EndToEnd, name), *name));
        assert_eq!(names, ["appliance", "stick", "archive", "image"]);
    }
}
