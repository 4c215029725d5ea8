//! The solver against trying all sets of packages of small random archives.

mod closure;

use archive::{
    index::{IndexText, Package, Universe},
    solve::{Base, Request, solve},
};
use closure::check_closure;
use debian::relation::parse_request;
use proptest::{prelude::*, sample::select};

/// One relation to one of four names, one of which is virtual.
fn relation() -> impl Strategy<Value = String> {
    (select(vec!["a", "b", "c", "v"]), select(vec!["", "", "", " (= 1)", " (>= 2)", " (<< 2)"]))
        .prop_map(|(name, version)| format!("{name}{version}"))
}

fn relations(most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::collection::vec(relation(), 1..3), 0..most)
        .prop_map(|items| items.iter().map(|item| item.join(" | ")).collect::<Vec<_>>().join(", "))
}

fn stanza() -> impl Strategy<Value = String> {
    (
        relations(3),
        relations(2),
        prop::collection::vec(relation(), 0..2),
        prop::collection::vec(relation(), 0..2),
        select(vec!["", "", "v", "v (= 1)", "v (= 2)"]),
    )
        .prop_map(|(depends, pre_depends, conflicts, breaks, provides)| {
            format!(
                "Depends: {depends}\nPre-Depends: {pre_depends}\nConflicts: {}\nBreaks: {}\nProvides: {provides}\n",
                conflicts.join(", "),
                breaks.join(", ")
            )
        })
}

/// Two versions each of three packages, as stanzas.
fn archive() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(stanza(), 6).prop_map(|stanzas| {
        let names = ["a", "b", "c"].into_iter().flat_map(|name| [(name, 1), (name, 2)]);
        names
            .zip(stanzas)
            .map(|((name, version), rest)| format!("Package: {name}\nVersion: {version}\nArchitecture: all\n{rest}\n"))
            .collect()
    })
}

fn universe(stanzas: &[String]) -> Universe {
    let text = stanzas.concat().into_bytes();
    Universe::new(vec![IndexText { archive: "s".into(), component: "c".into(), text }], "amd64").unwrap()
}

/// Whether any of the 64 sets installs `wanted` without a violation. `wanted` becomes a package of its own, so that the
/// checker judges the request too.
fn possible(universe: &Universe, wanted: &[String]) -> bool {
    let all: Vec<Package<'_>> = universe.ids().map(|id| universe.get(id).unwrap()).collect();
    let goal =
        self::universe(&[format!("Package: goal\nVersion: 1\nArchitecture: all\nDepends: {}\n\n", wanted.join(", "))]);
    let goal = goal.get(goal.ids().next().unwrap()).unwrap();
    (0_u32..1 << all.len()).any(|mask| {
        let mut set: Vec<_> = (0..all.len()).filter(|bit| mask >> bit & 1 == 1).map(|bit| all[bit]).collect();
        set.push(goal);
        check_closure(&set, "amd64").is_empty()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn finds_a_valid_set_exactly_where_there_is_one(
        stanzas in archive(),
        wanted in prop::collection::vec(relation(), 1..3),
        order in Just((0..6).collect::<Vec<usize>>()).prop_shuffle(),
    ) {
        let first = universe(&stanzas);
        prop_assume!(wanted.iter().all(|text| first.knows(parse_request(text).unwrap().0[0].name)));
        let request = Request { base: Base::None, ..Request::new(wanted.clone()) };
        let result = solve(&first, &request);
        prop_assert_eq!(result.is_ok(), possible(&first, &wanted), "{:?}", result);

        // Another order of stanzas changes nothing, not even the words.
        let shuffled: Vec<_> = order.iter().map(|place| stanzas[*place].clone()).collect();
        let second = universe(&shuffled);
        let again = solve(&second, &request);
        match (&result, &again) {
            (Ok(one), Ok(two)) => {
                let show = |universe: &Universe, solution: &archive::solve::Solution| -> Vec<String> {
                    let name = |id| universe.get(id).unwrap().to_string();
                    solution.packages.iter().map(|(id, _)| name(*id)).collect()
                };
                prop_assert_eq!(show(&first, one), show(&second, two));
                let set: Vec<_> = one.packages.iter().map(|(id, _)| first.get(*id).unwrap()).collect();
                prop_assert_eq!(check_closure(&set, "amd64"), vec![]);
            }
            (Err(one), Err(two)) => prop_assert_eq!(one.to_string(), two.to_string()),
            _ => prop_assert!(false, "{:?} but shuffled {:?}", result, again),
        }
    }
}
