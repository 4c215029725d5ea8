//! Collects all commands in the documentation.

use std::fs;

use crate::ci;
use crate::pages::{self, Block, Page};
use crate::shell::{self, Command};

/// A line that a user is to type, or that a CI system runs.
pub struct Line {
    /// `docs/jobs.md:12`
    pub place: String,
    pub text: String,
    pub commands: Vec<Command>,
}

impl Line {
    fn new(place: String, text: &str) -> Self {
        Self { place, text: text.to_owned(), commands: shell::commands(text) }
    }
}

/// All lines: console blocks of the guide, comments of the example lists, scripts of the CI files.
pub fn lines() -> Vec<Line> {
    let mut lines = Vec::new();
    for page in pages::guide() {
        for block in page.blocks().iter().filter(|block| block.language == "console") {
            lines.extend(typed_in(&page, block));
        }
    }
    for name in ["examples/demo.toml", "examples/jobs.toml", "examples/recipe.toml"] {
        let text = fs::read_to_string(pages::root().join(name)).expect("an example");
        for (number, line) in text.lines().enumerate().filter(|(_, line)| line.starts_with('#')) {
            let spans = line.split('`').skip(1).step_by(2).filter(|span| span.starts_with("rocbed "));
            lines.extend(spans.map(|span| Line::new(format!("{name}:{}", number + 1), span)));
        }
    }
    for (name, script) in ci::scripts() {
        let ours = |line: &&str| shell::commands(line).iter().any(|command| is_ours(command.program()));
        lines.extend(script.lines().filter(ours).map(|line| Line::new(name.clone(), line)));
    }
    lines
}

/// The lines of a console block.
pub fn typed_in(page: &Page, block: &Block<'_>) -> Vec<Line> {
    let place = |line: usize| format!("{}:{line}", page.path.display());
    typed(block).into_iter().map(|(line, text)| Line::new(place(line), &text)).collect()
}

/// Whether a program belongs to this repository; other programs in CI files are not checked.
fn is_ours(program: &str) -> bool {
    ["rocbed", "cargo"].contains(&program)
}

/// The text after the prompts, with continued lines joined, and the number of the first line.
fn typed(block: &Block<'_>) -> Vec<(usize, String)> {
    let mut typed: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (number, line) in block.lines.iter().enumerate() {
        let text = match (line.strip_prefix("$ "), goes_on) {
            (Some(text), false) => {
                typed.push((block.line + number, String::new()));
                text
            }
            (_, true) => line.trim_start(),
            // Output of the previous command.
            (None, false) => continue,
        };
        let (text, more) = text.strip_suffix('\\').map_or((text, false), |text| (text, true));
        typed.last_mut().expect("a command has begun").1.push_str(text);
        goes_on = more;
    }
    typed
}
