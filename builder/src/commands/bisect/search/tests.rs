use std::collections::{BTreeMap, VecDeque};

use clap::Parser as _;
use history::groups::{Group, Grouped, PackageChange, group};
use protocol::{InstalledPackage, JobResult, PackageList, Verdict as RunVerdict};

use super::super::outcome::Outcome;
use super::super::place::{self, Place};
use super::super::plan::Plan;
use super::super::state::{End, Observed, Question};
use super::*;
use crate::cmdline::Cli;

/// What a run of the scripted machine is like.
enum Script {
    /// The test fails if both `hip` and `blas` are new; with the packages that were asked for.
    Runs,
    /// The verdict of the machine.
    Ends(RunVerdict),
    /// `blas` needs the new `hip`, which is installed whatever was asked for.
    BringsHip,
}

/// A machine that follows a script, and then runs.
struct Machine {
    script: VecDeque<Script>,
    /// The versions of `hip` and `blas` of each run, and whether it followed one that said nothing.
    asked: Vec<(String, bool)>,
}

fn list(versions: &BTreeMap<String, String>) -> PackageList {
    let package = |(name, version): (&String, &String)| InstalledPackage {
        name: name.clone(),
        architecture: "amd64".into(),
        version: version.clone(),
        source: name.clone(),
        source_version: version.clone(),
    };
    versions.iter().map(package).collect()
}

fn versions(hip: &str, blas: &str) -> BTreeMap<String, String> {
    [("hip", hip), ("blas", blas)].map(|(name, version)| (name.to_owned(), version.to_owned())).into()
}

/// A result of the test `t`.
fn result(job: &Job, verdict: RunVerdict, reason: &str) -> Result<JobResult> {
    let outcome = if matches!(verdict, RunVerdict::Fail | RunVerdict::Timeout) { "fail" } else { "pass" };
    Ok(serde_json::from_value(serde_json::json!({
        "version": 1, "job": job, "verdict": verdict, "simulated": false, "gpus": [],
        "started": "2026-10-30T10:00:00Z", "finished": "2026-10-30T10:00:10Z",
        "machine": { "name": "m", "kernel": "7", "processors": 1, "memory": 1, "rocbed": "0",
            "gpus": { "gpus": [], "unusable": [], "simulated": false } },
        "runs": [{ "as": "user", "verdict": verdict, "seconds": 1.0, "directory": "user",
            "tests": [{ "name": "t", "outcome": outcome, "reason": reason }] }],
    }))?)
}

impl Tester for Machine {
    fn begin(&mut self, job: &Job, before: Option<&str>) -> Result<Option<String>> {
        self.asked.push((format!("{} {}", job.versions["hip"], job.versions["blas"]), before.is_some()));
        Ok(Some(format!("job-{}", self.asked.len())))
    }

    fn finish(&mut self, job: &Job, _: &Upgraded, id: Option<&str>, _: &Stop) -> Result<Ended> {
        let mut installed = job.versions.clone();
        let verdict = match self.script.pop_front().unwrap_or(Script::Runs) {
            Script::Runs => None,
            Script::Ends(verdict) => Some(verdict),
            Script::BringsHip => {
                installed.insert("hip".into(), "2".into());
                None
            }
        };
        let fails = installed == versions("2", "2");
        let verdict = verdict.unwrap_or(if fails { RunVerdict::Fail } else { RunVerdict::Pass });
        let reason = if verdict == RunVerdict::Timeout { "timed out" } else { "" };
        let mut result = result(job, verdict, reason)?;
        if fails {
            result.runs[0].tests[0].outcome = TestOutcome::Fail;
        }
        Ok(Ended::Ran(Box::new(Ran {
            job: id.map(str::to_owned),
            machine: "m".into(),
            result,
            packages: Some(list(&installed)),
            reproduce: String::new(),
        })))
    }
}

/// How a search ended, what was asked for, and the search as it was kept.
type Searched = (Finish, Vec<(String, bool)>, State);

/// Searches with a script.
fn searched(script: Vec<Script>) -> Result<Searched> {
    let (good, bad) = (list(&versions("1", "1")), list(&versions("2", "2")));
    let end = |name: &str, list: &PackageList| {
        End::new(name.into(), jiff::Timestamp::UNIX_EPOCH, 10.0, Environment::default()).with_packages(list)
    };
    let mut job = Job::of_package("app");
    job.tests = vec!["t".into()];
    let question = Question {
        test: "t".into(),
        target: None,
        good: end("good", &good),
        bad: end("bad", &bad),
        job,
        observed: Observed { failed: 1, passed: 0 },
    };
    let grouped = group(&good, &bad, &|_, _| Vec::new());
    let mut state = State::new(question, Place::Hub("http://hub".into()), grouped, 1);
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("state.json");
    let context = Context::new(&Cli::try_parse_from(["rocbed", "--quiet", "recipe", "list"])?.global);
    let mut machine = Machine { script: script.into(), asked: Vec::new() };
    let finish = search(&context, &mut state, &path, &mut machine, &Stop::never())?;
    Ok((finish, machine.asked, State::read(&path)?.expect("it is kept")))
}

