//! What a search has found, for people and as JSON.

use std::fmt::Write as _;

use history::bisect::{Answer, Upgraded, Verdict};
use history::differences;
use history::groups::{Deviation, Group, group};
use protocol::api::{ChangeKind, Difference};
use protocol::exit;
use serde::Serialize;

use super::contents;
use super::origins;
use super::place::Place;
use super::state::{Done, State, list};
use super::wording::{counted, printable_lines};

/// What was found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Outcome<'a> {
    #[serde(rename = "outcome")]
    kind: Kind,
    package: &'a str,
    test: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    /// The upgrades that the failure needs, all of them together.
    groups: Vec<Group>,
    /// Of these, one is needed too.
    one_of: Vec<Group>,
    /// Those of `groups` without which it could not be tested, so that it is not known whether they are needed.
    not_tested_without: Vec<Group>,
    /// In a search by date: the last state of the archive with which it passes, and the first with which it fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    dates: Option<(&'a str, &'a str)>,
    /// In a search over images in a row: the last one with which it passes, and the first with which it fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    images: Option<(&'a str, &'a str)>,
    /// What differs besides packages, where they are not the reason.
    other_differences: Vec<Difference>,
    /// Packages that were not installed as they were asked for, where an end could not be tested.
    deviations: &'a [Deviation],
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a str>,
    runs: usize,
    most_runs: u32,
    /// How often it failed in runs with all of the upgrades.
    with: Count,
    /// How often it failed in runs without one of them.
    without: Count,
    /// Probability that passes of a set that is bad have misled the search, for a test that fails by chance.
    #[serde(skip_serializing_if = "Option::is_none")]
    chance_of_error: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fails_with: Option<&'a Done>,
    #[serde(skip_serializing_if = "Option::is_none")]
    passes_without: Option<&'a Done>,
    #[serde(skip)]
    state: &'a State,
}

/// Kind of an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    /// The upgrades are known.
    Found,
    /// They are known but for some that cannot be told apart.
    Narrowed,
    /// It fails with the old packages too.
    FailsWithOldPackages,
    /// It passes with the new packages.
    PassesWithNewPackages,
    /// The old or the new packages cannot be tested.
    EndCannotBeTested,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Count {
    runs: usize,
    failed: usize,
}

