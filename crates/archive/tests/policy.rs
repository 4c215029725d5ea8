//! What comes from which of several archives.

use advice::Advise;
use archive::index::{IndexText, Package, Universe};
use archive::policy::{Pin, PinKind, Policy, PolicyError, Share};
use archive::solve::{Base, Request, solve};

/// Makes an index. Each line is a package: name, version, then fields separated by semicolons.
fn index(archive: &str, lines: &[&str]) -> IndexText {
    let mut text = String::new();
    for line in lines {
        let mut parts = line.split(';').map(str::trim);
        let (name, version) = parts.next().unwrap().split_once(' ').unwrap();
        text.extend(["Package: ", name, "\nVersion: ", version, "\nArchitecture: amd64\n"]);
        text.extend(parts.flat_map(|field| [field, "\n"]));
        text.push('\n');
    }
    IndexText { archive: archive.into(), component: "main".into(), text: text.into_bytes() }
}

fn universe(sid: &[&str], exp: &[&str]) -> Universe {
    Universe::new(vec![index("sid", sid), index("exp", exp)], "amd64").unwrap()
}

/// A policy by which these packages, or those of these sources (`src:`), come from `exp`.
fn named<'a>(names: &'a [&'a str]) -> Policy<'a> {
    let is_named = move |package: &Package<'_>| {
        names.iter().any(|name| match name.strip_prefix("src:") {
            Some(source) => package.source().0 == source,
            None => package.name() == *name,
        })
    };
    Policy { shares: [("exp".to_owned(), Share::Named(Box::new(is_named)))].into(), pins: Vec::new() }
}

fn solved(universe: &Universe, install: &[&str]) -> Result<String, String> {
    let request = Request { base: Base::None, ..Request::new(install.iter().copied()) };
    let solution = solve(universe, &request).map_err(|error| format!("{error}\nhelp: {}", error.help()))?;
    let packages = solution.packages.iter().filter_map(|(id, _)| universe.get(*id));
    Ok(packages
        .map(|package| format!("{}={}@{}", package.name(), package.version(), package.archive()))
        .collect::<Vec<_>>()
        .join(" "))
}

/// Solves with packages of `exp` that are named.
fn with(sid: &[&str], exp: &[&str], names: &[&str], install: &[&str]) -> Result<String, String> {
    let mut universe = universe(sid, exp);
    universe.prefer(&named(names)).unwrap();
    solved(&universe, install)
}

#[test]
fn without_a_policy_the_highest_version_counts() {
    let universe = universe(&["a 1", "b 2"], &["a 2", "b 1"]);
    assert_eq!(solved(&universe, &["a", "b"]).unwrap(), "a=2@exp b=2@sid");
}

#[test]
fn named_packages_come_from_their_archive_whatever_their_version() {
    assert_eq!(with(&["a 1", "b 1"], &["a 2", "b 2"], &["a"], &["a", "b"]).unwrap(), "a=2@exp b=1@sid");
    assert_eq!(with(&["a 2"], &["a 1"], &["a"], &["a"]).unwrap(), "a=1@exp");
    assert_eq!(with(&["a 1"], &["a 1"], &["a"], &["a"]).unwrap(), "a=1@exp", "of one version, too");
    let exp = ["a 2; Source: s", "b 2; Source: s (2)", "c 2"];
    assert_eq!(with(&["a 1", "b 1", "c 1"], &exp, &["src:s"], &["a", "b", "c"]).unwrap(), "a=2@exp b=2@exp c=1@sid");
}

#[test]
fn a_named_package_that_cannot_be_installed_is_an_error() {
    let error = with(&["a 1"], &["a 2; Depends: gone"], &["a"], &["a"]).unwrap_err();
    assert!(error.contains("a (2, of exp) needs gone, which is not in the archive"), "{error}");
    let error = with(&["a 1", "b 1; Depends: a (<< 2)"], &["a 2"], &["a"], &["b"]).unwrap_err();
    assert!(error.contains("not taken: a (1, of sid: the recipe takes it from elsewhere)"), "{error}");
}

