use proptest::prelude::*;

use super::*;

const DAY: i64 = 24 * 3600 * 1000;

/// A run a day. `P` passes, `F` fails, `S` skips, `T` times out, `I` is a failure of the infrastructure. `f` and `p`
/// repeat the run before them. Every run has an environment of its own.
fn days(text: &str) -> Vec<Observation> {
    let mut first = 0;
    let observe = |(run, letter): (i64, char)| {
        let of = letter.is_lowercase().then_some(first);
        if of.is_none() {
            first = run;
        }
        let seen = match letter.to_ascii_uppercase() {
            'P' => Seen::Pass,
            'F' => Seen::Fail,
            'S' => Seen::Skip,
            'T' => Seen::TimedOut,
            _ => Seen::Nothing,
        };
        Observation { run, at: run * DAY, of, seen, environment: Some(run) }
    };
    (1..).zip(text.chars()).map(observe).collect()
}

fn state(text: &str) -> TestState {
    evaluate(&days(text), false).state
}

#[test]
fn what_was_never_tested_has_no_state() {
    assert_eq!(evaluate(&[], false), Cell::default());
    assert_eq!(
        (state(""), state("SS"), state("I"), state("IS")),
        (TestState::Untested, TestState::Untested, TestState::Infrastructure, TestState::Infrastructure,)
    );
}

#[test]
fn the_first_failure_is_new_and_the_second_makes_it_a_regression() {
    let new = evaluate(&days("PPPF"), false);
    assert_eq!((new.state, new.last_good, new.first_bad), (TestState::NewFailure, Some(3), Some(4)));
    let regression = evaluate(&days("PPPFF"), false);
    assert_eq!((regression.state, regression.since, regression.streak), (TestState::Regression, Some(4), 2));
    // A repetition on the same day confirms it as well.
    let confirmed = evaluate(&days("PPPFf"), false);
    assert_eq!((confirmed.state, confirmed.first_bad, confirmed.streak), (TestState::Regression, Some(4), 1));
}

#[test]
fn what_never_passed_is_no_regression() {
    let cell = evaluate(&days("FFF"), false);
    assert_eq!((cell.state, cell.last_good, cell.first_bad), (TestState::AlwaysFailed, None, Some(1)));
    assert_eq!(state("F"), TestState::AlwaysFailed);
}

#[test]
fn a_repetition_that_passes_makes_it_flaky() {
    let cell = evaluate(&days("PPPFp"), false);
    assert_eq!((cell.state, cell.failed, cell.ran), (TestState::Flaky, 1, 4));
    assert_eq!(state("PPPFpP"), TestState::Flaky, "one more pass proves nothing");
}

#[test]
fn both_outcomes_with_the_same_packages_are_flaky() {
    let mut seen = days("PPFP");
    assert_eq!(evaluate(&seen, false).state, TestState::Ok);
    for seen in &mut seen {
        seen.environment = Some(7);
    }
    assert_eq!(evaluate(&seen, false).state, TestState::Flaky);
}

#[test]
fn three_periods_of_failure_are_flaky() {
    assert_eq!((state("PFPFP"), state("PFPFPFP")), (TestState::Ok, TestState::Flaky));
}

#[test]
fn a_flaky_test_that_fails_too_often_for_chance_is_a_regression() {
    assert_eq!(state("PPPFpPPPPPF"), TestState::Flaky);
    assert_eq!(state("PPPFpPPPPPFFF"), TestState::Regression);
}

#[test]
fn a_flaky_test_that_passes_too_often_for_chance_is_ok() {
    let text = format!("PFPFPFP{}", "P".repeat(12));
    assert_eq!(state(&text), TestState::Ok);
}

#[test]
fn a_failure_that_ended_is_fixed_for_a_while() {
    assert_eq!((state("PFFP"), state("PFfP")), (TestState::Fixed, TestState::Fixed));
    assert_eq!(state("FFP"), TestState::Fixed, "it had never passed before");
    assert_eq!(state("PFFPPPPPP"), TestState::Ok);
    assert_eq!(state("PFP"), TestState::Ok, "one failure was nothing that was there");
}

#[test]
fn failures_of_the_infrastructure_move_nothing() {
    for (text, without) in [("PPII", "PP"), ("PFFI", "PFF"), ("PIF", "PF"), ("FII", "F")] {
        let (with, without) = (evaluate(&days(text), false), evaluate(&days(without), false));
        assert_eq!((with.state, with.streak), (without.state, without.streak), "{text}");
    }
    assert_eq!(evaluate(&days("PPII"), false).infrastructure, 2);
}

#[test]
fn one_timeout_is_chance_and_two_are_a_failure() {
    assert_eq!(
        (state("PPT"), state("PPTT"), state("PPTITT")),
        (TestState::Ok, TestState::NewFailure, TestState::Regression,)
    );
    assert_eq!(state("PPTt"), TestState::Regression);
    assert_eq!(state("PTPT"), TestState::Ok);
}

#[test]
fn a_known_failure_shows_again_when_it_passes_or_stops() {
    let known = |text| evaluate(&days(text), true).state;
    assert_eq!((known("PF"), known("PFF"), known("F")), (TestState::Known, TestState::Known, TestState::Known));
    assert_eq!(known("PFFP"), TestState::UnexpectedPass);
    assert_eq!(known("PFFS"), TestState::Stopped);
    assert_eq!(known("PPPFp"), TestState::Known, "a known flaky test may pass");
}

#[test]
fn a_test_that_no_longer_runs_has_stopped() {
    let cell = evaluate(&days("PPS"), false);
    assert_eq!((cell.state, cell.last), (TestState::Stopped, Some(2)));
    assert_eq!(state("PSP"), TestState::Ok);
}

