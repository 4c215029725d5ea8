//! What autopkgtest reads in `debian/tests/control` (README.package-tests of autopkgtest 6.0; `testdesc.py` decides
//! where the text leaves something open).

use crate::deb822::{Comments, Paragraphs};

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

/// Whether the tests in a `debian/tests/control` may need packages that are not installed: tests without a `Depends` field
/// do. So does a file that cannot be read.
pub fn wants_packages(control: &[u8]) -> bool {
    let Ok(mut stanzas) = Paragraphs::from_bytes(control, Comments::Allowed) else { return true };
    stanzas.any(|stanza| {
        let Ok(stanza) = stanza else { return true };
        let value = |name| stanza.get(name).unwrap_or_default();
        stanza.field("Depends").is_none_or(|depends| depends.lines().any(|line| !line.is_empty()))
            || words(value("Restrictions")).any(|word| matches!(word, "build-needed" | "needs-sudo"))
    })
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

    #[test]
    fn tests_without_dependencies_need_no_packages() {
        for (control, wants) in [
            ("Tests: a\nDepends:\n", false),
            ("Tests: a\nDepends:\n\n# more\n\n\nTest-Command: true\nDepends: \n", false),
            ("Tests: a\n", true),
            ("Tests: a\nDepends: @\n", true),
            ("Tests: a\nDepends:\n @,\n gcc\n", true),
            ("Tests: a\nDepends:\n\nTests: b\n", true),
            ("Tests: a\nDepends:\nRestrictions: allow-stderr, build-needed\n", true),
            ("Tests: a\nDepends:\nDepends: gcc\n", true),
            ("", false),
        ] {
            assert_eq!(wants_packages(control.as_bytes()), wants, "{control:?}");
        }
        assert!(wants_packages(b"Tests: \xff\nDepends:\n"));
    }

    proptest::proptest! {
        #[test]
        fn any_control_file_is_read(text in "(Tests|Depends|Restrictions|:| |\\n|a|#|\\PC){0,40}") {
            wants_packages(text.as_bytes());
        }
    }
}