impl<'a> Outcome<'a> {
    pub(super) fn of(state: &'a State, verdict: &Verdict) -> Self {
        let (kind, needed, one_of) = match verdict {
            Verdict::Found(needed) => (Kind::Found, needed.clone(), Upgraded::new()),
            Verdict::Among(one_of, needed) => (Kind::Narrowed, needed.clone(), one_of.clone()),
            Verdict::FailsWithoutChanges => (Kind::FailsWithOldPackages, Upgraded::new(), Upgraded::new()),
            Verdict::PassesWithAllChanges => (Kind::PassesWithNewPackages, Upgraded::new(), Upgraded::new()),
            Verdict::EndSkipped => (Kind::EndCannotBeTested, Upgraded::new(), Upgraded::new()),
        };
        let is_skipped = |group: &&usize| {
            let mut without = needed.clone();
            without.remove(*group);
            state.search.is_skipped(&without)
        };
        let not_tested_without: Upgraded = if kind == Kind::Found && !state.is_of_steps() {
            needed.iter().filter(is_skipped).copied().collect()
        } else {
            Upgraded::new()
        };
        let groups = |set: &Upgraded| set.iter().filter_map(|group| state.groups.get(*group).cloned()).collect();
        let all: Upgraded = needed.union(&one_of).copied().collect();
        let answered = |is: fn(&Done) -> bool| state.runs.iter().filter(move |run| is(run));
        let bad: fn(&Done) -> bool = |run| run.answer == Some(Answer::Bad);
        let good: fn(&Done) -> bool = |run| run.answer == Some(Answer::Good);
        let count = |all: &Upgraded, with: bool| {
            let of = |is| answered(is).filter(|run| run.upgraded.is_superset(all) == with).count();
            Count { runs: of(bad) + of(good), failed: of(bad) }
        };
        // The steps before belong to the set that fails.
        let all: Upgraded = if state.is_of_steps() { (0..=all.last().copied().unwrap_or(0)).collect() } else { all };
        let last = state.runs.last();
        let other_differences = match (kind, last) {
            // These runs had another environment than the end that they were to repeat.
            (Kind::FailsWithOldPackages, Some(run)) => differences(&state.good.environment, &run.environment),
            (Kind::PassesWithNewPackages, Some(run)) => differences(&run.environment, &state.bad.environment),
            _ => Vec::new(),
        };
        let skipped = last.filter(|_| kind == Kind::EndCannotBeTested);
        let fails_with =
            answered(bad).filter(|run| run.upgraded.is_superset(&all)).min_by_key(|run| run.upgraded.len());
        let passes_without = answered(good).max_by_key(|run| run.upgraded.len());
        let (mut needed_groups, mut dates, mut images) = (groups(&needed), None, None);
        if let (true, Some(passes), Some(fails)) = (state.is_of_steps(), passes_without, fails_with) {
            let ends = (&passes.upgraded, &fails.upgraded);
            dates = state.date(ends.0).zip(state.date(ends.1));
            images = state.image(ends.0).zip(state.image(ends.1));
            needed_groups = changed(state, passes, fails);
        }
        Self {
            kind,
            package: state.job.source.name(),
            test: &state.test,
            target: state.target.as_deref(),
            groups: needed_groups,
            one_of: groups(&one_of),
            not_tested_without: groups(&not_tested_without),
            dates,
            images,
            other_differences,
            deviations: skipped.map(|run| &run.deviations[..]).unwrap_or_default(),
            problem: skipped.and_then(|run| run.problem.as_deref()),
            runs: state.runs.len(),
            most_runs: state.search.most_runs(needed.len().max(1) as u32),
            with: count(&all, true),
            without: count(&all, false),
            chance_of_error: chance_of_error(state),
            fails_with,
            passes_without,
            state,
        }
    }

    /// Exit code of the command.
    pub(super) fn code(&self) -> u8 {
        if self.kind == Kind::Found { exit::PASSED } else { exit::SOME_FAILED }
    }

