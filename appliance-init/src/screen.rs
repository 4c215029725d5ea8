//! The status screen of a display: redrawn from [`State`] when something has changed. Serial consoles get lines
//! instead.

mod blocks;
mod canvas;
mod large;
mod wrap;

use std::time::{Duration, Instant};

use protocol::Verdict;

use crate::output::Output;
use crate::state::{EndedJob, JobEnding, ShownJob, State};
use canvas::{BOLD, Canvas, DIM, GREEN, PLAIN, RED, Style, YELLOW};
use wrap::wrap;

/// The shortest time between two updates.
const PAUSE: Duration = Duration::from_millis(200);

/// Columns and rows of a display that does not tell.
const USUAL: (usize, usize) = (80, 25);

/// The machine's displays.
#[derive(Debug)]
pub struct Screen {
    outputs: Vec<Output>,
    shown: String,
    drawn: Option<Instant>,
}

impl Screen {
    /// A screen on these virtual terminals; there may be none.
    pub fn new(outputs: Vec<Output>) -> Self {
        Self { outputs, shown: String::new(), drawn: None }
    }

    /// Whether there is a display.
    pub fn is_there(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// Draws the changes, but not too often. `now` is the time since the kernel's start. Returns whether something is
    /// left to draw.
    pub fn draw(&mut self, state: &State, now: Duration) -> bool {
        if self.outputs.is_empty() {
            return false;
        }
        // It may change: a GPU's driver brings more columns than the firmware.
        let (width, height) = self.outputs.first().and_then(Output::size).unwrap_or(USUAL);
        let canvas = if large::has_room(width, height) {
            large::draw(state, now, width, height)
        } else {
            small(state, width, height)
        };
        let text = canvas.bytes();
        if text == self.shown {
            return false;
        }
        if self.drawn.is_some_and(|drawn| drawn.elapsed() < PAUSE) {
            return true;
        }
        for output in &mut self.outputs {
            output.write(text.as_bytes());
        }
        self.shown = text;
        self.drawn = Some(Instant::now());
        false
    }
}

/// A line and its highlighting.
struct Line {
    text: String,
    style: Style,
}

fn line(style: Style, text: String) -> Line {
    Line { text, style }
}

/// The screen of a small display.
fn small(state: &State, width: usize, height: usize) -> Canvas {
    let mut canvas = Canvas::new(width, height);
    // The last column stays free.
    for (row, Line { text, style }) in lines(state, width.saturating_sub(1), height).into_iter().enumerate() {
        canvas.put(0, row, &text, style);
    }
    canvas
}

fn lines(state: &State, width: usize, height: usize) -> Vec<Line> {
    let name = if state.name.is_empty() { "rocbed".to_owned() } else { format!("rocbed  {}", state.name) };
    let mut all = vec![line(BOLD, name), line(DIM, state.machine.clone()), line(PLAIN, String::new())];
    all.extend(facts(state));
    all.push(line(PLAIN, String::new()));
    for (number, job) in state.jobs.iter().enumerate() {
        let label = if number == 0 { "Job" } else { "" };
        all.push(line(BOLD, format!("{label:<9} {}", describe(job, state.jobs.len()))));
    }
    if state.jobs.is_empty() {
        all.push(line(PLAIN, format!("Idle      {}", state.phase)));
    }
    all.extend(problems(state));
    all.push(line(PLAIN, String::new()));
    let mut all: Vec<Line> = all.into_iter().flat_map(|line| wrap(line, width)).collect();
    let room = height.saturating_sub(all.len() + 1);
    all.extend(
        results(state, room).into_iter().map(|Line { text, style }| line(style, text.chars().take(width).collect())),
    );
    all
}

/// A job and what it does; with its GPUs, if several jobs run.
fn describe(job: &ShownJob, count: usize) -> String {
    let gpus = if count > 1 && !job.gpus.is_empty() { format!(" with {}", job.gpus.join(", ")) } else { String::new() };
    format!("{}{gpus}: {}", job.name, job.phase)
}

/// Network, clock, GPUs, the job source and lasting conditions.
fn facts(state: &State) -> Vec<Line> {
    let mut all = Vec::new();
    if state.links.is_empty() {
        all.push(line(YELLOW, "Network   no wired network card".into()));
    }
    for (number, (link, text)) in state.links.iter().enumerate() {
        let label = if number == 0 { "Network" } else { "" };
        all.push(line(PLAIN, format!("{label:<9} {link}: {text}")));
    }
    if !state.clock.is_empty() {
        all.push(line(PLAIN, format!("Clock     {}", state.clock)));
    }
    match state.gpus.as_deref() {
        None => all.push(line(DIM, "GPUs      looking".into())),
        Some([]) => all.push(line(YELLOW, "GPUs      none".into())),
        Some(gpus) => {
            for (number, gpu) in gpus.iter().enumerate() {
                let label = if number == 0 { "GPUs" } else { "" };
                all.push(line(PLAIN, format!("{label:<9} {gpu}")));
                all.extend(state.load_of(gpu).map(|load| line(PLAIN, format!("          {load}"))));
            }
        }
    }
    if !state.source.is_empty() {
        all.push(line(PLAIN, format!("Jobs from {}", state.source)));
    }
    for (of, (text, bad)) in &state.conditions {
        all.push(line(if *bad { RED } else { PLAIN }, format!("{:<9} {text}", capitalised(of))));
    }
    all
}

/// The latest problems.
fn problems(state: &State) -> impl Iterator<Item = Line> {
    state.problems.iter().take(3).map(|problem| line(RED, format!("Problem   {problem}")))
}

/// The latest results, as many as there is room for.
fn results(state: &State, room: usize) -> Vec<Line> {
    let result =
        |EndedJob { id, ending, summary }: &EndedJob| line(colour(*ending), format!("{ending:<15} {id}  {summary}"));
    state.results.iter().take(room).map(result).collect()
}

fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn colour(ending: JobEnding) -> Style {
    match ending {
        JobEnding::Result(Verdict::Pass) => GREEN,
        JobEnding::Result(Verdict::Neutral) | JobEnding::GivenBack => YELLOW,
        JobEnding::Result(_) => RED,
        JobEnding::Cancelled => PLAIN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use appliance::report::Report;

    #[test]
    fn shows_what_matters() {
        let mut state = State { machine: "Linux 7.2, 4096 MiB".into(), name: "gpu-7".into(), ..State::default() };
        state.links.insert("eth0".into(), "192.0.2.7/24".into());
        state.report(&Report::Ready { gpus: vec!["gfx1030 Navi 21".into()], source: "hub.example".into(), hub: None });
        state.report(&Report::Finished { id: "gzip".into(), verdict: Verdict::Pass, summary: "2 passed".into() });
        state.report(&Report::Job { id: "rocrand".into(), position: None, expected: None, gpus: Vec::new() });
        state.report(&Report::Phase { id: "rocrand".into(), text: "test upstream".into() });
        state.report(&Report::condition("hub", "connected".into()));
        state.problem("no watchdog".into());
        let text: Vec<_> = lines(&state, 79, 25).into_iter().map(|line| line.text).collect();
        assert_eq!(
            text,
            [
                "rocbed  gpu-7",
                "Linux 7.2, 4096 MiB",
                "",
                "Network   eth0: 192.0.2.7/24",
                "GPUs      gfx1030 Navi 21",
                "Jobs from hub.example",
                "Hub       connected",
                "",
                "Job       rocrand: test upstream",
                "Problem   no watchdog",
                "",
                "pass            gzip  2 passed",
            ]
        );
    }

    #[test]
    fn several_jobs_have_a_line_each_with_their_gpus() {
        let mut state = State::default();
        for (id, gpus) in [("rocrand", vec!["0000:03:00.0".to_owned()]), ("gzip", Vec::new())] {
            state.report(&Report::Job { id: id.into(), position: None, expected: None, gpus });
        }
        let text: Vec<_> = lines(&state, 79, 25).into_iter().map(|line| line.text).collect();
        for expected in ["Job       rocrand with 0000:03:00.0: starting", "          gzip: starting"] {
            assert!(text.iter().any(|line| line == expected), "{text:#?}");
        }
    }

    #[test]
    fn nothing_from_outside_moves_the_cursor_or_wraps() {
        let mut state = State { name: format!("a\x1b[2J{}", "x".repeat(200)), ..State::default() };
        state.gpus = Some(vec!["y".repeat(200)]);
        let canvas = small(&state, 20, 25);
        assert!(canvas.text().starts_with("rocbed  a?[2Jxxxxxx\n"), "{}", canvas.text());
        assert!(canvas.text().lines().all(|line| line.chars().count() < 20), "{}", canvas.text());
    }

    #[test]
    fn a_small_display_shows_the_latest() {
        let mut state = State::default();
        for number in 0..40 {
            state.report(&Report::Finished {
                id: format!("j{number}"),
                verdict: Verdict::Fail,
                summary: String::new(),
            });
        }
        let shown = lines(&state, 79, 12);
        assert!(shown.len() < 12);
        assert!(shown.iter().any(|line| line.text.contains("j39")));
    }
}