#[test]
fn what_they_need_comes_along_only_if_nothing_else_will_do() {
    let exp = ["a 2; Depends: lib (>= 2), tool", "lib 2; Depends: new", "tool 2", "new 2"];
    let sid = ["a 1", "lib 1", "tool 1"];
    assert_eq!(with(&sid, &exp, &["a"], &["a"]).unwrap(), "a=2@exp lib=2@exp new=2@exp tool=1@sid");
    // Also for packages of the main archive, which need the same.
    let sid = ["a 1", "lib 1", "tool 1", "other 1; Depends: lib"];
    assert_eq!(
        with(&sid, &exp, &["a"], &["a", "other"]).unwrap(),
        "a=2@exp lib=2@exp new=2@exp other=1@sid tool=1@sid"
    );
    // What the main archive provides under another name will do.
    let exp = ["a 2; Depends: mta", "mta 2"];
    assert_eq!(with(&["exim 1; Provides: mta"], &exp, &["a"], &["a"]).unwrap(), "a=2@exp exim=1@sid");
    // What it breaks has to be newer; packages of one source want one version.
    let exp = ["a 2; Breaks: b (<< 2)", "b 2"];
    assert_eq!(with(&["b 1"], &exp, &["a"], &["a", "b"]).unwrap(), "a=2@exp b=2@exp");
    let exp = ["lib 2; Source: s", "lib-dev 2; Source: s; Depends: lib (= 2)"];
    let sid = ["lib 1", "lib-dev 1; Depends: lib (= 1)"];
    assert_eq!(with(&sid, &exp, &["lib"], &["lib", "lib-dev"]).unwrap(), "lib=2@exp lib-dev=2@exp");
}

#[test]
fn what_is_not_taken_is_told_with_what_to_write() {
    let error = with(&["a 1"], &["a 2", "c 3"], &["a"], &["c"]).unwrap_err();
    assert!(error.contains("c is not taken from any archive: c (3, of exp: others are taken from there)"), "{error}");
    assert!(error.ends_with("help: add \"c\" to packages of the [[extra-archive]] exp"), "{error}");
    let error = with(&["b 1; Depends: c (>= 3)", "c 2"], &["a 2", "c 3"], &["a"], &["b"]).unwrap_err();
    assert!(error.contains("needs c (>= 3), but the archive has c (2, of sid); not taken: c (3, of exp"), "{error}");
    assert!(error.ends_with("help: add \"c\" to packages of the [[extra-archive]] exp"), "{error}");
}

#[test]
fn an_exact_version_is_the_only_one() {
    let pin = |kind, name: &str, version: &str| Pin { kind, name: name.into(), version: version.into() };
    let pinned = |pins: &[Pin], names: Option<&[&str]>| {
        let mut universe = universe(&["a 3", "b 1; Source: s"], &["a 2", "c 2+b1; Source: s (2)"]);
        let mut policy = names.map(named).unwrap_or_default();
        policy.pins = pins.to_vec();
        universe.prefer(&policy)?;
        Ok::<_, PolicyError>(universe)
    };
    let universe = pinned(&[pin(PinKind::Package, "a", "2")], None).unwrap();
    assert_eq!(solved(&universe, &["a"]).unwrap(), "a=2@exp");
    let error = solved(&universe, &["a (>= 3)"]).unwrap_err();
    assert!(error.contains("not taken: a (3, of sid: another version of it is asked for)"), "{error}");
    let universe = pinned(&[pin(PinKind::Source, "s", "2")], None).unwrap();
    assert_eq!(solved(&universe, &["c"]).unwrap(), "c=2+b1@exp");
    assert!(solved(&universe, &["b"]).is_err());

    let error = |pins: &[Pin], names| {
        let error = pinned(pins, names).unwrap_err();
        format!("{error}; help: {}", error.help())
    };
    let text = error(&[pin(PinKind::Package, "a", "9")], None);
    assert!(text.contains("no archive has the version 9 of a; there are 2 (exp), 3 (sid)"), "{text}");
    let text = error(&[pin(PinKind::Package, "aa", "9")], None);
    assert!(text.contains("aa is to have the version 9, and is in no archive"), "{text}");
    let text = error(&[pin(PinKind::Package, "a", "2")], Some(&["c"]));
    assert!(text.contains("help: add \"a\" to packages of the [[extra-archive]] exp"), "{text}");
}

#[test]
fn what_comes_first_comes_before_all() {
    let mut universe = universe(&["a 3"], &["a 2", "b 1"]);
    let policy = Policy { shares: [("exp".to_owned(), Share::First)].into(), pins: Vec::new() };
    universe.prefer(&policy).unwrap();
    assert_eq!(solved(&universe, &["a"]).unwrap(), "a=2@exp", "and is not installed for being there");
}
