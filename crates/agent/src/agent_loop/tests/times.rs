use std::path::Path;
use std::sync::atomic::AtomicUsize;

use appliance::settings::WhenIdle;
use jiff::Timestamp;

use super::*;
use crate::agent_loop::schedule::Schedule;
use crate::suspend::Power;

/// A Tuesday.
fn at(time: &str) -> Timestamp {
    format!("2026-12-01T{time}:00Z").parse().expect("a time")
}

/// Works at night by this clock, and does this when idle, at once.
fn night<'a>(when_idle: WhenIdle, clock: impl Fn() -> Timestamp + Sync + 'a) -> Schedule<'a> {
    Schedule::with_clock("22:00-07:00".parse().ok(), when_idle, Duration::ZERO, clock)
}

fn run_at(list: &mut List, runner: &dyn RunJob, schedule: Schedule<'_>) -> (Result<End, Advice>, Vec<Report>) {
    run_telling(list, runner, schedule, &|_| ())
}

/// Also calls `told` with each report.
fn run_telling(
    list: &mut List,
    runner: &dyn RunJob,
    schedule: Schedule<'_>,
    told: &(dyn Fn(&Report) + Sync),
) -> (Result<End, Advice>, Vec<Report>) {
    let reports = Mutex::new(Vec::new());
    let end = AgentLoop {
        source: list,
        runner,
        fitness: &mut AlwaysFit,
        journal: None,
        machine: &Machine::default(),
        at_once: AtOnce::default(),
        when_done: WhenDone::Wait,
        schedule,
        stop: &AtomicBool::new(false),
        tell: &|report| {
            told(report);
            reports.lock().unwrap_or_else(PoisonError::into_inner).push(report.clone());
        },
    }
    .run();
    (end, reports.into_inner().unwrap_or_else(PoisonError::into_inner))
}

#[test]
fn jobs_wait_for_the_hours_of_the_owner() {
    let (looks, mut list) = (AtomicUsize::new(0), List::of(&["gzip"]));
    let clock = || at(if looks.fetch_add(1, Ordering::SeqCst) < 6 { "21:59" } else { "22:00" });
    let (end, reports) = run_at(&mut list, &Passes::default(), night(WhenIdle::Stay, clock));
    assert_eq!(end, Ok(done()));
    let told = list.told();
    let told: Vec<_> = told.iter().filter(|text| !text.starts_with("log")).map(String::as_str).collect();
    let expected =
        ["ready", "qualifying", "outside-hours", "ready", "started gzip", "deliver gzip pass", "ready", "off"];
    assert_eq!(told.get(..8), Some(&expected[..]));
    let hours = reports.iter().filter_map(|report| match report {
        Report::Condition { of, text, bad: false } if of == "hours" => Some(text.as_str()),
        _ => None,
    });
    let shown: Vec<_> = hours.collect();
    assert_eq!(shown, ["outside its hours (22:00-07:00); jobs again from Tue 2026-12-01 22:00 UTC", ""]);
}

/// Runs until it is interrupted.
struct Endless(AtomicUsize);

impl RunJob for Endless {
    fn run(
        &self,
        assignment: &Assignment,
        _: &Share,
        _: &mut dyn FnMut(&[u8]),
        _: &mut dyn FnMut(&str),
    ) -> Result<Outcome, RunError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        while !assignment.interrupt.flag().load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        Ok(Outcome::Stopped { stuck: false })
    }

    fn forget(&self, _: &Delivery) {}
}

#[test]
fn a_job_that_runs_when_the_hours_end_is_given_back_and_the_machine_switched_off() {
    let (begun, mut list) = (Endless(AtomicUsize::new(0)), List::of(&["gzip"]));
    let clock = || at(if begun.0.load(Ordering::SeqCst) == 0 { "06:59" } else { "07:00" });
    let sys = tempfile::tempdir().expect("a directory");
    let mut schedule = night(WhenIdle::PowerOff, clock);
    schedule.power = Power::below(sys.path());
    // Not before the job has begun.
    schedule.set_idle_after(Duration::from_millis(50));
    let (end, reports) = run_at(&mut list, &begun, schedule);
    assert_eq!(end, Ok(End::Done("it has had no job for 0s, and when-idle=power-off".into())));
    let gave_back = "give back gzip, other: this machine's hours have ended".to_owned();
    assert!(list.told().contains(&gave_back), "{:?}", list.told());
    let problem = |report: &Report| matches!(report, Report::Problem(told) if told.what.contains("the clock's alarm"));
    assert!(reports.iter().any(problem), "{reports:?}");
}

