//! `rocbed test --compare`: runs a job's tests with the archive's packages, then with the own ones, and tells what differs.

use std::fs::File;
use std::path::Path;

use advice::Advice;
use anyhow::{Context as _, Result, bail};
use bundle::JUNIT;
use history::Seen;
use protocol::api::{Compared, ComparedTest, Comparison};
use protocol::{Verdict, exit};

use super::parts::{MOST_CASES, refuse_used};
use super::{Tested, make_in, table};
use crate::commands::{print, results};
use crate::report::Reporter;

/// With which packages the tests are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Those of the archive.
    Archive,
    /// Those that the command line names.
    Own,
}

impl Side {
    /// Name of its directory in that of the results.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Archive => "archive",
            Self::Own => "own",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Archive => "with the archive's packages",
            Self::Own => "with own packages",
        }
    }
}

/// Runs both by `run`, which gets the output directory too, shows what differs, and returns the exit status.
pub(super) fn run(
    output: &Path,
    json: bool,
    reporter: &Reporter,
    mut run: impl FnMut(Side, &Path) -> Result<Tested>,
) -> Result<u8> {
    refuse_used(output)?;
    let mut tested = |side: Side| -> Result<Tested> {
        let words = side.words();
        reporter.say(words);
        let tested = run(side, &make_in(output, side.name())?).with_context(|| format!("running the tests {words}"))?;
        if tested.cancelled {
            bail!(Advice::new(
                format!("the run {words} was stopped, and there is nothing to compare"),
                "run it again; --output keeps what there is"
            ));
        }
        if !json {
            print(&format!("{words}:\n{}\n", table::table(&tested.result)))?;
        }
        Ok(tested)
    };
    let (before, after) = (tested(Side::Archive)?, tested(Side::Own)?);
    let comparison = comparison(&before, &after)?;
    results::show_comparison(&comparison, json)?;
    Ok(code(&comparison, &before, &after))
}

fn comparison(before: &Tested, after: &Tested) -> Result<Comparison> {
    let mut comparison =
        history::compare(&before.result, &after.result).context("reading the packages that were installed")?;
    // A report that cannot be read does not cost the comparison of the tests.
    match (junit(before), junit(after)) {
        (Ok(Some(before)), Ok(Some(after))) => hub::add_cases(&mut comparison, &before, &after),
        (Err(error), _) | (_, Err(error)) => comparison.cases_problem = Some(format!("{error:#}")),
        _ => {}
    }
    Ok(comparison)
}

/// The `junit.xml` of a result.
fn junit(tested: &Tested) -> Result<Option<Vec<u8>>> {
    let reading = || format!("reading {JUNIT} of {}", tested.bundle.display());
    let file = File::open(&tested.bundle).with_context(reading)?;
    bundle::file(file, JUNIT, MOST_CASES).with_context(reading)
}

/// 4 only if something fails that does not fail with the archive's packages, so that what is broken in both does not hold up
/// who has not broken it.
fn code(comparison: &Comparison, before: &Tested, after: &Tested) -> u8 {
    let verdicts = (before.result.verdict, after.result.verdict);
    let is_known = |tested: &Tested| tested.result.verdict.is_of_package() && tested.not_counted.is_none();
    let has_new_fault = verdicts.1 == Verdict::GpuFault && verdicts.0.is_of_package();
    if has_new_fault || comparison.tests.iter().any(fails_now) {
        exit::SOME_FAILED
    } else if !is_known(before) || !is_known(after) {
        exit::TESTBED_FAILED
    } else if comparison.tests.is_empty() || verdicts.1 == Verdict::Neutral {
        exit::NOTHING_TESTED
    } else {
        exit::PASSED
    }
}

/// Whether a test fails with own packages only: it passed, or did not run, with the archive's.
fn fails_now(test: &ComparedTest) -> bool {
    let outcome = test.after.as_ref().and_then(|run| Seen::of_name(&run.outcome));
    let is_bad = matches!(outcome, Some(Seen::Fail | Seen::TimedOut));
    is_bad && matches!(test.compared, Compared::Regressed | Compared::Added)
}

#[cfg(test)]
#[path = "compare/tests.rs"]
mod tests;
