//! [`State`]: the state that is shown to people at the machine, gathered from events.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use network::NetworkEvent;
use protocol::Verdict;
use protocol::api::GiveBackReason;

use appliance::report::Report;

/// The number of results and problems that are kept; the screen shows fewer.
const KEPT: usize = 50;

/// The load of a GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// PCI address.
    pub address: String,
    /// Temperature in degrees Celsius.
    pub celsius: Option<i64>,
    /// Share of the time in which it is busy, in percent.
    pub busy: Option<u8>,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.celsius, self.busy) {
            (Some(celsius), Some(busy)) => write!(f, "{celsius} °C, {busy} % in use"),
            (Some(celsius), None) => write!(f, "{celsius} °C"),
            (None, Some(busy)) => write!(f, "{busy} % in use"),
            (None, None) => Ok(()),
        }
    }
}

/// How a job ended at this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEnding {
    /// With a result.
    Result(Verdict),
    /// It was cancelled.
    Cancelled,
    /// It goes back to where it came from.
    GivenBack,
}

impl fmt::Display for JobEnding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Result(verdict) => verdict.fmt(f),
            Self::Cancelled => f.pad("cancelled"),
            Self::GivenBack => f.pad("given-back"),
        }
    }
}

impl From<GiveBackReason> for JobEnding {
    fn from(reason: GiveBackReason) -> Self {
        match reason {
            GiveBackReason::Cancelled => Self::Cancelled,
            GiveBackReason::MachineKiller
            | GiveBackReason::CannotRun
            | GiveBackReason::ShuttingDown
            | GiveBackReason::Other => Self::GivenBack,
        }
    }
}

/// A job that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedJob {
    /// Its id.
    pub id: String,
    /// How it ended.
    pub ending: JobEnding,
    /// The result, or the reason why there is none, in a few words.
    pub summary: String,
}

/// A running job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShownJob {
    /// Its id.
    pub id: String,
    /// Its id, and its place in a list.
    pub name: String,
    /// What it does.
    pub phase: String,
    /// When it began, since the kernel's start.
    pub began: Duration,
    /// How long it usually takes, if that is known.
    pub expected: Option<Duration>,
    /// Ids of the GPUs that it has.
    pub gpus: Vec<String>,
}

/// The state to show.
#[derive(Debug, Default)]
pub struct State {
    /// Kernel and memory, one line.
    pub machine: String,
    /// The machine's name.
    pub name: String,
    /// Each interface and its configuration.
    pub links: BTreeMap<String, String>,
    /// The result of setting the clock; empty until then.
    pub clock: String,
    /// The GPUs, one line each; `None` until the agent has looked for them.
    pub gpus: Option<Vec<String>>,
    /// The job source.
    pub source: String,
    /// The hub's address, if jobs come from one.
    pub hub: Option<String>,
    /// The running jobs, in the order in which they began.
    pub jobs: Vec<ShownJob>,
    /// Whether the machine is going to end.
    pub ending: bool,
    /// What GPUs do at the moment.
    pub loads: Vec<Load>,
    /// The reason why no job runs.
    pub phase: String,
    /// Jobs that have ended, latest first.
    pub results: VecDeque<EndedJob>,
    /// Lasting conditions, such as the hub, undelivered results or the machine's health, and whether each is bad.
    pub conditions: BTreeMap<String, (String, bool)>,
    /// Problems, latest first.
    pub problems: VecDeque<String>,
}

impl State {
    /// Takes a network event.
    pub fn network(&mut self, event: &NetworkEvent) {
        let mut set = |link: &str, text: String| drop(self.links.insert(link.to_owned(), text));
        match event {
            NetworkEvent::LinkUp { link } => set(link, "carrier, no address yet".into()),
            NetworkEvent::LinkDown { link, gone: true } => drop(self.links.remove(link)),
            NetworkEvent::LinkDown { link, gone: false } => set(link, "no carrier".into()),
            NetworkEvent::Configured { link, configuration } | NetworkEvent::Renewed { link, configuration } => {
                set(link, configuration.to_string());
            }
            NetworkEvent::Lost { link, why } => set(link, format!("no address: {why}")),
            NetworkEvent::NoAnswer { link, since } => {
                set(link, format!("no DHCP server has answered for {} s", since.as_secs()));
            }
            NetworkEvent::Hostname { name } => self.name.clone_from(name),
            NetworkEvent::Problem { .. } => self.problem(event.to_string()),
            _ => {}
        }
    }

