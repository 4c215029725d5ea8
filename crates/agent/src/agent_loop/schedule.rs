//! [`Schedule`]: the times at which the owner of a machine lets it work, and what it does when it has no work.

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use protocol::{Hours, Opening, Span};

use appliance::settings::{Settings, WhenIdle};

use crate::suspend::Power;

/// The owner's times, and a clock.
pub struct Schedule<'a> {
    hours: Option<Hours>,
    when_idle: WhenIdle,
    idle_after: Duration,
    now: Box<dyn Fn() -> Timestamp + Sync + 'a>,
    /// The end of the hours in which no more jobs begin, because the next one usually takes longer than is left.
    full_until: Option<Timestamp>,
    /// Since when no job runs.
    idle_since: Option<Instant>,
    /// Has the machine sleep and wake.
    pub(super) power: Power,
}

/// What may be done at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Jobs may begin.
    Open,
    /// Jobs may run on, and no more begin before this time.
    Full { until: Timestamp },
    /// No job may run before this time.
    Closed { until: Timestamp },
}

/// Why a job does not begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TooLong {
    /// The hours end before it would.
    #[error("it usually takes {}, and this machine's hours end in {}", .usual, .left)]
    Now { usual: Span, left: Span },
    /// The hours are never that long.
    #[error("it usually takes {}, and this machine's hours ({}) are never that long", .usual, .hours)]
    Ever { usual: Span, hours: Hours },
}

impl Default for Schedule<'_> {
    /// Always at work.
    fn default() -> Self {
        Self::with_clock(None, WhenIdle::Stay, Duration::MAX, Timestamp::now)
    }
}

impl<'a> Schedule<'a> {
    /// The times in the settings of a machine.
    pub fn new(settings: &Settings) -> Self {
        Self::with_clock(settings.hours.clone(), settings.when_idle, settings.idle_after.0, Timestamp::now)
    }

    pub(super) fn with_clock(
        hours: Option<Hours>,
        when_idle: WhenIdle,
        idle_after: Duration,
        now: impl Fn() -> Timestamp + Sync + 'a,
    ) -> Self {
        Self {
            hours,
            when_idle,
            idle_after,
            now: Box::new(now),
            full_until: None,
            idle_since: None,
            power: Power::below(Path::new("/sys")),
        }
    }

    #[cfg(test)]
    pub(super) fn set_idle_after(&mut self, time: Duration) {
        self.idle_after = time;
    }

    pub(super) fn now(&self) -> Timestamp {
        (self.now)()
    }

    pub(super) fn phase(&self) -> Phase {
        let now = self.now();
        match self.hours.as_ref().map(|hours| (hours, hours.at(now))) {
            Some((_, Opening::Closed { until })) => Phase::Closed { until },
            Some((hours, Opening::Open { until: Some(end) })) if self.full_until == Some(end) => match hours.at(end) {
                Opening::Closed { until } => Phase::Full { until },
                Opening::Open { .. } => Phase::Open,
            },
            Some((_, Opening::Open { .. })) | None => Phase::Open,
        }
    }

    /// Whether a job that usually takes so many seconds ends in time. If it does not, no more jobs begin until the next
    /// hours: the source would give out the same one again.
    pub(super) fn admit(&mut self, usual: Option<u64>) -> Result<(), TooLong> {
        let (Some(hours), Some(usual)) = (&self.hours, usual) else { return Ok(()) };
        let now = self.now();
        let Opening::Open { until: Some(end) } = hours.at(now) else { return Ok(()) };
        let left = u64::try_from(end.duration_since(now).as_secs()).unwrap_or_default();
        if usual <= left {
            return Ok(());
        }
        let usual_span = Span::seconds(usual);
        if usual > hours.longest() {
            return Err(TooLong::Ever { usual: usual_span, hours: hours.clone() });
        }
        self.full_until = Some(end);
        Err(TooLong::Now { usual: usual_span, left: Span::seconds(left) })
    }

    /// Takes note of whether a job runs. Returns what to do, once none has run for long enough.
    pub(super) fn idle(&mut self, is_idle: bool) -> WhenIdle {
        if !is_idle {
            self.idle_since = None;
            return WhenIdle::Stay;
        }
        let since = *self.idle_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= self.idle_after { self.when_idle } else { WhenIdle::Stay }
    }

    pub(super) fn idle_after(&self) -> Duration {
        self.idle_after
    }

