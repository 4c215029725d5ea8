//! The choices of the solver, and its messages when there is no solution.

use archive::{
    index::{IndexText, PackageId, Universe},
    solve::{Base, Reason, Request, Solution, SolveError, solve},
};

/// Makes an index. Each line is a package: name, version, then fields separated by semicolons.
fn universe(lines: &[&str]) -> Universe {
    let mut text = String::new();
    for line in lines {
        let mut parts = line.split(';').map(str::trim);
        let (name, version) = parts.next().unwrap().split_once(' ').unwrap();
        text.extend(["Package: ", name, "\nVersion: ", version, "\nArchitecture: amd64\n"]);
        for field in parts {
            text.push_str(field);
            text.push('\n');
        }
        text.push('\n');
    }
    let texts = vec![IndexText { archive: "sid".into(), component: "main".into(), text: text.into_bytes() }];
    Universe::new(texts, "amd64").unwrap()
}

fn request(install: &[&str]) -> Request {
    Request { base: Base::None, ..Request::new(install.iter().copied()) }
}

fn name(universe: &Universe, id: PackageId) -> String {
    let package = universe.get(id).unwrap();
    format!("{}={}", package.name(), package.version())
}

fn names(universe: &Universe, solution: &Solution) -> Vec<String> {
    solution.packages.iter().map(|(id, _)| name(universe, *id)).collect()
}

fn solved(lines: &[&str], install: &[&str]) -> Vec<String> {
    let universe = universe(lines);
    names(&universe, &solve(&universe, &request(install)).unwrap())
}

fn refused(lines: &[&str], install: &[&str]) -> String {
    solve(&universe(lines), &request(install)).unwrap_err().to_string()
}

#[test]
fn the_highest_version_and_all_it_needs() {
    assert_eq!(solved(&["a 1", "a 2; Depends: b", "b 1", "c 1"], &["a"]), ["a=2", "b=1"]);
    assert_eq!(solved(&["a 1", "a 2; Depends: b", "b 1"], &["a (<< 2)"]), ["a=1"]);
    assert_eq!(solved(&["a 1", "a 2"], &["a=1"]), ["a=1"]);
}

#[test]
fn an_older_version_where_the_newest_cannot_be_had() {
    assert_eq!(solved(&["a 1", "a 2; Depends: gone"], &["a"]), ["a=1"]);
}

#[test]
fn the_first_alternative_unless_another_is_chosen_anyway() {
    let lines = ["a 1; Depends: x | y", "b 1; Depends: y", "x 1", "y 1"];
    assert_eq!(solved(&lines, &["a"]), ["a=1", "x=1"]);
    assert_eq!(solved(&lines, &["a", "b"]), ["a=1", "b=1", "y=1"]);
    assert_eq!(solved(&["a 1; Depends: gone | y", "y 1"], &["a"]), ["a=1", "y=1"]);
}

#[test]
fn a_real_package_before_those_that_provide_its_name() {
    assert_eq!(solved(&["a 1; Depends: m", "b 1; Provides: m", "m 1"], &["a"]), ["a=1", "m=1"]);
    assert_eq!(solved(&["a 1; Depends: m", "c 1; Provides: m", "b 1; Provides: m"], &["a"]), ["a=1", "b=1"]);
    let important = ["a 1; Depends: m", "b 1; Provides: m", "c 1; Provides: m; Priority: important"];
    assert_eq!(solved(&important, &["a"]), ["a=1", "c=1"]);
}

#[test]
fn provided_versions_count() {
    let lines = ["a 1; Depends: m (>= 2)", "b 9; Provides: m", "c 1; Provides: m (= 1)", "d 1; Provides: m (= 2)"];
    assert_eq!(solved(&lines, &["a"]), ["a=1", "d=1"]);
    assert!(refused(&lines[..3], &["a"]).contains("needs m (>= 2), but the archive has b (9) providing m"));
}

#[test]
fn conflicts_and_breaks() {
    let lines = ["a 1; Depends: m", "b 1; Provides: m; Conflicts: x", "c 1; Provides: m", "x 1"];
    assert_eq!(solved(&lines, &["a", "x"]), ["a=1", "c=1", "x=1"]);
    let error = refused(&["a 1; Breaks: b (<< 2)", "b 1"], &["a", "b"]);
    assert!(error.contains("a (1) breaks b (<< 2): b (1)"), "{error}");
    assert_eq!(solved(&["a 1; Breaks: b (<< 2)", "b 1", "b 2"], &["a", "b"]), ["a=1", "b=2"]);
    // Of another architecture than the machine's: there is none.
    assert_eq!(solved(&["a 1; Conflicts: b:i386; Breaks: b:i386", "b 1"], &["a", "b"]), ["a=1", "b=1"]);
    for qualified in ["b:any", "b:amd64"] {
        assert!(refused(&[&format!("a 1; Conflicts: {qualified}"), "b 1"], &["a", "b"]).contains("conflicts with"));
    }
    // Also by a provided name; but never with itself.
    assert!(refused(&["a 1; Conflicts: m", "b 1; Provides: m"], &["a", "b"]).contains("conflicts with m"));
    let mta = ["a 1; Provides: mta; Conflicts: mta", "b 1; Provides: mta; Conflicts: mta"];
    assert_eq!(solved(&mta, &["a"]), ["a=1"]);
    assert!(solve(&universe(&mta), &request(&["a", "b"])).is_err());
}

