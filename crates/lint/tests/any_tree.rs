//! Whatever is in a tree: nothing panics, places are in their files, and mending ends and leaves the rest alone.

use debian::deb822::{Comments, parse};
use lint::{Memory, Severity, check, fix};
use proptest::prelude::*;

/// Lines of control files, right and wrong ones, for many to be read to their end.
fn control() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        4 => "(Tests|Test-Command|Restrictions|Restriction|Features|Depends|Classes|Architecture|Tests-Directory): [a-z@, |#-]{0,20}",
        4 => prop::sample::select(vec![
            "Tests: a, b", "Restrictions: skippable", "Restrictions: needs-recommends", "Restrictions: alow-stderr,", "Classes: GFX1030",
            "Test-Command: rocm-test-launcher /usr/libexec/rocm/a-tests/run-tests", "Test-Command: /usr/libexec/rocm/a-tests/x-test # y",
            "Depends: @, a-tests,", "Features: test-name", "Architecture: amd64 !i386", "Test-Command: a --help", "Restrictions:", "Depends:",
        ]).prop_map(str::to_owned),
        2 => "[ \t][a-z, ]{0,9}",
        1 => "# ?[a-z0-9]{0,5}",
        2 => Just(String::new()),
        1 => ".{0,20}",
    ];
    let end = prop::sample::select(vec!["\n", "\n", "\n", "\r\n"]);
    (prop::collection::vec(line, 0..14), end).prop_map(|(lines, end)| lines.join(end) + end)
}

fn tree(control: &str, script: &str, source: &str) -> Memory {
    let mut tree = Memory::default();
    tree.add("debian/control", source)
        .add("debian/tests/control", control)
        .add("debian/tests/a", script)
        .add("debian/a-tests.install", script)
        .add("debian/bin/run-tests", script)
        .add(lint::OVERRIDES, script);
    tree
}

const SOURCE: &str = "Source: a\nMaintainer: ROCm Team\n\nPackage: a-tests\nArchitecture: amd64\n";

/// Fields of all stanzas, without those that edits change.
fn others(text: &str) -> Option<Vec<Vec<(String, String)>>> {
    let changed = ["depends", "restrictions", "features", "architecture", "classes", "test-command"];
    let stanzas = parse(text.as_bytes(), Comments::Allowed).ok()?;
    let kept = |name: &str| !changed.contains(&name) && ["tests", "tests-directory"].contains(&name);
    let fields = |stanza: &debian::deb822::Paragraph<'_>| {
        let pairs = stanza.fields().iter().map(|field| (field.name.to_ascii_lowercase(), field.value.to_owned()));
        pairs.filter(|(name, _)| kept(name)).collect::<Vec<_>>()
    };
    Some(stanzas.iter().map(fields).collect())
}

fn comments(text: &str) -> usize {
    text.matches('#').count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_text_is_checked(control: String, script: String, source: String) {
        let report = check(&tree(&control, &script, &source));
        for finding in &report.findings {
            prop_assert!(finding.start >= (1, 1) && finding.end >= finding.start);
            prop_assert!(finding.message.chars().all(safetext::is_printable), "{:?}", finding.message);
        }
        lint::sarif(&report);
    }

    #[test]
    fn mending_ends_and_keeps_what_it_is_not_about(control in control(), script in "(#!/bin/sh\r?\n)?[a-z /|$;\"'\n]{0,60}") {
        let mut tree = tree(&control, &script, SOURCE);
        for finding in &check(&tree).findings {
            if let (Some(range), Some(text)) = (&finding.range, tree.text(&finding.file)) {
                prop_assert!(text.get(range.clone()).is_some(), "{:?}", finding);
            }
        }
        fix(&mut tree, Severity::Note).map_err(|(file, error)| TestCaseError::fail(format!("{file}: {error}")))?;
        let mended = tree.text("debian/tests/control").unwrap_or_default().to_owned();
        prop_assert_eq!(others(&mended), others(&control), "{}", mended);
        prop_assert_eq!(comments(&mended), comments(&control), "{}", mended);
        let again = fix(&mut tree, Severity::Note).map_err(|(file, error)| TestCaseError::fail(format!("{file}: {error}")))?;
        prop_assert_eq!(again.files, Vec::<String>::new(), "{}", mended);
        prop_assert_eq!(tree.text("debian/tests/control"), Some(mended.as_str()));
    }
}
