//! [`Supervisor`]: the decisions of PID 1 once the root is mounted. Handles events one at a time.

use std::io;
use std::time::Duration;

use crate::console::Console;
use crate::events::Event;
use crate::fatal;
use crate::netroot::on_demand::RootServer;
use crate::screen::Screen;
use crate::state::{JobEnding, State};
use crate::system::{Ended, Ending, Recipients, System};
use crate::verified_root::VerifiedRoot;
use crate::watchdog::Watchdog;
use appliance::report::Report;
use protocol::Span;

const SIGTERM: i32 = 15;

/// Timeout for the agent, after SIGTERM, to collect and deliver what its job has left.
const AGENT_PATIENCE: Duration = Duration::from_secs(30);

/// The longest pause before a failing agent is started again; pauses grow.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Starts the agent.
pub trait StartAgent {
    /// Starts it and returns its process id.
    fn start(&mut self) -> io::Result<i32>;
}

/// The state of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Agent {
    /// It is not started yet: it waits for drivers.
    NotYet,
    /// It runs.
    Running(i32),
    /// It ended, or could not be started. It is started again at this time since the kernel's start.
    Pause(Duration),
}

/// Makes PID 1's decisions.
pub struct Supervisor<'a> {
    system: &'a mut dyn System,
    console: &'a mut Console,
    screen: Screen,
    start_agent: &'a mut dyn StartAgent,
    watchdog: Option<Box<dyn Watchdog>>,
    agent: Agent,
    failures: u32,
    ending: Option<(Ending, Duration)>,
    /// The process that serves the root, if it is read over the network.
    pub root_server: Option<RootServer>,
    /// The root, if the kernel checks it and found nothing wrong yet.
    pub verified_root: Option<VerifiedRoot>,
    /// The state that people at the machine are shown.
    pub state: State,
}

impl<'a> Supervisor<'a> {
    /// A supervisor in the initial state.
    pub fn new(
        system: &'a mut dyn System,
        console: &'a mut Console,
        screen: Screen,
        start_agent: &'a mut dyn StartAgent,
    ) -> Self {
        let (agent, state) = (Agent::NotYet, State::default());
        Self {
            system,
            console,
            screen,
            start_agent,
            watchdog: None,
            agent,
            failures: 0,
            ending: None,
            root_server: None,
            verified_root: None,
            state,
        }
    }

    /// Feeds this watchdog at every [`Self::tick`] from now on.
    pub fn set_watchdog(&mut self, watchdog: Box<dyn Watchdog>) {
        self.watchdog = Some(watchdog);
    }

    /// Time since the kernel's start.
    pub fn uptime(&mut self) -> Duration {
        self.system.uptime()
    }

    /// Handles an event. Returns how the machine is to end, once it is to end now.
    pub fn handle(&mut self, event: Event) -> Option<Ending> {
        match event {
            Event::End(how, why) => return self.begin_end(how, &why),
            Event::PowerButton => return self.begin_end(Ending::PowerOff, "the power button was pressed"),
            Event::ChildEnded => {
                for child in self.system.reap() {
                    if self.root_server.as_ref().is_some_and(|server| server.pid == child.pid) {
                        self.root_server = None;
                        return self.begin_end(Ending::Restart, "the process that serves the root has ended");
                    }
                    self.child_ended(child);
                }
            }
            Event::DriversLoaded => {}
            Event::GpuDriversLoaded => {
                if self.agent == Agent::NotYet && self.ending.is_none() {
                    self.begin_agent();
                }
            }
            Event::Network(event) => {
                self.console.say(&event.to_string());
                self.state.network(&event);
            }
            Event::Clock(Ok(report)) => {
                let text = report.to_string();
                self.console.say(&format!("clock: {text}"));
                self.state.clock = text;
            }
            Event::Clock(Err(problem)) => self.problem(format!("clock: {problem}")),
            Event::Report(report) => return self.report(&report),
            Event::AgentSaid(text) | Event::Said(text) => self.console.say(&text),
            Event::Loads(loads) => self.state.loads = loads,
            Event::Problem(text) => self.problem(text),
        }
        self.end_if_alone()
    }

    /// Does what is due, with or without an event. Returns the same as [`Self::handle`], and the time until something
    /// is due again.
    pub fn tick(&mut self) -> (Option<Ending>, Duration) {
        if let Some(watchdog) = self.watchdog.as_mut()
            && let Err(error) = watchdog.feed()
        {
            self.watchdog = None;
            self.problem(format!("the watchdog cannot be fed any more: {error}; it may restart the machine"));
        }
        let now = self.system.uptime();
        if let Agent::Pause(until) = self.agent
            && now >= until
            && self.ending.is_none()
        {
            self.begin_agent();
        }
        if let Some(change) = self.root_server.as_mut().and_then(RootServer::change) {
            let (text, bad) = change.condition();
            self.state.report(&Report::Condition { of: "root".into(), text, bad });
        }
        self.look_at_root();
        let more_to_draw = self.screen.draw(&self.state, now);
        let overdue = self.ending.filter(|(_, since)| now.saturating_sub(*since) >= AGENT_PATIENCE);
        if overdue.is_some() {
            self.console.say("the agent did not end in time");
        }
        let wait = if more_to_draw { Duration::from_millis(200) } else { Duration::from_secs(1) };
        (overdue.map(|(how, _)| how).or_else(|| self.end_if_alone()), wait)
    }

