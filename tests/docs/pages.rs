//! Parses the documentation: pages, blocks, headings, links, code spans.

use std::fs;
use std::path::{Path, PathBuf};

/// A page of Markdown.
pub struct Page {
    /// Path relative to the repository's root.
    pub path: PathBuf,
    pub text: String,
}

/// A fenced block.
pub struct Block<'a> {
    pub language: &'a str,
    /// Its first line, counted from 1.
    pub line: usize,
    pub lines: Vec<&'a str>,
}

/// The repository's root directory.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the repository").to_owned()
}

/// The pages of the book, without those that are generated from the program.
pub fn guide() -> Vec<Page> {
    let mut pages = read(&["README.md"]);
    pages.extend(below("docs").into_iter().filter(|page| !page.path.starts_with("docs/reference")));
    pages
}

/// All pages: the book, all READMEs, and what else lies beside the first of them.
pub fn all() -> Vec<Page> {
    let mut pages = read(&["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]);
    pages.extend(read(&["appliance-init/README.md", "images/README.md"]));
    for directory in ["docs", "crates", "tests/fixtures"] {
        pages.extend(below(directory));
    }
    pages
}

fn read(paths: &[&str]) -> Vec<Page> {
    let page = |path: &&str| Page { path: path.into(), text: fs::read_to_string(root().join(path)).expect("a page") };
    paths.iter().map(page).collect()
}

fn below(directory: &str) -> Vec<Page> {
    let (mut pages, mut waiting) = (Vec::new(), vec![root().join(directory)]);
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display())) {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|end| end == "md") {
                let text = fs::read_to_string(&path).expect("a page");
                pages.push(Page { path: path.strip_prefix(root()).expect("below").to_owned(), text });
            }
        }
    }
    pages.sort_by(|a, b| a.path.cmp(&b.path));
    pages
}

impl Page {
    /// Fenced blocks, in order.
    pub fn blocks(&self) -> Vec<Block<'_>> {
        let (mut blocks, mut open): (Vec<Block<'_>>, bool) = (Vec::new(), false);
        for (number, line) in self.text.lines().enumerate() {
            match (line.strip_prefix("```"), open) {
                (Some(language), false) => {
                    blocks.push(Block { language: language.trim(), line: number + 2, lines: Vec::new() });
                    open = true;
                }
                (Some(_), true) => open = false,
                (None, true) => blocks.last_mut().expect("an open block").lines.push(line),
                (None, false) => {}
            }
        }
        assert!(!open, "{}: a block is not closed", self.path.display());
        blocks
    }

    /// The text outside of blocks.
    pub fn prose(&self) -> String {
        let mut open = false;
        let outside = |line: &&str| {
            let fence = line.starts_with("```");
            open ^= fence;
            !fence && !open
        };
        self.text.lines().filter(outside).collect::<Vec<_>>().join("\n")
    }

    /// Text between single backticks, with line breaks as blanks.
    pub fn code_spans(&self) -> Vec<String> {
        let prose = self.prose();
        // The effect of a missing backtick ends with its paragraph.
        prose
            .split("\n\n")
            .flat_map(|paragraph| paragraph.split('`').skip(1).step_by(2).map(|span| span.replace('\n', " ")))
            .collect()
    }

    /// Link targets, as they are written.
    pub fn links(&self) -> Vec<String> {
        let prose = self.prose();
        let without_code: String = prose.split('`').step_by(2).collect();
        let targets = without_code.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        // Pictures with a variant for dark pages are HTML.
        let attributes = ["src=\"", "srcset=\""].into_iter().flat_map(|name| without_code.split(name).skip(1));
        let sources = attributes.filter_map(|rest| rest.split_once('"'));
        targets.chain(sources).map(|(target, _)| target.to_owned()).collect()
    }

    /// The anchors of its headings. A heading for which forges and mkdocs generate different anchors is an error.
    pub fn anchors(&self) -> Vec<String> {
        let prose = self.prose();
        let headings =
            prose.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
        let slugs: Vec<_> = headings.map(|heading| (of_forge(heading), of_mkdocs(heading))).collect();
        slugs.into_iter().filter(|(one, other)| one == other).map(|(slug, _)| slug).collect()
    }
}

/// The anchor on forges: letters, digits, `-` and `_`; a hyphen for each blank.
fn of_forge(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|char| char.is_alphanumeric() || " -_".contains(*char));
    kept.map(|char| if char == ' ' { '-' } else { char }).collect()
}

/// The anchor in mkdocs: ASCII only, with one hyphen for consecutive blanks and hyphens.
fn of_mkdocs(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept: String = kept.chars().filter(|char| char.is_ascii_alphanumeric() || " -_".contains(*char)).collect();
    kept.split([' ', '-']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}
