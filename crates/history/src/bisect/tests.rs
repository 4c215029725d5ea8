use proptest::prelude::*;

use super::*;

/// Runs a search to its end.
fn search(mut bisect: Bisect, mut oracle: impl FnMut(&Upgraded) -> Answer) -> (Verdict, usize) {
    for _ in 0..10_000 {
        match bisect.next() {
            Step::Done(verdict) => return (verdict, bisect.runs()),
            Step::Run(set) => {
                let answer = oracle(&set);
                bisect.answer(set, answer);
            }
        }
    }
    panic!("the search does not end");
}

/// Fails when all of these are upgraded.
fn needs(culprits: &[usize]) -> impl Fn(&Upgraded) -> Answer + use<> {
    let culprits = culprits.to_vec();
    move |set| if culprits.iter().all(|culprit| set.contains(culprit)) { Answer::Bad } else { Answer::Good }
}

fn set(groups: &[usize]) -> Upgraded {
    groups.iter().copied().collect()
}

#[test]
fn one_culprit_of_sixty_takes_ten_runs_at_most() {
    for culprit in 0..60 {
        let (verdict, runs) = search(Bisect::new(60, 1), needs(&[culprit]));
        assert_eq!(verdict, Verdict::Found(set(&[culprit])));
        assert!(runs <= 10 && runs <= Bisect::new(60, 1).most_runs(1) as usize, "{culprit}: {runs}");
    }
}

#[test]
fn sets_that_fail_only_together_are_named_completely() {
    for culprits in [&[3, 17][..], &[0, 1], &[28, 29], &[2, 9, 21], &[0, 14, 29]] {
        let bisect = Bisect::new(30, 1);
        let most = bisect.most_runs(culprits.len() as u32) as usize;
        let (verdict, runs) = search(bisect, needs(culprits));
        assert_eq!(verdict, Verdict::Found(set(culprits)));
        assert!(runs <= most, "{culprits:?}: {runs} of {most}");
    }
}

#[test]
fn steps_of_time_are_never_taken_apart() {
    for culprit in 0..90 {
        let (verdict, runs) = search(Bisect::of_steps(90, 1), |upgraded| {
            assert_eq!(*upgraded, (0..upgraded.len()).collect());
            needs(&[culprit])(upgraded)
        });
        assert_eq!(verdict, Verdict::Found(set(&[culprit])));
        assert!(runs <= 9, "{culprit}: {runs}");
    }
}

#[test]
fn the_ends_are_tested_first() {
    let mut asked = Vec::new();
    search(Bisect::new(4, 1), |set| {
        asked.push(set.len());
        needs(&[2])(set)
    });
    assert_eq!(asked[..2], [4, 0]);
    let verdict = |answer| search(Bisect::new(4, 1), move |_| answer).0;
    assert_eq!(verdict(Answer::Good), Verdict::PassesWithAllChanges);
    assert_eq!(verdict(Answer::Bad), Verdict::FailsWithoutChanges);
    assert_eq!(verdict(Answer::Skip), Verdict::EndSkipped);
    assert_eq!(search(Bisect::new(0, 1), |_| Answer::Bad).0, Verdict::FailsWithoutChanges);
}

#[test]
fn a_set_is_good_only_after_all_repeats() {
    // Fails in every third run where it is bad.
    let mut count = 0;
    let (verdict, runs) = search(Bisect::new(8, 3), |set| {
        count += 1;
        if set.contains(&5) && count % 3 == 0 { Answer::Bad } else { Answer::Good }
    });
    assert_eq!(verdict, Verdict::Found(set(&[5])));
    assert!(runs <= Bisect::new(8, 3).most_runs(1) as usize, "{runs}");
}

#[test]
fn the_number_of_repeats_comes_from_the_failure_rate() {
    let table = [(1.0, Some(1)), (0.9, Some(2)), (0.75, Some(4)), (0.5, Some(7)), (0.25, Some(17)), (0.1, Some(44))];
    for (rate, wanted) in table {
        assert_eq!(repeats(rate), wanted, "{rate}");
    }
    assert_eq!((repeats(0.05), repeats(0.0), repeats(f64::NAN)), (None, None, None));
}

#[test]
fn a_set_that_cannot_be_tested_is_left_for_its_neighbour() {
    let culprit = needs(&[11]);
    let (verdict, _) = search(Bisect::new(16, 1), |set| if set.len() == 8 { Answer::Skip } else { culprit(set) });
    assert_eq!(verdict, Verdict::Found(set(&[11])));
    // Prefixes of 10 to 12 cannot be tested: the culprit is one of the three between.
    let (verdict, _) =
        search(Bisect::new(16, 1), |set| if (11..13).contains(&set.len()) { Answer::Skip } else { culprit(set) });
    assert_eq!(verdict, Verdict::Among(set(&[10, 11, 12]), set(&[])));
}

proptest! {
    #[test]
    fn every_set_of_up_to_three_is_found_within_the_plan(
        groups in 1..120_usize, culprits in prop::collection::btree_set(0..120_usize, 1..4),
    ) {
        let culprits: Upgraded = culprits.into_iter().map(|culprit| culprit % groups).collect();
        let list: Vec<usize> = culprits.iter().copied().collect();
        let bisect = Bisect::new(groups, 1);
        let most = bisect.most_runs(list.len() as u32) as usize;
        let (verdict, runs) = search(bisect, needs(&list));
        prop_assert_eq!(verdict, Verdict::Found(culprits));
        prop_assert!(runs <= most, "{} of {}", runs, most);
    }

    #[test]
    fn a_search_that_was_stopped_goes_on(groups in 2..40_usize, culprit in 0..40_usize, stop in 0..10_usize) {
        let oracle = needs(&[culprit % groups]);
        let mut bisect = Bisect::new(groups, 1);
        for _ in 0..stop {
            if let Step::Run(set) = bisect.next() {
                let answer = oracle(&set);
                bisect.answer(set, answer);
            }
        }
        let taken_up = Bisect { answers: bisect.answers.clone(), ..Bisect::new(groups, 1) };
        let (verdict, runs) = search(taken_up, &oracle);
        let (direct, all) = search(Bisect::new(groups, 1), &oracle);
        prop_assert_eq!((verdict, runs), (direct, all), "nothing is run twice");
    }

    #[test]
    fn any_answers_come_to_an_end(groups in 1..20_usize, answers in prop::collection::vec(0..3_u8, 64)) {
        let mut count = 0;
        search(Bisect::new(groups, 1), |_| {
            count += 1;
            [Answer::Good, Answer::Bad, Answer::Skip][usize::from(answers[count % 64])]
        });
    }
}
