//! Order of the test programs: long ones first, so that none runs alone at the end.

use super::program::Program;

/// Programs that take more than half a minute, longest first.
const LONG: [&str; 21] = [
    "appliance",
    "worker",
    "netboot",
    "debci",
    "packages",
    "stick",
    "interrupted",
    "flash",
    "docs",
    "same_twice",
    "boot",
    "virtual_machine",
    "local",
    "elsewhere",
    "simulate",
    // With unit tests:
    "agent",
    "hub/hub",
    "hub/browser",
    "testbed/server",
    "hub",
    "rocbed",
];

pub(super) fn sort(programs: &mut [Program]) {
    programs.sort_by_key(|program| (place(&program.name), program.name.clone()));
}

/// Position of a program in the order of starts.
fn place(program: &str) -> usize {
    LONG.iter().position(|name| *name == program).unwrap_or(LONG.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_programs_are_first() {
        let mut names = ["image", "stick", "appliance", "archive"];
        names.sort_by_key(|name| (place(name), *name));
        assert_eq!(names, ["appliance", "stick", "archive", "image"]);
    }
}