/// Virtual machines whose test fails with some images. What an image had installed in a testbed does not matter.
struct Machines {
    fails: fn(&Upgraded) -> bool,
    /// A set of which there is no image.
    cannot_be_built: Option<Upgraded>,
    booted: Vec<Vec<usize>>,
}

impl Tester for Machines {
    fn begin(&mut self, job: &Job, _: Option<&str>) -> Result<Option<String>> {
        assert!(job.versions.is_empty(), "an image has its versions");
        Ok(None)
    }

    fn finish(&mut self, job: &Job, set: &Upgraded, _: Option<&str>, _: &Stop) -> Result<Ended> {
        if self.cannot_be_built.as_ref() == Some(set) {
            return Ok(Ended::Impossible("packages do not fit".into()));
        }
        self.booted.push(set.iter().copied().collect());
        let verdict = if (self.fails)(set) { RunVerdict::Fail } else { RunVerdict::Pass };
        Ok(Ended::Ran(Box::new(Ran {
            job: None,
            machine: "vm".into(),
            result: result(job, verdict, "")?,
            packages: None,
            reproduce: "rocbed boot".into(),
        })))
    }
}

/// A search over images, by their names or by groups of their packages.
fn of_images(mut machines: Machines, images: &[&str], groups: usize) -> Result<(Finish, Machines, State)> {
    let end = |name: &str| End::new(name.into(), jiff::Timestamp::UNIX_EPOCH, 0.0, Environment::default());
    let mut job = Job::of_package("app");
    job.tests = vec!["t".into()];
    let observed = Observed::default();
    let question = Question { test: "t".into(), target: None, good: end("a"), bad: end("z"), job, observed };
    let place = Place::Machines(place::Machines {
        images: images.iter().map(std::path::PathBuf::from).collect(),
        digests: Vec::new(),
        recipe: (groups > 0).then(|| "rocm".to_owned()),
        boot: Vec::new(),
        build: Vec::new(),
    });
    let mut state = if groups > 0 {
        let group = |number| Group { sources: Vec::new(), packages: vec![change(number)] };
        let grouped = Grouped { groups: (0..groups).map(group).collect(), at_boot: Vec::new() };
        State::new(question, place, grouped, 1)
    } else {
        State::of_images(question, place, images.iter().map(|image| (*image).to_owned()).collect(), 1)
    };
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("state.json");
    let context = Context::new(&Cli::try_parse_from(["rocbed", "--quiet", "recipe", "list"])?.global);
    let finish = search(&context, &mut state, &path, &mut machines, &Stop::never())?;
    let state = State::read(&path)?.expect("it is kept");
    Ok((finish, machines, state))
}

fn change(number: usize) -> PackageChange {
    PackageChange { name: format!("p{number}"), from: Some("1".into()), to: Some("2".into()) }
}

#[test]
fn the_first_image_that_fails_is_found_in_a_row() -> Result<()> {
    let machines = Machines { fails: |set| set.len() >= 3, cannot_be_built: None, booted: Vec::new() };
    let (finish, machines, state) = of_images(machines, &["a", "b", "c", "d", "e"], 0)?;
    assert!(matches!(&finish, Finish::Decided(Verdict::Found(found)) if *found == Upgraded::from([2])));
    let booted: Vec<usize> = machines.booted.iter().map(Vec::len).collect();
    assert_eq!(booted, [4, 0, 2, 3], "the ends first, then halves");
    let Finish::Decided(verdict) = &finish else { panic!("it is decided") };
    let outcome = Outcome::of(&state, verdict);
    let text = outcome.text();
    assert!(text.contains("passes with the image c, and fails with d"), "{text}");
    assert_eq!(serde_json::to_value(&outcome)?["images"], serde_json::json!(["c", "d"]));
    let plan = Plan::of(&state).text(&state.place);
    assert!(plan.contains("5 images, from a to e") && plan.contains("virtual machines"), "{plan}");
    Ok(())
}

#[test]
fn a_new_kernel_that_fails_only_with_new_firmware_is_found() -> Result<()> {
    // Group 1 is the kernel, and 2 the firmware. One image between cannot be built.
    let fails = |set: &Upgraded| set.contains(&1) && set.contains(&2);
    let machines = Machines { fails, cannot_be_built: Some([0, 1].into()), booted: Vec::new() };
    let (finish, machines, state) = of_images(machines, &["a.lock", "z.lock"], 3)?;
    let Finish::Decided(verdict) = &finish else { panic!("it is decided") };
    assert_eq!(machines.booted[..2], [vec![0, 1, 2], vec![]]);
    assert!(state.runs.iter().all(|run| run.answer.is_some()), "{:?}", state.runs);
    let found = match verdict {
        Verdict::Found(found) => found.clone(),
        Verdict::Among(among, found) => among.union(found).copied().collect(),
        other => panic!("{other:?}"),
    };
    assert!(found.contains(&2) && found.contains(&1), "{verdict:?}");
    Ok(())
}