#[test]
fn qualifiers_and_restrictions() {
    let python = "python3 3; Multi-Arch: allowed";
    assert_eq!(solved(&["a 1; Depends: python3:any", python], &["a"]), ["a=1", "python3=3"]);
    assert!(solve(&universe(&["a 1; Depends: b:any", "b 1"]), &request(&["a"])).is_err());
    assert_eq!(solved(&["a 1; Depends: b:amd64", "b 1"], &["a"]), ["a=1", "b=1"]);
    assert!(solve(&universe(&["a 1; Depends: b:i386", "b 1"]), &request(&["a"])).is_err());
    assert_eq!(solved(&["a 1; Depends: b [i386]"], &["a"]), ["a=1"]);
}

#[test]
fn base_packages_and_exclusion() {
    let lines = [
        "base 1; Essential: yes; Depends: lib",
        "lib 1",
        "login 1; Priority: required",
        "a 1; Depends: b | c",
        "b 1",
        "c 1",
    ];
    let universe = universe(&lines);
    let mut request = request(&["a"]);
    request.base = Base::Essential;
    assert_eq!(names(&universe, &solve(&universe, &request).unwrap()), ["a=1", "b=1", "base=1", "lib=1"]);
    request.base = Base::Required;
    request.exclude = vec!["b".into()];
    assert_eq!(names(&universe, &solve(&universe, &request).unwrap()), ["a=1", "base=1", "c=1", "lib=1", "login=1"]);
    request.exclude = vec!["b".into(), "c".into()];
    let error = solve(&universe, &request).unwrap_err().to_string();
    assert!(error.contains("the request excludes it"), "{error}");
}

#[test]
fn recommended_packages_where_they_fit() {
    let lines = ["a 1; Recommends: b, gone, d", "b 1; Recommends: c", "c 1", "d 1; Conflicts: a"];
    let universe = universe(&lines);
    let mut request = request(&["a"]);
    assert_eq!(names(&universe, &solve(&universe, &request).unwrap()), ["a=1"]);
    request.recommends = true;
    assert_eq!(names(&universe, &solve(&universe, &request).unwrap()), ["a=1", "b=1", "c=1"]);
}

#[test]
fn reasons_name_the_first_to_ask() {
    let universe = universe(&["a 1; Depends: b", "b 1; Pre-Depends: c | x", "c 1"]);
    let solution = solve(&universe, &request(&["a"])).unwrap();
    let (a, b) = (solution.packages[0].0, solution.packages[1].0);
    let needed = |by, field, relation: &str| Reason::Needed { by, field, relation: relation.into() };
    let reasons: Vec<_> = solution.packages.iter().map(|(_, reason)| reason.clone()).collect();
    assert_eq!(reasons, [Reason::Requested("a".into()), needed(a, "Depends", "b"), needed(b, "Pre-Depends", "c | x")]);
}

#[test]
fn unknown_names_get_suggestions() {
    let error = solve(&universe(&["rocminfo 1", "rocm-smi 1"]), &request(&["rocmifno"])).unwrap_err();
    assert_eq!(error.to_string(), "there is no package rocmifno in the archive; did you mean rocminfo?");
    assert!(matches!(error, SolveError::UnknownPackage { .. }));
}

#[test]
fn any_architecture_needs_a_package_that_allows_it() {
    let error = refused(&["a 1; Depends: b:any", "b 1"], &["a"]);
    assert!(error.contains("needs b:any, but the archive has b (1), not Multi-Arch: allowed"), "{error}");
}

#[test]
fn a_package_that_was_left_out_is_missed_with_the_reason() {
    let universe = universe(&["a 1; Depends: odd", "odd 1_bad"]);
    let reason = "\"1_bad\" is not a valid Version";
    for wanted in ["a", "odd"] {
        let error = solve(&universe, &request(&[wanted])).unwrap_err().to_string();
        assert!(error.contains("in the archive (left out: ") && error.contains(reason), "{error}");
    }
}

#[test]
fn refusals_show_the_chain() {
    assert_eq!(
        refused(&["a 1; Depends: b", "b 1; Depends: c (= 1) | d", "c 2"], &["a"]),
        "the packages cannot be installed:\n  \
         the request needs a\n    \
         a (1) needs b\n      \
         b (1) needs c (= 1) | d, but the archive has c (2)"
    );
    let error = refused(&["a 1"], &["a (>= 2)"]);
    assert!(error.contains("the request needs a (>= 2), but the archive has a (1)"), "{error}");
}

#[test]
fn a_broken_field_is_named() {
    let error = refused(&["a 1; Depends: b (~ 1)"], &["a"]);
    assert!(error.contains("a (1): Depends:"), "{error}");
}
