//! Rests: outside the hours of the machine's owner, and when there has been no job for a while.

use std::time::{Duration, Instant};

use advice::Advice;
use protocol::api::{GiveBackReason, Health};

use appliance::report::Report;
use appliance::settings::WhenIdle;

use super::schedule::{Phase, TooLong};
use super::{Look, Shift, TICK};
use crate::job_source::{Assignment, End};

/// How long results on their way are waited for before the machine sleeps.
const FAREWELL: Duration = Duration::from_secs(20);

/// How long a machine with results on their way is not idle: its hub may be away for days.
const LONGEST_DELIVERY: Duration = Duration::from_secs(3600);

/// So near to its next hours a machine does not fall asleep: the alarm could come first.
const SOON: Duration = Duration::from_secs(120);

/// What the owner's times say.
pub(super) enum Kept {
    /// Jobs may be taken.
    Work,
    /// Not now; a while has gone by.
    Rest,
    /// The machine is to end.
    End(End),
}

impl Shift<'_, '_> {
    /// Keeps to the owner's times.
    pub(super) fn keep_times(&mut self) -> Result<Kept, Advice> {
        let phase = self.parts.schedule.phase();
        // First, as the hub may take its time.
        self.end_with_the_hours(phase);
        if phase != self.phase {
            self.enter(phase)?;
        }
        let is_idle = self.crew.is_empty() && self.waiting.is_none() && !self.delivers();
        match self.parts.schedule.idle(is_idle) {
            WhenIdle::Stay => {}
            WhenIdle::PowerOff => return self.power_off(),
            WhenIdle::Suspend => {
                self.sleep()?;
                return Ok(Kept::Rest);
            }
        }
        if phase == Phase::Open {
            return Ok(Kept::Work);
        }
        self.take_ended(TICK)?;
        Ok(Kept::Rest)
    }

    /// Interrupts what runs outside of the hours.
    pub(super) fn end_with_the_hours(&mut self, phase: Phase) {
        if matches!(phase, Phase::Closed { .. }) && !self.crew.is_empty() {
            self.crew.interrupt("this machine's hours have ended");
        }
    }

    /// Whether results are on their way, and have not been for long: a machine that sleeps would lose their leases.
    fn delivers(&mut self) -> bool {
        if !self.parts.source.has_undelivered() {
            self.undelivered = None;
            return false;
        }
        self.undelivered.get_or_insert_with(Instant::now).elapsed() < LONGEST_DELIVERY
    }

    /// Tells that hours begin or end, and gives back what has not begun.
    fn enter(&mut self, phase: Phase) -> Result<(), Advice> {
        let text = self.parts.schedule.describe(phase);
        (self.parts.tell)(&Report::Condition { of: "hours".into(), text: text.clone(), bad: false });
        self.phase = phase;
        if phase == Phase::Open {
            self.look_again();
            return Ok(());
        }
        self.parts.source.health(Health::OutsideHours, &text)?;
        if let Some(assignment) = self.waiting.take() {
            self.parts.source.give_back(&assignment, GiveBackReason::Other, &text)?;
        }
        self.parts.source.withdraw()
    }

    /// Gives a job back that comes after the end of the hours, or would be cut off by it. Returns whether it did.
    pub(super) fn comes_too_late(&mut self, assignment: &Assignment) -> Result<bool, Advice> {
        let phase = self.parts.schedule.phase();
        if matches!(phase, Phase::Closed { .. }) {
            let why = self.parts.schedule.describe(phase);
            self.give_back(assignment, GiveBackReason::Other, &why)?;
            return Ok(true);
        }
        let expected = self.expected(assignment);
        let Err(why) = self.parts.schedule.admit(expected) else { return Ok(false) };
        let reason = match why {
            TooLong::Ever { .. } => GiveBackReason::CannotRun,
            TooLong::Now { .. } => GiveBackReason::Other,
        };
        self.give_back(assignment, reason, &why.to_string())?;
        Ok(true)
    }

    /// Why a job that the machine has ended has no result.
    pub(super) fn reason_of_end(&self) -> GiveBackReason {
        match self.parts.schedule.phase() {
            // The machine goes on after a rest.
            Phase::Closed { .. } => GiveBackReason::Other,
            Phase::Open | Phase::Full { .. } => GiveBackReason::ShuttingDown,
        }
    }