#[test]
fn a_job_that_usually_takes_longer_than_is_left_does_not_begin() {
    for (usual, reason) in [(7200, "other"), (36_000, "cannot-run")] {
        let mut list = List { usual: Some(usual), ..List::of(&["gzip"]) };
        let mut schedule = night(WhenIdle::PowerOff, || at("06:00"));
        schedule.set_idle_after(Duration::from_millis(50));
        schedule.power = Power::below(Path::new("/nowhere"));
        let (end, _) = run_at(&mut list, &Passes::default(), schedule);
        assert!(end.is_ok());
        let told = list.told();
        assert!(told.iter().any(|text| text.starts_with(&format!("give back gzip, {reason}: it usually"))), "{told:?}");
        assert!(!told.iter().any(|text| text.starts_with("started")), "{told:?}");
    }
}

#[test]
fn an_idle_machine_sleeps_until_its_next_hours() {
    let sys = tempfile::tempdir().expect("a directory");
    let clock = sys.path().join("class/rtc/rtc0");
    std::fs::create_dir_all(&clock).expect("a directory");
    std::fs::create_dir_all(sys.path().join("power")).expect("a directory");
    std::fs::write(clock.join("since_epoch"), "1000").expect("a file");
    std::fs::write(sys.path().join("power/state"), "freeze mem").expect("a file");
    // Who has slept is in the hours again.
    let state = sys.path().join("power/state");
    let slept = || std::fs::read_to_string(&state).is_ok_and(|text| text == "mem");
    let mut schedule = night(WhenIdle::Suspend, || at(if slept() { "23:00" } else { "12:00" }));
    // Long enough to claim when it is awake.
    schedule.set_idle_after(Duration::from_millis(50));
    schedule.power = Power::below(sys.path());
    let mut list = List::default();
    let (end, reports) = run_at(&mut list, &Passes::default(), schedule);
    assert_eq!(end, Ok(done()));
    let told = list.told();
    let told: Vec<_> = told.iter().map(String::as_str).take(5).collect();
    assert_eq!(told, ["ready", "qualifying", "outside-hours", "off", "ready"]);
    let alarm = std::fs::read_to_string(clock.join("wakealarm")).expect("an alarm");
    assert_eq!(alarm, (1000 + 10 * 3600).to_string());
    // The screen does not say that it rests any more.
    let hours = |report: &&Report| matches!(report, Report::Condition { of, .. } if of == "hours");
    let last = reports.iter().rfind(hours);
    assert!(matches!(last, Some(Report::Condition { text, .. }) if text.is_empty()), "{last:?}");
    let idle = |report: &Report| matches!(report, Report::Idle { why } if why.ends_with("it sleeps for 10h"));
    assert!(reports.iter().any(idle), "{reports:?}");
}

#[test]
fn a_machine_does_not_fall_asleep_just_before_its_hours() {
    let sys = tempfile::tempdir().expect("a directory");
    let clock = sys.path().join("class/rtc/rtc0");
    std::fs::create_dir_all(&clock).expect("a directory");
    std::fs::create_dir_all(sys.path().join("power")).expect("a directory");
    std::fs::write(clock.join("since_epoch"), "1000").expect("a file");
    let state = sys.path().join("power/state");
    std::fs::write(&state, "freeze mem").expect("a file");
    // The hours begin once it was told not to sleep.
    let stayed = AtomicBool::new(false);
    let mut schedule = night(WhenIdle::Suspend, || at(if stayed.load(Ordering::SeqCst) { "22:00" } else { "21:59" }));
    schedule.set_idle_after(Duration::from_millis(50));
    schedule.power = Power::below(sys.path());
    let stays = |report: &Report| matches!(report, Report::Idle { why } if why.ends_with("so it does not sleep"));
    let (end, reports) = run_telling(&mut List::default(), &Passes::default(), schedule, &|report| {
        stayed.fetch_or(stays(report), Ordering::SeqCst);
    });
    assert_eq!(end, Ok(done()));
    assert_eq!(std::fs::read_to_string(&state).expect("the state"), "freeze mem", "it has not slept");
    assert!(reports.iter().any(stays), "{reports:?}");
}

#[test]
fn a_machine_that_cannot_sleep_stays_on_and_says_so() {
    let (sys, looks) = (tempfile::tempdir().expect("a directory"), AtomicUsize::new(0));
    let clock = sys.path().join("class/rtc/rtc0");
    std::fs::create_dir_all(&clock).expect("a directory");
    std::fs::write(clock.join("since_epoch"), "1000").expect("a file");
    let time = || at(if looks.fetch_add(1, Ordering::SeqCst) < 12 { "12:00" } else { "23:00" });
    let mut schedule = night(WhenIdle::Suspend, time);
    schedule.power = Power::below(sys.path());
    let (end, reports) = run_at(&mut List::default(), &Passes::default(), schedule);
    assert_eq!(end, Ok(done()));
    let problems: Vec<_> = reports.iter().filter(|report| matches!(report, Report::Problem(_))).collect();
    assert!(matches!(problems[..], [Report::Problem(told)] if told.what.contains("cannot suspend")), "{problems:?}");
}