    /// Begins to count anew how long no job has run.
    pub(super) fn awake(&mut self) {
        self.idle_since = None;
    }

    /// Does nothing any more when idle: the machine cannot.
    pub(super) fn stay_on(&mut self) {
        self.when_idle = WhenIdle::Stay;
    }

    /// In how long the next hours begin; `None` if there are none, or they never end.
    pub(super) fn next_hours(&self) -> Option<Duration> {
        let (hours, now) = (self.hours.as_ref()?, self.now());
        let next = match hours.at(now) {
            Opening::Closed { until } => until,
            Opening::Open { until } => match hours.at(until?) {
                Opening::Closed { until } => until,
                Opening::Open { .. } => return None,
            },
        };
        Duration::try_from(next.duration_since(now).max(SignedDuration::ZERO)).ok()
    }

    /// For people: when the next hours begin.
    pub(super) fn describe(&self, phase: Phase) -> String {
        let hours = self.hours.as_ref().map(Hours::to_string).unwrap_or_default();
        let time = |until: Timestamp| until.strftime("%a %Y-%m-%d %H:%M UTC").to_string();
        match phase {
            Phase::Open => String::new(),
            Phase::Full { until } => {
                format!("what is left of its hours is too short for the next job; jobs again from {}", time(until))
            }
            Phase::Closed { until } => format!("outside its hours ({hours}); jobs again from {}", time(until)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::sync::Mutex;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    fn schedule(hours: &str, now: &str) -> Result<Schedule<'static>, Box<dyn std::error::Error>> {
        let now: Timestamp = now.parse()?;
        Ok(Schedule::with_clock(Some(hours.parse()?), WhenIdle::Stay, Duration::ZERO, move || now))
    }

    #[test]
    fn people_are_told_when_it_goes_on() -> Outcome {
        let closed = schedule("22:00-07:00", "2026-12-01T12:00:00Z")?;
        let text = closed.describe(closed.phase());
        assert_eq!(text, "outside its hours (22:00-07:00); jobs again from Tue 2026-12-01 22:00 UTC");
        assert_eq!(closed.next_hours(), Some(Duration::from_secs(10 * 3600)));
        Ok(())
    }

    #[test]
    fn a_job_that_would_be_cut_off_does_not_begin() -> Outcome {
        let mut open = schedule("22:00-07:00", "2026-12-01T06:00:00Z")?;
        assert_eq!(open.admit(None), Ok(()), "nothing is known of how long it takes");
        assert_eq!(open.admit(Some(3600)), Ok(()));
        assert_eq!(open.phase(), Phase::Open);
        let why = open.admit(Some(7200)).map_err(|why| why.to_string());
        assert_eq!(why, Err("it usually takes 2h, and this machine's hours end in 1h".to_owned()));
        assert_eq!(open.phase(), Phase::Full { until: "2026-12-01T22:00:00Z".parse()? });
        let never = open.admit(Some(10 * 3600)).map_err(|why| matches!(why, TooLong::Ever { .. }));
        assert_eq!(never, Err(true));
        Ok(())
    }

    #[test]
    fn the_next_hours_begin_anew() -> Outcome {
        let now = Mutex::new("2026-12-01T06:00:00Z".parse::<Timestamp>()?);
        let clock = || *now.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut schedule = Schedule::with_clock(Some("22:00-07:00".parse()?), WhenIdle::Stay, Duration::ZERO, clock);
        assert!(schedule.admit(Some(7200)).is_err());
        *now.lock().map_err(|error| error.to_string())? = "2026-12-01T22:00:00Z".parse()?;
        assert_eq!(schedule.phase(), Phase::Open);
        Ok(())
    }

    #[test]
    fn idle_is_only_who_has_had_no_job_for_a_while() {
        let calls = Cell::new(0);
        let mut schedule = Schedule { when_idle: WhenIdle::Suspend, idle_after: Duration::MAX, ..Schedule::default() };
        assert_eq!(schedule.idle(true), WhenIdle::Stay);
        schedule.idle_after = Duration::ZERO;
        for (is_idle, expected) in [(true, WhenIdle::Suspend), (false, WhenIdle::Stay), (true, WhenIdle::Suspend)] {
            calls.set(calls.get() + 1);
            assert_eq!(schedule.idle(is_idle), expected, "call {}", calls.get());
        }
        schedule.stay_on();
        assert_eq!(schedule.idle(true), WhenIdle::Stay);
    }
}