    /// The outcome in words, for people.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = match self.kind {
            Kind::Found | Kind::Narrowed => self.found(&mut text),
            Kind::FailsWithOldPackages | Kind::PassesWithNewPackages => self.not_packages(&mut text),
            Kind::EndCannotBeTested => self.end_skipped(&mut text),
        };
        printable_lines(&text)
    }

    fn heading(&self) -> String {
        let on = self.target.map(|target| format!("  {target}")).unwrap_or_default();
        format!("{}  {}{on}", self.package, self.test)
    }

    fn found(&self, text: &mut String) -> std::fmt::Result {
        if let Some((passes, fails)) = self.dates {
            writeln!(text, "{}: passes with the archive of {passes}, and fails with that of {fails}", self.heading())?;
            writeln!(text, "changed between them:")?;
            for group in &self.groups {
                writeln!(text, "  {}", group.words())?;
            }
            return self.evidence(text);
        }
        if let Some((passes, fails)) = self.images {
            writeln!(text, "{}: passes with the image {passes}, and fails with {fails}", self.heading())?;
            if !self.groups.is_empty() {
                writeln!(text, "changed between them:")?;
            }
            for group in &self.groups {
                writeln!(text, "  {}", group.words())?;
            }
            self.evidence(text)?;
            if self.groups.len() > 1 {
                writeln!(
                    text,
                    "next: the locks of both tell these apart: `rocbed bisect --image A.lock --image B.lock`"
                )?;
            }
            return Ok(());
        }
        let what = match (self.kind, self.groups.len()) {
            (Kind::Found, 1) => "fails because of this upgrade",
            (Kind::Found, _) if !self.not_tested_without.is_empty() => "fails with these upgrades together",
            (Kind::Found, _) => "fails only with these upgrades together",
            (_, 0) => "fails because of one of these upgrades, which cannot be tested apart",
            _ => "fails with these upgrades together, and one more",
        };
        writeln!(text, "{}: {what}", self.heading())?;
        for group in &self.groups {
            let is_tested = !self.not_tested_without.contains(group);
            let note = if is_tested { "" } else { " (could not be tested without it, so it may not be needed)" };
            writeln!(text, "  {}{note}", group.words())?;
        }
        for group in &self.one_of {
            writeln!(text, "  {}{}", if self.groups.is_empty() { "" } else { "one of: " }, group.words())?;
        }
        self.evidence(text)
    }

    /// How sure it is, and how to see it again.
    fn evidence(&self, text: &mut String) -> std::fmt::Result {
        let Count { runs, failed } = self.with;
        write!(text, "confidence: it failed in {failed} of {} with it", counted(runs, "run"))?;
        write!(text, ", and in {} of {} without", self.without.failed, self.without.runs)?;
        match self.chance_of_error {
            Some(chance) => writeln!(text, "; by chance it may be wrong with {:.1} %", chance * 100.0)?,
            None => writeln!(text)?,
        }
        writeln!(text, "runs: {} (planned: at most {})", self.runs, self.most_runs)?;
        if let Some(run) = self.passes_without {
            writeln!(text, "passes: {}", self.about(run))?;
        }
        if let Some(run) = self.fails_with {
            writeln!(text, "fails: {}", self.about(run))?;
            writeln!(text, "reproduce: {}", run.reproduce)?;
            let is_from_hub = origins::from_hub(&self.state.versions, &self.state.groups, &run.upgraded);
            if let Some(job) = run.job.as_ref().filter(|_| is_from_hub) {
                // The archive that the command above reads lacks some of its versions.
                writeln!(text, "reproduce with the packages that the hub keeps: rocbed jobs retry {job}")?;
            }
        }
        let is_debian = self.state.bad.archives.iter().any(|archive| archive.origin == "Debian");
        for group in self.groups.iter().chain(&self.one_of) {
            for source in group.sources.iter().filter(|source| source.to.is_some() && is_debian) {
                writeln!(text, "changes: https://tracker.debian.org/pkg/{}", source.source)?;
            }
            // A version with a digest behind it is not one that apt knows.
            let is_known = |version: &&String| !version.contains(' ');
            let mut packages = group.packages.iter();
            let newest = packages.find_map(|package| Some((&package.name, package.to.as_ref().filter(is_known)?)));
            if let Some((name, version)) = newest {
                writeln!(text, "changelog: apt changelog {name}={version}")?;
            }
        }
        if let (Place::Hub(_), Some(job)) = (&self.state.place, self.fails_with.and_then(|run| run.job.as_ref())) {
            writeln!(text, "report it: rocbed results bug {job}")?;
        }
        Ok(())
    }

    /// A run for people.
    fn about(&self, run: &Done) -> String {
        let words = super::search::about(self.state, &run.upgraded);
        let job = run.job.as_ref().map(|job| format!("{job}, ")).unwrap_or_default();
        format!("{job}{words}")
    }

    fn not_packages(&self, text: &mut String) -> std::fmt::Result {
        if self.state.is_of_images() {
            return self.not_images(text);
        }
        let (what, end) = match self.kind {
            Kind::FailsWithOldPackages => ("fails with all packages as in the run that passed", &self.state.good),
            _ => ("passes with all packages as in the run that failed", &self.state.bad),
        };
        writeln!(text, "{}: {what}, {}: the packages are not the reason", self.heading(), end.name)?;
        if !self.state.at_boot.is_empty() {
            let list: Vec<String> = self.state.at_boot.iter().map(ToString::to_string).collect();
            writeln!(text, "  not searched, as it takes effect at the next boot only: {}", list.join(", "))?;
        }
        if self.other_differences.is_empty() {
            writeln!(text, "  nothing else that is recorded differs from that run")?;
            writeln!(text, "next: it may fail by chance: --repeat COUNT runs each set more often")?;
            return if self.state.at_boot.is_empty() { Ok(()) } else { self.next_images(text) };
        }
        writeln!(text, "  what else differs from that run:")?;
        for difference in &self.other_differences {
            writeln!(text, "    {difference}")?;
        }
        let has = |kind: ChangeKind| self.other_differences.iter().any(|difference| difference.kind == kind);
        if has(ChangeKind::Machine) && matches!(self.state.place, Place::Hub(_)) {
            writeln!(text, "next: rocbed jobs confirm {} --elsewhere  tells the machine apart", self.state.bad.name)?;
        }
        let differs = [ChangeKind::Kernel, ChangeKind::Firmware, ChangeKind::Image].into_iter().any(has);
        if differs || !self.state.at_boot.is_empty() { self.next_images(text) } else { Ok(()) }
    }

    fn next_images(&self, text: &mut String) -> std::fmt::Result {
        let (good, bad) = (&self.state.good.name, &self.state.bad.name);
        writeln!(text, "next: rocbed bisect {good} {bad} --image OLD --image NEW  tells the images apart")
    }

    /// As [`Self::not_packages`], of images.
    fn not_images(&self, text: &mut String) -> std::fmt::Result {
        let what = match self.kind {
            Kind::FailsWithOldPackages => "fails with the good image too",
            _ => "passes with the bad image",
        };
        writeln!(text, "{}: {what}: the images are not the reason, or it fails by chance", self.heading())?;
        writeln!(text, "next: --repeat COUNT runs each image more often")
    }

    fn end_skipped(&self, text: &mut String) -> std::fmt::Result {
        if self.state.is_of_images() {
            let end = if self.state.runs.last().is_some_and(|run| run.upgraded.is_empty()) { "good" } else { "bad" };
            writeln!(text, "{}: it cannot be tested with the {end} image", self.heading())?;
            return self.problem.map_or(Ok(()), |problem| writeln!(text, "  {problem}"));
        }
        let end = if self.state.runs.last().is_some_and(|run| run.upgraded.is_empty()) {
            format!("as in {}, which passed", self.state.good.name)
        } else {
            format!("as in {}, which failed", self.state.bad.name)
        };
        writeln!(text, "{}: it cannot be tested with the packages {end}", self.heading())?;
        for deviation in self.deviations {
            writeln!(text, "  {deviation}")?;
        }
        if let Some(problem) = self.problem {
            writeln!(text, "  {problem}")?;
        }
        writeln!(text, "next: {}", super::FROM_WHERE)
    }
}