#[test]
fn what_a_kernel_cannot_be_tested_without_is_said() -> Result<()> {
    let machines = Machines { fails: |set| set.contains(&1), cannot_be_built: Some([1].into()), booted: Vec::new() };
    let (finish, _, state) = of_images(machines, &["a.lock", "z.lock"], 3)?;
    let Finish::Decided(verdict) = &finish else { panic!("it is decided") };
    let outcome = Outcome::of(&state, verdict);
    let text = outcome.text();
    assert!(text.contains("fails with these upgrades together\n"), "{text}");
    assert_eq!(text.matches("could not be tested without it").count(), 1, "{text}");
    assert_eq!(serde_json::to_value(&outcome)?["not-tested-without"][0]["packages"][0]["name"], "p0");
    Ok(())
}

#[test]
fn images_that_both_fail_are_not_the_reason() -> Result<()> {
    let machines = Machines { fails: |_| true, cannot_be_built: None, booted: Vec::new() };
    let (finish, machines, state) = of_images(machines, &["a", "b"], 0)?;
    let Finish::Decided(verdict) = &finish else { panic!("it is decided") };
    assert_eq!((verdict, machines.booted.len()), (&Verdict::FailsWithoutChanges, 2));
    assert!(Outcome::of(&state, verdict).text().contains("fails with the good image too"));
    Ok(())
}

#[test]
fn a_failing_machine_gives_no_answer_and_the_run_is_made_elsewhere() -> Result<()> {
    let (finish, asked, state) = searched(vec![Script::Ends(RunVerdict::GpuFault), Script::Ends(RunVerdict::Timeout)])?;
    assert!(matches!(finish, Finish::Decided(Verdict::Found(found)) if found.len() == 2));
    let begun: Vec<(&str, bool)> = asked.iter().take(4).map(|(set, again)| (set.as_str(), *again)).collect();
    assert_eq!(begun, [("2 2", false), ("2 2", true), ("2 2", true), ("1 1", false)]);
    assert_eq!(state.runs.iter().filter(|run| run.answer.is_none()).count(), 2);
    assert!(state.is_over() && state.waiting.is_none());
    Ok(())
}

#[test]
fn it_ends_if_a_machine_fails_again_and_again() -> Result<()> {
    let script = || (0..3).map(|_| Script::Ends(RunVerdict::TestbedFailed)).collect();
    let (finish, asked, state) = searched(script())?;
    assert!(matches!(finish, Finish::NoAnswer(reason) if reason.contains("testbed-failed")));
    assert_eq!((asked.len(), state.search.runs(), state.is_over()), (3, 0, false));
    Ok(())
}

#[test]
fn a_second_timeout_of_the_same_packages_is_a_failure() -> Result<()> {
    let (_, asked, state) = searched(vec![Script::Ends(RunVerdict::Timeout), Script::Ends(RunVerdict::Timeout)])?;
    assert_eq!(asked[2].0, "1 1", "both new versions are known to fail");
    assert_eq!(state.runs[1].answer, Some(Answer::Bad));
    Ok(())
}

#[test]
fn a_run_with_other_packages_answers_for_those() -> Result<()> {
    // The run with the new `blas` alone gets the new `hip` too.
    let (finish, asked, state) = searched(vec![Script::Runs, Script::Runs, Script::BringsHip])?;
    assert_eq!(asked[2].0, "1 2");
    let run = &state.runs[2];
    assert_eq!((run.answer, run.deviations[0].to_string().as_str()), (Some(Answer::Skip), "hip was 2 instead of 1"));
    // One of the two, as they cannot be tested apart.
    assert!(matches!(finish, Finish::Decided(Verdict::Among(among, _)) if among.len() == 2), "{:?}", state.search);
    Ok(())
}

#[test]
fn a_set_is_told_by_the_numbers_of_the_plan() {
    for (set, told) in [
        (&[][..], "none of 14 groups is upgraded"),
        (&[3], "group 4 of 14 is upgraded"),
        (&[0, 1, 2, 8], "groups 1-3, 9 of 14 are upgraded"),
    ] {
        assert_eq!(words(&set.iter().copied().collect(), 14), told);
    }
    assert_eq!(words(&(0..14).collect(), 14), "all of 14 groups are upgraded");
    assert_eq!(words(&Upgraded::new(), 1), "the group is not upgraded");
    assert_eq!(words(&[0].into(), 1), "the group is upgraded");
}
