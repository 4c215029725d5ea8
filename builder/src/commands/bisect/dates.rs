//! A search by the date of the archive, for archives whose old states apt finds at a snapshot service.

use advice::Advice;
use anyhow::{Context as _, Result, bail};
use jiff::{SignedDuration, Timestamp, fmt::rfc2822::DateTimeParser};
use protocol::ArchiveState;

use super::state::Question;

/// Between two states of the archive that are tried. Debian has four a day.
const STEP: SignedDuration = SignedDuration::from_hours(6);
/// Most states between two runs.
const MOST: usize = 4000;

/// The dates from that of the run that passed to that of the run that failed, as apt has them: `20261001T000000Z`.
pub(super) fn between(question: &Question) -> Result<Vec<String>> {
    if let Some(archive) = &question.job.archive {
        bail!(Advice::new(
            format!("the test ran with the archive {archive}"),
            "a search by date takes results of the archive as it was"
        ));
    }
    let same = |bad: &&ArchiveState| {
        question.good.archives.iter().any(|good| (&good.origin, &good.codename) == (&bad.origin, &bad.codename))
    };
    let both = question.bad.archives.iter().find(same).and_then(|bad| {
        let good = question
            .good
            .archives
            .iter()
            .find(|good| (&good.origin, &good.codename) == (&bad.origin, &bad.codename))?;
        Some((date(&good.date)?, date(&bad.date)?))
    });
    let (first, last) = both.ok_or_else(|| {
        Advice::new(
            format!("the dates of the archive are not known of both {} and {}", question.good.name, question.bad.name),
            "search by package: leave --dates out",
        )
    })?;
    steps(first, last)
}

fn steps(first: Timestamp, last: Timestamp) -> Result<Vec<String>> {
    if first >= last {
        bail!(Advice::new(
            format!("the archive was not newer in the run that failed: {first}, then {last}"),
            "search by package: leave --dates out"
        ));
    }
    let mut dates = Vec::new();
    let mut at = first;
    while at < last && dates.len() < MOST {
        dates.push(at.strftime("%Y%m%dT%H%M%SZ").to_string());
        at = at.checked_add(STEP).context("counting dates")?;
    }
    dates.push(last.strftime("%Y%m%dT%H%M%SZ").to_string());
    Ok(dates)
}

/// The date of a Release file.
fn date(text: &str) -> Option<Timestamp> {
    static DATES: DateTimeParser = DateTimeParser::new();
    DATES.parse_timestamp(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_four_states_a_day() -> Result<()> {
        let at = |text: &str| date(text).context("a date");
        let first = at("Fri, 30 Oct 2026 20:08:01 UTC")?;
        let found = steps(first, at("Sat, 31 Oct 2026 14:00:00 UTC")?)?;
        assert_eq!(found, ["20261030T200801Z", "20261031T020801Z", "20261031T080801Z", "20261031T140000Z"]);
        assert!(steps(first, first).is_err());
        assert_eq!(date("yesterday"), None);
        Ok(())
    }
}