    /// Tells people, once, that blocks of the root were wrong.
    fn look_at_root(&mut self) {
        if let Some(problem) = self.verified_root.as_ref().and_then(VerifiedRoot::problem) {
            self.verified_root = None;
            self.problem(problem.in_one_line());
        }
    }

    fn begin_end(&mut self, how: Ending, why: &str) -> Option<Ending> {
        if self.ending.is_some() {
            self.console.say(&format!("{why}, again: not waiting any longer"));
            return Some(how);
        }
        let what = match how {
            Ending::PowerOff => "power off",
            Ending::Restart => "restart",
        };
        self.console.say(&format!("going to {what}: {why}"));
        self.state.phase = format!("going to {what}: {why}");
        self.state.ending = true;
        self.ending = Some((how, self.system.uptime()));
        if let Agent::Running(pid) = self.agent
            && let Err(error) = self.system.signal(Recipients::Process(pid), SIGTERM)
        {
            self.console.say(&format!("telling the agent to end: {error}"));
        }
        self.end_if_alone()
    }

    /// Returns the ending if there is no process left to wait for.
    fn end_if_alone(&self) -> Option<Ending> {
        let alone = !matches!(self.agent, Agent::Running(_));
        self.ending.filter(|_| alone).map(|(how, _)| how)
    }

    fn begin_agent(&mut self) {
        match self.start_agent.start() {
            Ok(pid) => self.agent = Agent::Running(pid),
            Err(error) => {
                self.problem(format!("starting the agent: {error}"));
                self.pause_agent();
            }
        }
    }

    fn pause_agent(&mut self) {
        let pause = Duration::from_secs(1 << self.failures.min(6)).min(LONGEST_PAUSE);
        self.failures += 1;
        self.agent = Agent::Pause(self.system.uptime() + pause);
    }

    fn child_ended(&mut self, child: Ended) {
        if self.agent != Agent::Running(child.pid) {
            return; // an orphan
        }
        if self.ending.is_some() {
            self.agent = Agent::NotYet;
            return;
        }
        let how = child.code.map_or_else(|| "was killed".to_owned(), |code| format!("ended with status {code}"));
        self.state.jobs.clear();
        self.pause_agent();
        self.problem(format!("the agent {how}; it is started again"));
    }

    fn report(&mut self, report: &Report) -> Option<Ending> {
        self.state.report(report);
        match report {
            Report::Ready { gpus, source, .. } => {
                self.failures = 0;
                for gpu in gpus {
                    self.console.say(&format!("GPU {gpu}"));
                }
                let now = self.system.uptime().as_secs_f64();
                self.console.say(&format!("ready at {now:.2} s, jobs from {source}"));
            }
            Report::Job { .. } => {
                let now = self.system.uptime();
                let several = self.state.gpus.as_ref().is_some_and(|gpus| gpus.len() > 1);
                if let Some(job) = self.state.jobs.last_mut() {
                    job.began = now;
                    let usually = job.expected.map(|time| format!(", usually {}", Span::seconds(time.as_secs())));
                    let gpus = if several && !job.gpus.is_empty() {
                        format!(", with {}", job.gpus.join(", "))
                    } else {
                        String::new()
                    };
                    self.console.say(&format!("job {}{gpus}{}", job.name, usually.unwrap_or_default()));
                }
            }
            // Where several jobs run it says whose it is.
            Report::Phase { id, text } if self.state.jobs.len() > 1 => self.console.say(&format!("  {id}: {text}")),
            Report::Phase { text, .. } => self.console.say(&format!("  {text}")),
            Report::Finished { id, verdict, summary } => self.console.say(&format!("{verdict} {id} {summary}")),
            Report::GivenBack { id, reason, why } => {
                self.console.say(&format!("{} {id} {why}", JobEnding::from(*reason)));
            }
            Report::Idle { why } => self.console.say(why),
            Report::Problem(problem) => self.console.say(&fatal::lines(problem, &[])),
            Report::Condition { text, .. } if text.is_empty() => {}
            Report::Condition { of, text, .. } => self.console.say(&format!("{of}: {text}")),
            Report::PowerOff { why } => return self.begin_end(Ending::PowerOff, why),
            Report::Restart { why } => return self.begin_end(Ending::Restart, why),
        }
        self.end_if_alone()
    }

    /// Whether people see the state on a display.
    pub fn has_display(&self) -> bool {
        self.screen.is_there()
    }

    /// Shows what this machine is.
    pub fn introduce(&mut self, lines: &[String]) {
        for line in lines {
            self.console.say(line);
        }
        self.state.machine = lines.join(", ");
    }

    /// Shows a message to people, without any effect.
    pub fn say(&mut self, text: &str) {
        self.console.say(text);
    }

    /// Shows a problem, and remembers it.
    pub fn problem(&mut self, text: String) {
        self.console.say(&text);
        self.state.problem(text);
    }
}

#[cfg(test)]
mod tests;
