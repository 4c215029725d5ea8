//! The solver on archives of a few packages, whose relations the bytes choose.

use std::fmt::Write as _;

use archive::index::{IndexText, Package, Universe};
use archive::policy::{Policy, Share};
use archive::solve::{Base, Request};

use crate::bytes::Bytes;

/// The judge that shares no matching code with the solver.
#[path = "../../crates/archive/tests/closure/mod.rs"]
mod closure;
use closure::check_closure;

const NAMES: [&str; 6] = ["a", "b", "c", "d", "virtual", "other"];
const VERSIONS: [&str; 8] = ["", "", "", " (= 1)", " (>= 2)", " (<< 2)", " (<= 1)", " (>> 1)"];
const SUFFIXES: [&str; 6] = ["", "", "", " [amd64]", " [!amd64]", ":any"];

/// Solves a request in two archives of up to eight packages each. What is named for the second comes from it, and nothing comes that
/// is refused. A solution passes the independent check and has nothing that
/// was excluded.
pub fn solve(data: &[u8]) {
    let mut bytes = Bytes(data);
    let switches = bytes.next();
    let text = archive(&mut bytes);
    let install = (0..=bytes.next() % 3).map(|_| alternatives(&mut bytes)).collect::<Vec<_>>();
    let request = Request {
        exclude: if switches & 1 == 0 { Vec::new() } else { vec![bytes.choose(&NAMES).to_owned()] },
        base: [Base::None, Base::Essential, Base::Required, Base::None][usize::from(switches >> 1 & 3)],
        recommends: switches & 8 != 0,
        ..Request::new(install)
    };
    // A second archive, of which some packages are named.
    let (others, named) = (archive(&mut bytes), bytes.next());
    let is_named = |name: &str| NAMES.iter().position(|known| *known == name).is_some_and(|bit| named >> bit & 1 == 1);
    let index = |archive: &str, text: &str| {
        let (archive, component, text) = (archive.to_owned(), "main".to_owned(), text.as_bytes().to_vec());
        IndexText { archive, component, text }
    };
    let mut universe =
        Universe::new(vec![index("sid", &text), index("others", &others)], "amd64").expect("well-formed indexes");
    let share = Share::Named(Box::new(|package: &Package<'_>| is_named(package.name())));
    let policy = Policy { shares: [("others".to_owned(), share)].into(), pins: Vec::new() };
    universe.prefer(&policy).expect("there are no exact versions");
    let Ok(solution) = archive::solve::solve(&universe, &request) else { return };
    let set: Vec<Package<'_>> = solution.packages.iter().filter_map(|(id, _)| universe.get(*id)).collect();
    assert_eq!(set.len(), solution.packages.len());
    for (id, _) in &solution.packages {
        let package = universe.get(*id).expect("a package of this universe");
        assert!(universe.preference(*id).is_taken(), "{package} of {}\n{text}\n{others}", package.archive());
        let comes_from_others = is_named(package.name()) && others.contains(&format!("Package: {}\n", package.name()));
        assert!(!comes_from_others || package.archive() == "others", "{package}\n{text}\n{others}");
    }
    assert_eq!(check_closure(&set, "amd64"), [], "{text}\n{request:?}");
    assert!(
        set.iter().all(|package| !request.exclude.iter().any(|name| name == package.name())),
        "{text}\n{request:?}"
    );
}

/// Up to eight stanzas of a Packages index: four names with up to two versions.
fn archive(bytes: &mut Bytes<'_>) -> String {
    let mut text = String::new();
    for number in 0..usize::from(bytes.next() % 9) {
        let flags = bytes.next();
        let (name, version) = (NAMES[number % 4], 1 + number / 4);
        // Writing to a String cannot fail.
        write!(text, "Package: {name}\nVersion: {version}\nArchitecture: all\n").unwrap_or_default();
        text.push_str(if flags & 1 == 0 { "" } else { "Essential: yes\n" });
        text.push_str(if flags & 2 == 0 { "" } else { "Priority: required\n" });
        text.push_str(if flags & 4 == 0 { "" } else { "Multi-Arch: allowed\n" });
        text.push_str(["", "", "Provides: virtual\n", "Provides: virtual (= 2), other\n"][usize::from(flags >> 3 & 3)]);
        let kinds = bytes.next();
        for (bit, field) in ["Depends", "Pre-Depends", "Recommends"].into_iter().enumerate() {
            if kinds >> bit & 1 == 1 {
                let items: Vec<_> = (0..=bytes.next() % 2).map(|_| alternatives(bytes)).collect();
                writeln!(text, "{field}: {}", items.join(", ")).unwrap_or_default();
            }
        }
        for (bit, field) in ["Conflicts", "Breaks"].into_iter().enumerate() {
            if kinds >> (bit + 3) & 1 == 1 {
                writeln!(text, "{field}: {}", relation(bytes)).unwrap_or_default();
            }
        }
        text.push('\n');
    }
    text
}

fn alternatives(bytes: &mut Bytes<'_>) -> String {
    (0..=bytes.next() % 2).map(|_| relation(bytes)).collect::<Vec<_>>().join(" | ")
}

fn relation(bytes: &mut Bytes<'_>) -> String {
    let (name, version, suffix) = (bytes.choose(&NAMES), bytes.choose(&VERSIONS), bytes.choose(&SUFFIXES));
    // A qualifier stands before the version, a restriction behind it.
    if suffix.starts_with(':') { format!("{name}{suffix}{version}") } else { format!("{name}{version}{suffix}") }
}