    fn power_off(&mut self) -> Result<Kept, Advice> {
        self.parts.source.health(Health::Off, &self.idle_for())?;
        self.parts.source.withdraw()?;
        // Not every machine has such a clock, and a person can switch it on.
        let alarm = self.set_alarm();
        if let Err(error) = alarm.as_ref() {
            (self.parts.tell)(&Report::Problem(error.clone()));
        }
        self.wakes = alarm.is_ok();
        let wakes = alarm.ok().flatten().map(|after| format!("; its clock switches it on in {}", span(after)));
        let why = format!("{}, and when-idle=power-off{}", self.idle_for(), wakes.unwrap_or_default());
        Ok(Kept::End(End::Done(why)))
    }

    /// Suspends the machine, until its next hours or until a person wakes it. One that would not wake by itself for its
    /// hours stays on.
    fn sleep(&mut self) -> Result<(), Advice> {
        let alarm = match self.set_alarm() {
            Ok(alarm) => alarm,
            Err(error) => {
                (self.parts.tell)(&Report::Problem(error));
                self.parts.schedule.stay_on();
                return Ok(());
            }
        };
        let wakes = alarm.map_or_else(|| "until it is woken".to_owned(), |after| format!("for {}", span(after)));
        let text = format!("{}: it sleeps {wakes}", self.idle_for());
        self.parts.source.health(Health::Off, &text)?;
        self.parts.source.withdraw()?;
        (self.parts.tell)(&Report::Idle { why: text });
        let until = Instant::now() + FAREWELL;
        while self.parts.source.has_undelivered() && Instant::now() < until && !self.stopped() {
            self.take_ended(TICK)?;
        }
        if self.stopped() {
            return Ok(());
        }
        if self.is_soon_in_its_hours() {
            (self.parts.tell)(&Report::Idle { why: "its hours begin in a moment, so it does not sleep".into() });
            self.parts.schedule.awake();
            return self.enter(Phase::Open);
        }
        // Anew, as time has gone by since it was set.
        if let Err(error) = self.set_alarm() {
            (self.parts.tell)(&Report::Problem(error));
            self.parts.schedule.stay_on();
            return self.enter(Phase::Open);
        }
        match self.parts.schedule.power.suspend() {
            Ok(()) => (self.parts.tell)(&Report::Idle { why: "awake again".into() }),
            Err(error) => {
                let help = "set when-idle to power-off or stay, or see whether the firmware offers S3 sleep";
                let what = advice::Report::of(&error, |_| None);
                let what = std::iter::once(what.message).chain(what.causes).collect::<Vec<_>>().join(": ");
                (self.parts.tell)(&Report::problem(what, help));
                self.parts.schedule.stay_on();
            }
        }
        self.parts.schedule.awake();
        // The hub is told again how the machine is, and the screen whether it is in its hours.
        self.enter(Phase::Open)
    }

    fn is_soon_in_its_hours(&self) -> bool {
        let is_closed = matches!(self.parts.schedule.phase(), Phase::Closed { .. });
        is_closed && self.parts.schedule.next_hours().is_some_and(|left| left < SOON)
    }

    /// Sets the clock's alarm for the next hours. Returns after how long it comes.
    pub(super) fn set_alarm(&self) -> Result<Option<Duration>, Advice> {
        let next = self.parts.schedule.next_hours();
        let set = self.parts.schedule.power.set_alarm(next);
        set.or_else(|error| match next {
            // There is none to set.
            None => Ok(None),
            Some(_) => Err(Advice::new(
                format!("setting the clock's alarm for the machine's next hours: {error}"),
                "set when-idle to stay, or have the firmware start the machine at that time",
            )),
        })
    }

    fn idle_for(&self) -> String {
        // Why it took none, if it was not fit.
        let unfit = if self.look.told.is_empty() { String::new() } else { format!(" ({})", self.look.told) };
        format!("it has had no job for {}{unfit}", span(self.parts.schedule.idle_after()))
    }

    fn look_again(&mut self) {
        self.look = Look { told: std::mem::take(&mut self.look.told), ..Look::default() };
    }
}

fn span(time: Duration) -> String {
    protocol::Span::seconds(time.as_secs()).to_string()
}