    /// Takes a report from the agent.
    pub fn report(&mut self, report: &Report) {
        match report {
            Report::Ready { gpus, source, hub } => {
                self.gpus = Some(gpus.clone());
                self.source.clone_from(source);
                self.hub.clone_from(hub);
                self.phase = "ready".into();
            }
            Report::Job { id, position, expected, gpus } => {
                let place = position.map(|(number, all)| format!(" ({number} of {all})")).unwrap_or_default();
                self.jobs.push(ShownJob {
                    id: id.clone(),
                    name: format!("{id}{place}"),
                    phase: "starting".into(),
                    began: Duration::ZERO,
                    expected: expected.map(Duration::from_secs),
                    gpus: gpus.clone(),
                });
            }
            Report::Phase { id, text } => {
                if let Some(job) = self.jobs.iter_mut().find(|job| job.id == *id) {
                    job.phase.clone_from(text);
                }
            }
            Report::Finished { id, verdict, summary } => {
                self.ended(id, JobEnding::Result(*verdict), summary);
            }
            Report::GivenBack { id, reason, why } => self.ended(id, (*reason).into(), why),
            Report::Idle { why } => {
                self.jobs.clear();
                self.phase.clone_from(why);
            }
            Report::Problem(problem) => self.problem(problem.in_one_line()),
            Report::Condition { of, text, .. } if text.is_empty() => drop(self.conditions.remove(of)),
            Report::Condition { of, text, bad } => {
                self.conditions.insert(of.clone(), (text.clone(), *bad));
            }
            Report::PowerOff { why } | Report::Restart { why } => self.phase.clone_from(why),
        }
    }

    fn ended(&mut self, id: &str, ending: JobEnding, summary: &str) {
        if let Some(place) = self.jobs.iter().position(|job| job.id == id) {
            self.jobs.remove(place);
        }
        self.phase = String::new();
        push(&mut self.results, EndedJob { id: id.to_owned(), ending, summary: summary.to_owned() });
    }

    /// What the GPU that this line describes does: its address is in the line.
    pub fn load_of(&self, gpu: &str) -> Option<&Load> {
        self.loads.iter().find(|load| gpu.contains(&load.address))
    }

    /// Adds a problem.
    pub fn problem(&mut self, text: String) {
        push(&mut self.problems, text);
    }
}

fn push<T>(list: &mut VecDeque<T>, item: T) {
    list.push_front(item);
    list.truncate(KEPT);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_comes_and_goes() {
        let mut state = State::default();
        state.report(&Report::Ready { gpus: vec!["gfx1030".into()], source: "a list".into(), hub: None });
        for (id, number) in [("gzip", 1), ("sed", 2)] {
            state.report(&Report::Job { id: id.into(), position: Some((number, 2)), expected: None, gpus: Vec::new() });
        }
        state.report(&Report::Phase { id: "sed".into(), text: "test simple".into() });
        let shown =
            |state: &State| state.jobs.iter().map(|job| format!("{}: {}", job.name, job.phase)).collect::<Vec<_>>();
        assert_eq!(shown(&state), ["gzip (1 of 2): starting", "sed (2 of 2): test simple"]);
        state.report(&Report::Finished { id: "gzip".into(), verdict: Verdict::Pass, summary: "1 passed".into() });
        assert_eq!((shown(&state), state.results.len()), (vec!["sed (2 of 2): test simple".to_owned()], 1));
    }

    #[test]
    fn a_job_that_was_cancelled_has_no_verdict() {
        let mut state = State::default();
        for reason in [GiveBackReason::Cancelled, GiveBackReason::CannotRun] {
            state.report(&Report::GivenBack { id: "gzip".into(), reason, why: String::new() });
        }
        let endings: Vec<String> = state.results.iter().map(|job| job.ending.to_string()).collect();
        assert_eq!(endings, ["given-back", "cancelled"]);
    }

    #[test]
    fn a_condition_lasts_until_it_is_over() {
        let mut state = State::default();
        for (text, known) in [("no answer", 1), ("no answer for a minute", 1), ("", 0)] {
            state.report(&Report::condition("hub", text.into()));
            assert_eq!(state.conditions.len(), known);
        }
    }

    #[test]
    fn links_are_known_by_their_last_word() {
        let mut state = State::default();
        state.network(&NetworkEvent::LinkUp { link: "eth0".into() });
        state.network(&NetworkEvent::LinkDown { link: "eth0".into(), gone: false });
        assert_eq!(state.links.get("eth0").map(String::as_str), Some("no carrier"));
        state.network(&NetworkEvent::LinkDown { link: "eth0".into(), gone: true });
        assert!(state.links.is_empty());
    }
}
