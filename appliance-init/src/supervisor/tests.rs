use std::cell::Cell;
use std::rc::Rc;

use super::*;
use crate::system::recording::Recording;

/// An agent's process id, or none if it cannot be started.
struct Starts(Vec<Option<i32>>);

impl StartAgent for Starts {
    fn start(&mut self) -> io::Result<i32> {
        if self.0.is_empty() { None } else { self.0.remove(0) }.ok_or_else(|| io::Error::from_raw_os_error(2))
    }
}

/// A watchdog that fails after it was fed three times.
struct Bowl(Rc<Cell<u32>>);

impl Watchdog for Bowl {
    fn feed(&mut self) -> io::Result<()> {
        self.0.set(self.0.get() + 1);
        if self.0.get() > 3 { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
    }
}

/// Feeds events to a supervisor whose agents get these ids; returns the ending and what was done.
fn after(events: Vec<Event>, agents: &[Option<i32>], ends: &[Ended]) -> (Option<Ending>, Vec<String>, Vec<String>) {
    let mut system = Recording { ends: ends.to_vec(), ..Recording::default() };
    let (mut console, mut starts) = (Console::nowhere(), Starts(agents.to_vec()));
    let mut supervisor = Supervisor::new(&mut system, &mut console, Screen::new(Vec::new()), &mut starts);
    let mut ending = None;
    for event in events {
        ending = ending.or(supervisor.handle(event));
    }
    let problems = supervisor.state.problems.iter().cloned().collect();
    (ending, system.calls, problems)
}

fn term() -> Event {
    Event::End(Ending::PowerOff, "SIGTERM".into())
}

#[test]
fn sigterm_before_the_agent_runs_ends_at_once() {
    let (ending, calls, _) = after(vec![term()], &[], &[]);
    assert_eq!((ending, calls.len()), (Some(Ending::PowerOff), 0));
    let (ending, _, _) = after(vec![Event::Said("x".into()), Event::PowerButton], &[], &[]);
    assert_eq!(ending, Some(Ending::PowerOff));
}

#[test]
fn sigterm_while_the_agent_runs_waits_for_it() {
    let (ending, calls, _) = after(vec![Event::GpuDriversLoaded, term()], &[Some(70)], &[]);
    assert_eq!((ending, calls), (None, vec!["signal 15 Process(70)".to_owned()]));
    let ended = Ended { pid: 70, code: Some(0) };
    let (ending, _, _) = after(vec![Event::GpuDriversLoaded, term(), Event::ChildEnded], &[Some(70)], &[ended]);
    assert_eq!(ending, Some(Ending::PowerOff));
}

#[test]
fn sigterm_twice_does_not_wait() {
    let restart = Event::End(Ending::Restart, "SIGINT".into());
    let (ending, _, _) = after(vec![Event::GpuDriversLoaded, term(), restart], &[Some(70)], &[]);
    assert_eq!(ending, Some(Ending::Restart));
}

#[test]
fn drivers_that_are_late_start_no_agent_on_a_machine_that_ends() {
    let (ending, calls, problems) = after(vec![term(), Event::GpuDriversLoaded], &[None], &[]);
    assert_eq!((ending, calls.len(), problems.len()), (Some(Ending::PowerOff), 0, 0));
}

#[test]
fn an_agent_that_was_killed_is_started_again_later() {
    let mut system = Recording { ends: vec![Ended { pid: 70, code: None }], ..Recording::default() };
    let (mut console, mut starts) = (Console::nowhere(), Starts(vec![Some(70), Some(71)]));
    let mut supervisor = Supervisor::new(&mut system, &mut console, Screen::new(Vec::new()), &mut starts);
    supervisor.handle(Event::GpuDriversLoaded);
    supervisor.handle(Event::ChildEnded);
    assert!(matches!(supervisor.agent, Agent::Pause(_)));
    assert_eq!(supervisor.state.problems[0], "the agent was killed; it is started again");
    for _ in 0..3 {
        assert_eq!(supervisor.tick().0, None); // a second goes by each time
    }
    assert_eq!(supervisor.agent, Agent::Running(71));
}

#[test]
fn an_agent_that_cannot_be_started_is_tried_less_and_less_often() {
    let mut system = Recording::default();
    let (mut console, mut starts) = (Console::nowhere(), Starts(Vec::new()));
    let mut supervisor = Supervisor::new(&mut system, &mut console, Screen::new(Vec::new()), &mut starts);
    supervisor.handle(Event::GpuDriversLoaded);
    for _ in 0..300 {
        supervisor.tick();
    }
    assert!((5..14).contains(&supervisor.failures), "{}", supervisor.failures);
}

#[test]
fn orphans_are_nobodys_agent() {
    let orphan = Ended { pid: 99, code: Some(1) };
    let (_, _, problems) = after(vec![Event::GpuDriversLoaded, Event::ChildEnded], &[Some(70)], &[orphan]);
    assert!(problems.is_empty(), "{problems:?}");
}

#[test]
fn an_agent_that_does_not_end_is_waited_for_so_long_and_no_longer() {
    let mut system = Recording::default();
    let (mut console, mut starts) = (Console::nowhere(), Starts(vec![Some(70)]));
    let mut supervisor = Supervisor::new(&mut system, &mut console, Screen::new(Vec::new()), &mut starts);
    supervisor.handle(Event::GpuDriversLoaded);
    supervisor.handle(Event::Report(Report::PowerOff { why: "all jobs are done".into() }));
    let ticks = (0..100).take_while(|_| supervisor.tick().0.is_none()).count();
    assert_eq!(ticks, 29);
}

#[test]
fn the_watchdog_is_fed_until_it_bites() {
    let (mut system, fed) = (Recording::default(), Rc::new(Cell::new(0)));
    let (mut console, mut starts) = (Console::nowhere(), Starts(Vec::new()));
    let mut supervisor = Supervisor::new(&mut system, &mut console, Screen::new(Vec::new()), &mut starts);
    supervisor.set_watchdog(Box::new(Bowl(Rc::clone(&fed))));
    for _ in 0..6 {
        supervisor.tick();
    }
    assert_eq!((supervisor.state.problems.len(), fed.get()), (1, 4));
}

#[test]
fn damage_of_the_root_is_told_once() {
    for (status, told) in [("V", None), ("C", Some("the root is damaged: ")), ("", Some("asking the kernel whether "))]
    {
        let mut system = Recording::default();
        let (mut console, mut starts) = (Console::nowhere(), Starts(Vec::new()));
        let mut supervisor = Supervisor::new(&mut system, &mut console, Screen::new(Vec::new()), &mut starts);
        let answer =
            move || if status.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(status.to_owned()) };
        supervisor.verified_root = Some(VerifiedRoot::with(answer));
        for _ in 0..3 {
            supervisor.tick();
        }
        let problems = &supervisor.state.problems;
        assert_eq!(problems.len(), usize::from(told.is_some()), "{status}");
        assert!(problems.iter().zip(told).all(|(problem, told)| problem.starts_with(told)), "{problems:?}");
    }
}
