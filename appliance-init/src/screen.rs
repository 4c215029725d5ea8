//! The status screen of a display: redrawn from [`State`] when something has changed. Serial consoles get lines
//! instead.

use std::time::{Duration, Instant};

use protocol::Verdict;

use crate::output::Output;
use crate::state::State;

/// The shortest time between two updates.
const PAUSE: Duration = Duration::from_millis(200);

/// Hides the cursor and moves it to the top left, where drawing begins (`console_codes(4)`).
const HOME: &str = "\x1b[?25l\x1b[H";
const CLEAR_LINE: &str = "\x1b[K\r\n";
const CLEAR_BELOW: &str = "\x1b[J";

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

    /// Draws the changes, but not too often. Returns whether something is left to draw.
    pub fn draw(&mut self, state: &State) -> bool {
        if self.outputs.is_empty() {
            return false;
        }
        let (width, height) = self.outputs.first().and_then(Output::size).unwrap_or((80, 25));
        let text = frame(&lines(state, height), width);
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

/// A line and its highlighting (SGR, ECMA-48 8.3.117).
struct Line {
    text: String,
    style: &'static str,
}

const PLAIN: &str = "";
const BOLD: &str = "1";
const DIM: &str = "2";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const RED: &str = "1;31";

fn lines(state: &State, height: usize) -> Vec<Line> {
    let line = |style, text: String| Line { text, style };
    let name = if state.name.is_empty() { "rocbed".to_owned() } else { format!("rocbed  {}", state.name) };
    let mut all = vec![line(BOLD, name), line(DIM, state.machine.clone()), line(PLAIN, String::new())];
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
        Some(gpus) => all.extend(gpus.iter().enumerate().map(|(number, gpu)| {
            let label = if number == 0 { "GPUs" } else { "" };
            line(PLAIN, format!("{label:<9} {gpu}"))
        })),
    }
    if !state.source.is_empty() {
        all.push(line(PLAIN, format!("Jobs from {}", state.source)));
    }
    for (of, (text, bad)) in &state.conditions {
        all.push(line(if *bad { RED } else { PLAIN }, format!("{:<9} {text}", capitalised(of))));
    }
    all.push(line(PLAIN, String::new()));
    match &state.job {
        Some(job) => all.push(line(BOLD, format!("Job       {job}: {}", state.phase))),
        None => all.push(line(PLAIN, format!("Idle      {}", state.phase))),
    }
    for problem in state.problems.iter().take(3) {
        all.push(line(RED, format!("Problem   {problem}")));
    }
    all.push(line(PLAIN, String::new()));
    let room = height.saturating_sub(all.len() + 1);
    all.extend(
        state
            .results
            .iter()
            .take(room)
            .map(|(id, verdict, summary)| line(colour(*verdict), format!("{verdict:<15} {id}  {summary}"))),
    );
    all
}

fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn colour(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => GREEN,
        Verdict::Neutral => YELLOW,
        _ => RED,
    }
}

/// The bytes for the display. Text from outside must not be able to move the cursor.
fn frame(lines: &[Line], width: usize) -> String {
    let mut text = HOME.to_owned();
    for line in lines {
        let shown: String =
            line.text.chars().filter(|char| safetext::is_printable(*char)).take(width.saturating_sub(1)).collect();
        match line.style {
            PLAIN => text.extend([&shown, CLEAR_LINE]),
            style => text.extend(["\x1b[", style, "m", &shown, "\x1b[0m", CLEAR_LINE]),
        }
    }
    text + CLEAR_BELOW
}

#[cfg(test)]
mod tests {
    use super::*;
    use appliance::report::Report;

    #[test]
    fn shows_what_matters() {
        let mut state = State { machine: "Linux 7.2, 4096 MiB".into(), name: "gpu-7".into(), ..State::default() };
        state.links.insert("eth0".into(), "192.0.2.7/24".into());
        state.report(&Report::Ready { gpus: vec!["gfx1030 Navi 21".into()], source: "hub.example".into() });
        state.report(&Report::Job { id: "rocrand".into(), position: None });
        state.report(&Report::Phase { text: "test upstream".into() });
        state.results.push_front(("gzip".into(), Verdict::Pass, "2 passed".into()));
        state.report(&Report::condition("hub", "connected".into()));
        state.problem("no watchdog".into());
        let text: Vec<_> = lines(&state, 25).into_iter().map(|line| line.text).collect();
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
    fn nothing_from_outside_moves_the_cursor_or_wraps() {
        let line = Line { text: format!("a\x1b[2J{}", "x".repeat(200)), style: PLAIN };
        let text = frame(&[line], 10);
        assert_eq!(text, format!("{HOME}a[2Jxxxxx{CLEAR_LINE}{CLEAR_BELOW}"));
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
        let shown = lines(&state, 12);
        assert!(shown.len() < 12);
        assert!(shown.iter().any(|line| line.text.contains("j39")));
    }
}