/// What changed between two steps of a row.
fn changed(state: &State, passes: &Done, fails: &Done) -> Vec<Group> {
    if let Place::Machines(machines) = &state.place {
        let image = |run: &Done| machines.images.get(run.upgraded.len());
        return image(passes).zip(image(fails)).map(|(from, to)| contents::changed(from, to)).unwrap_or_default();
    }
    match (list(&passes.packages), list(&fails.packages)) {
        (Ok(before), Ok(after)) => group(&before, &after, &|_, _| Vec::new()).groups,
        _ => Vec::new(),
    }
}

/// Probability that a set which is bad passed as often as was asked for, for at least one of those that passed. `None` if
/// the test is not known to pass where it can fail.
fn chance_of_error(state: &State) -> Option<f64> {
    let observed = state.observed;
    if observed.passed == 0 {
        return None;
    }
    let rate = f64::from(observed.failed) / f64::from(observed.failed.saturating_add(observed.passed));
    let passes = |answers: &Vec<Answer>| answers.iter().all(|answer| *answer == Answer::Good).then_some(answers.len());
    let each = state.search.answers.values().filter_map(passes);
    let chance: f64 = each.map(|count| (1.0 - rate).powi(i32::try_from(count).unwrap_or(i32::MAX))).sum();
    Some(chance.min(1.0))
}
