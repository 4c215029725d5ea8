//! The plan: what is searched, with how many runs, and how long that takes.

use std::fmt::Write as _;

use history::bisect::repeats;
use history::groups::Group;
use protocol::SourceChange;
use protocol::api::{ChangeKind, Difference};
use serde::Serialize;

use super::origins::{self, Origin};
use super::place::Place;
use super::state::{Observed, State};
use super::wording::{counted, printable_lines, time};

/// Groups that are listed one by one.
const LISTED: usize = 40;

/// The plan, also as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Plan<'a> {
    package: &'a str,
    test: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    good: &'a str,
    bad: &'a str,
    groups: &'a [Group],
    /// Where the versions of the groups come from.
    #[serde(skip_serializing_if = "<[Origin]>::is_empty")]
    versions: &'a [Origin],
    /// In a search by date: the states of the archive that are searched.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    dates: &'a [String],
    /// In a search over images in a row: their names.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    images: &'a [String],
    /// Source packages that take effect at the next boot only, and are not searched.
    at_boot: &'a [SourceChange],
    /// What differs besides the packages.
    also_different: Vec<Difference>,
    observed: Observed,
    repeat: u32,
    /// How many runs there were already.
    runs: usize,
    most_runs: u32,
    /// Most runs if two groups fail only together.
    most_runs_for_two: u32,
    seconds_each: f64,
}

/// How often a test has to pass until that counts, by how often it failed; `None` if it fails too rarely.
pub(super) fn repeat(observed: Observed) -> Option<u32> {
    if observed.passed == 0 {
        return Some(1);
    }
    repeats(f64::from(observed.failed) / f64::from(observed.failed.saturating_add(observed.passed)))
}

/// What differs between the ends besides packages.
pub(super) fn also_different(state: &State) -> Vec<Difference> {
    let mut found = history::differences(&state.good.environment, &state.bad.environment);
    found.retain(|difference| difference.kind != ChangeKind::Package);
    found
}

impl<'a> Plan<'a> {
    pub(super) fn of(state: &'a State) -> Self {
        Self {
            package: state.job.source.name(),
            test: &state.test,
            target: state.target.as_deref(),
            good: &state.good.name,
            bad: &state.bad.name,
            groups: &state.groups,
            versions: &state.versions,
            dates: &state.dates,
            images: &state.images,
            at_boot: &state.at_boot,
            also_different: also_different(state),
            observed: state.observed,
            repeat: state.search.repeat,
            runs: state.runs.len(),
            most_runs: state.search.most_runs(1),
            most_runs_for_two: state.search.most_runs(2),
            seconds_each: state.seconds(),
        }
    }

    /// The plan for people.
    pub(super) fn text(&self, place: &Place) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut text, place);
        printable_lines(&text)
    }

    fn write(&self, text: &mut String, place: &Place) -> std::fmt::Result {
        let on = self.target.map(|target| format!("  {target}")).unwrap_or_default();
        if self.observed == Observed::default() {
            let (good, bad) = (self.good, self.bad);
            writeln!(text, "{}  {}{on}: is to pass with {good} and to fail with {bad}", self.package, self.test)?;
        } else {
            writeln!(text, "{}  {}{on}: passed in {}, failed in {}", self.package, self.test, self.good, self.bad)?;
        }
        if let [first, .., last] = self.dates {
            writeln!(text, "  {} of the archive, from {first} to {last}", counted(self.dates.len(), "state"))?;
            return self.write_runs(text, place);
        }
        if let [first, .., last] = self.images {
            writeln!(text, "  {}, from {first} to {last}", counted(self.images.len(), "image"))?;
            return self.write_runs(text, place);
        }
        let packages: usize = self.groups.iter().map(|group| group.packages.len()).sum();
        let differ = if packages == 1 { "differs" } else { "differ" };
        let (packages, groups) = (counted(packages, "package"), counted(self.groups.len(), "group"));
        writeln!(text, "  {packages} {differ}, in {groups}:")?;
        for (number, group) in self.groups.iter().enumerate().take(LISTED) {
            writeln!(text, "  {:>4}  {}", number + 1, group.words())?;
        }
        if self.groups.len() > LISTED {
            writeln!(text, "        and {} more: --json lists them", self.groups.len() - LISTED)?;
        }
        if let Some(line) = origins::line(self.versions) {
            writeln!(text, "  {line}")?;
        }
        if !self.at_boot.is_empty() {
            let list: Vec<String> = self.at_boot.iter().map(ToString::to_string).collect();
            writeln!(text, "  not searched, as it takes effect at the next boot only: {}", list.join(", "))?;
        }
        self.write_runs(text, place)
    }

    fn write_runs(&self, text: &mut String, place: &Place) -> std::fmt::Result {
        // Images differ in these too, and are what is searched.
        if !self.also_different.is_empty() && !matches!(place, Place::Machines(_)) {
            let list: Vec<String> = self.also_different.iter().map(ToString::to_string).collect();
            writeln!(text, "  also different, and not searched: {}", list.join(", "))?;
        }
        let Observed { failed, passed } = self.observed;
        let times = if self.repeat == 1 { "once".to_owned() } else { format!("{} times", self.repeat) };
        let what = if matches!(place, Place::Machines(_)) { "an image counts" } else { "packages count" };
        let ran = counted((failed + passed) as usize, "run");
        let so_far = if failed + passed == 0 { String::new() } else { format!("it failed in {failed} of {ran}: ") };
        writeln!(text, "  {so_far}{what} as good when it has passed {times}")?;
        let is_of_machines = matches!(place, Place::Machines(_));
        let place = match place {
            Place::Hub(address) => format!("jobs at {address}"),
            Place::Local(local) => format!("testbeds of {} on this machine", local.recipe),
            Place::Machines(machines) if machines.recipe.is_some() => {
                "virtual machines that boot images which are built for it".to_owned()
            }
            Place::Machines(_) => "virtual machines that boot these images".to_owned(),
        };
        let (most, each) = (self.most_runs, self.seconds_each);
        let runs = counted(most as usize, "run");
        if each <= 0.0 || is_of_machines {
            let two = self.most_runs_for_two;
            let two = if self.groups.is_empty() { String::new() } else { format!(" for one group, {two} for two") };
            // What was measured is the test alone.
            let each = if each <= 0.0 {
                "how long one takes is not known yet".to_owned()
            } else {
                format!("about {} each for the test, besides building and booting", time(each))
            };
            return writeln!(text, "  at most {runs}{two}, as {place}; {each}");
        }
        if self.groups.is_empty() {
            let all = time(each * f64::from(most));
            return writeln!(text, "  at most {runs}, about {} each: {all}, as {place}", time(each));
        }
        writeln!(
            text,
            "  at most {} for one group, {} for two that fail only together, about {} each: {} ({}), as {place}",
            counted(self.most_runs as usize, "run"),
            self.most_runs_for_two,
            time(self.seconds_each),
            time(self.seconds_each * f64::from(self.most_runs)),
            time(self.seconds_each * f64::from(self.most_runs_for_two)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_always_failed_needs_to_pass_once() {
        let repeat = |failed, passed| repeat(Observed { failed, passed });
        assert_eq!((repeat(1, 0), repeat(30, 0)), (Some(1), Some(1)));
        assert_eq!((repeat(3, 1), repeat(1, 2), repeat(1, 30)), (Some(4), Some(12), None));
    }
}