#[test]
fn flips_are_those_of_sixty_days() {
    assert_eq!(evaluate(&days("PFPF"), false).flips, 3);
    let text = format!("PFPF{}", "F".repeat(70));
    assert_eq!(evaluate(&days(&text), false).flips, 0);
}

#[test]
fn what_was_not_tested_for_long_is_stale_unless_it_fails() {
    let (good, bad) = (evaluate(&days("PP"), false), evaluate(&days("PFF"), false));
    assert_eq!((good.shown(10 * DAY), good.shown(17 * DAY)), (TestState::Ok, TestState::Stale));
    assert_eq!(bad.shown(90 * DAY), TestState::Regression);
}

#[test]
fn a_chain_of_repetitions_without_end_is_cut() {
    let mut seen = days("FF");
    (seen[0].of, seen[1].of) = (Some(2), Some(1));
    assert_eq!(evaluate(&seen, false).state, TestState::AlwaysFailed);
    seen[1].of = Some(99);
    assert_eq!(evaluate(&seen, false).streak, 2);
}

#[test]
fn changes_are_told_once_each() {
    let found = transitions(&days("PPFFPI"), false);
    let states: Vec<_> = found.iter().map(|change| (change.run, change.to)).collect();
    let expected = [(1, TestState::Ok), (3, TestState::NewFailure), (4, TestState::Regression), (5, TestState::Fixed)];
    assert_eq!(states, expected);
}

#[test]
fn changes_of_a_long_history_are_those_of_all_its_beginnings() {
    let text = format!("P{}{}F{}FpFF{}", "F".repeat(300), "P".repeat(60), "P".repeat(45), "P".repeat(50));
    let seen = days(&text);
    let mut state = TestState::Untested;
    let mut expected = Vec::new();
    for end in 1..=seen.len() {
        let now = evaluate(&seen[..end], false).state;
        if now != state {
            expected.push((seen[end - 1].run, now));
            state = now;
        }
    }
    let found: Vec<_> = transitions(&seen, false).iter().map(|change| (change.run, change.to)).collect();
    assert_eq!(found, expected);
}

fn observations() -> impl Strategy<Value = Vec<Observation>> {
    let one = (0..40_i64, 0..5_usize, prop::option::of(0..6_i64), prop::option::of(0..30_i64));
    prop::collection::vec(one, 0..40).prop_map(|all| {
        let of = |(run, (day, seen, environment, of)): (i64, (i64, usize, Option<i64>, Option<i64>))| {
            let seen = [Seen::Pass, Seen::Fail, Seen::Skip, Seen::TimedOut, Seen::Nothing][seen];
            Observation { run, at: day * DAY, of, seen, environment }
        };
        (0..).zip(all).map(of).collect()
    })
}

proptest! {
    #[test]
    fn the_order_of_arrival_does_not_matter(
        (seen, shuffled) in observations().prop_flat_map(|seen| (Just(seen.clone()), Just(seen).prop_shuffle())),
        known: bool,
    ) {
        prop_assert_eq!(evaluate(&seen, known), evaluate(&shuffled, known));
        prop_assert_eq!(transitions(&seen, known), transitions(&shuffled, known));
    }

    #[test]
    fn infrastructure_never_moves_a_state(seen in observations(), days in prop::collection::vec(0..50_i64, 1..5)) {
        let mut seen = seen;
        seen.retain(|seen| seen.seen != Seen::Nothing);
        for seen in &mut seen {
            seen.of = None;
        }
        let before = evaluate(&seen, false);
        let mut with = seen.clone();
        with.extend((1000..).zip(&days).map(|(run, day)| Observation {
            run, at: day * DAY, of: None, seen: Seen::Nothing, environment: None,
        }));
        let after = evaluate(&with, false);
        if before.last.is_some() {
            prop_assert_eq!(Cell { infrastructure: 0, ..after }, Cell { infrastructure: 0, ..before });
        } else {
            prop_assert!(matches!(after.state, TestState::Infrastructure));
        }
    }

    #[test]
    fn the_last_transition_is_the_state(seen in observations(), known: bool) {
        let last = transitions(&seen, known).last().map_or(TestState::Untested, |change| change.to);
        prop_assert_eq!(last, evaluate(&seen, known).state);
    }

    #[test]
    fn a_state_is_what_it_says(seen in observations()) {
        let cell = evaluate(&seen, false);
        match cell.state {
            TestState::Regression | TestState::NewFailure => {
                prop_assert!(cell.last_good.is_some() && cell.first_bad.is_some());
            }
            TestState::AlwaysFailed => prop_assert!(cell.last_good.is_none() && cell.first_bad.is_some()),
            TestState::Ok | TestState::Fixed => prop_assert!(cell.first_bad.is_none() && cell.last_good.is_some()),
            _ => {}
        }
        prop_assert!(cell.failed <= cell.ran && cell.ran <= 30);
    }
}

#[test]
fn the_first_failure_is_found_also_of_a_test_that_fails_by_chance() {
    let at = |runs: &str| change_point(&runs.chars().map(|char| char == 'x').collect::<Vec<_>>());
    assert_eq!(at("......xxx"), Some(6));
    assert_eq!(at(".....x"), Some(5));
    // One in three from the tenth run on, and a single failure long before.
    assert_eq!(at("..........x..x..x..x.."), Some(10));
    assert_eq!(at("..x..................xx.x.xx.x"), Some(21));
    assert_eq!(at("...x..x..x"), Some(3));
    // A failure that is over is not where it fails now.
    assert_eq!(at(".xxx.....................xx"), Some(25));
    for never in ["", "....", "xxxx", "xx...", "x"] {
        assert_eq!(at(never), None, "{never}");
    }
}
