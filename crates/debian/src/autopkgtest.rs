//! What autopkgtest reads in `debian/tests/control` (README.package-tests of autopkgtest 6.0; `testdesc.py` decides
//! where the text leaves something open).

/// Fields that a stanza may have. Any other makes autopkgtest skip the whole stanza.
pub const FIELDS: [&str; 8] =
    ["Tests", "Test-Command", "Restrictions", "Features", "Depends", "Tests-Directory", "Classes", "Architecture"];

/// Restrictions that autopkgtest knows. A test with any other is skipped.
pub const RESTRICTIONS: [&str; 16] = [
    "allow-stderr",
    "breaks-testbed",
    "build-needed",
    "flaky",
    "isolation-container",
    "isolation-machine",
    "needs-internet",
    "needs-reboot",
    "needs-recommends",
    "needs-root",
    "needs-sudo",
    "rw-build-tree",
    "skip-foreign-architecture",
    "skip-not-installable",
    "skippable",
    "superficial",
];

/// Documented for a stanza that is never run and only adds to `Testsuite-Triggers`. autopkgtest skips it because it
/// does not know the word, which is what the author wants.
pub const HINT_TRIGGERS: &str = "hint-testsuite-triggers";

/// The text of a line as autopkgtest reads it: up to the first `#`, wherever that stands.
pub fn without_comment(line: &str) -> &str {
    line.split_once('#').map_or(line, |(text, _)| text)
}

/// The words of a list such as `Tests`, `Restrictions` or `Classes`, which are separated by commas and blanks. Text
/// from a `#` to the end of its line is left out.
pub fn words(value: &str) -> impl Iterator<Item = &str> {
    let separator = |char: char| char == ',' || char.is_whitespace();
    value.split('\n').flat_map(move |line| without_comment(line).split(separator)).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_commas_blanks_lines_and_comments() {
        let value = "\n a,b # not c\n# d\n\te ,\n";
        assert_eq!(words(value).collect::<Vec<_>>(), ["a", "b", "e"]);
        assert_eq!(words("").count(), 0);
    }
}
