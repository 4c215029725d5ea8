//! Tests of the documentation: its links work, it can be made into a book, and every command in it is run.
//!
//! Commands for users are in `console` blocks after `$ `. `docs/ways.rs` says how each is run.

#[path = "docs/behind_proxy.rs"]
mod behind_proxy;
#[path = "docs/ci.rs"]
mod ci;
#[path = "docs/collect.rs"]
mod collect;
#[path = "docs/followed.rs"]
mod followed;
#[path = "docs/pages.rs"]
mod pages;
#[path = "docs/parse.rs"]
mod parse;
#[path = "docs/programs.rs"]
mod programs;
#[path = "docs/shell.rs"]
mod shell;
#[path = "docs/ways.rs"]
mod ways;
#[path = "docs/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use pages::{Page, root};
use shell::Command;
use ways::Way;
use world::World;

/// Fails with all complaints, so that one run shows everything.
fn no_complaints(complaints: &[String]) {
    assert!(complaints.is_empty(), "{} things are wrong:\n\n{}\n", complaints.len(), complaints.join("\n"));
}

#[test]
fn every_command_is_run_by_a_test() {
    let world = World::new();
    let (mut complaints, mut ran) = (Vec::new(), BTreeSet::new());
    let lines = collect::lines();
    assert!(lines.len() > 50, "commands were not found");
    for line in &lines {
        for command in &line.commands {
            let complaint = match ways::way(command) {
                None => Some("no row of tests/docs/ways.rs is for it: add one that says how a test runs it".to_owned()),
                Some(Way::Here(place)) if !is_followed(line) && ran.insert(command.text()) => {
                    println!("{}: {}", line.place, line.text);
                    world.run(place, &ours(&line.text)).err()
                }
                // It was run before, or is run in the order of its page.
                Some(Way::Here(_) | Way::Task) => None,
                Some(Way::Nobody(why)) => {
                    println!("{}: {}: not run: {why}", line.place, line.text);
                    files_are_missing(command)
                }
                Some(Way::There(files)) => match parse::rocbed(command) {
                    Ok(parsed) => ways::missing_there(files, command, &parsed),
                    // The next test reports this.
                    Err(_) => None,
                },
                Some(Way::Parts(file, words)) => ways::missing_parts(file, words),
            };
            complaints.extend(complaint.map(|complaint| format!("{}: {}\n  {complaint}", line.place, command.text())));
        }
    }
    let commands: Vec<Command> = lines.into_iter().flat_map(|line| line.commands).collect();
    let unused = ways::unused(&commands);
    complaints
        .extend(unused.iter().map(|begin| format!("tests/docs/ways.rs: no command begins with `{begin}` any more")));
    no_complaints(&complaints);
}

/// Whether a line is on one of the pages that are followed from their beginning to their end.
fn is_followed(line: &collect::Line) -> bool {
    let page = line.place.rsplit_once(':').map_or(&*line.place, |(page, _)| page);
    followed::PAGES.contains(&page)
}

/// In a CI file, replaces the path of the program by its name.
fn ours(line: &str) -> String {
    line.replace("target/release/rocbed", "rocbed")
}

/// Paths of the repository that a command names but that are missing, for commands that are not run.
fn files_are_missing(command: &Command) -> Option<String> {
    let paths = command.words.iter().map(|word| word.trim_start_matches("-dict="));
    let mut missing = paths.filter(|word| word.starts_with("fuzz/") && !word.contains("corpus"));
    missing.find(|word| !root().join(word).exists()).map(|word| format!("there is no {word}"))
}

#[test]
fn every_command_is_one_that_the_programs_take() {
    let mut complaints = Vec::new();
    for line in collect::lines() {
        for command in &line.commands {
            let outcome = match (command.program(), command.words.get(1).map(String::as_str)) {
                ("rocbed", _) => parse::rocbed(command).map(drop),
                ("cargo", Some("xtask")) => parse::xtask(&command.words[2..]),
                _ => Ok(()),
            };
            complaints.extend(outcome.err().map(|error| format!("{}: {}\n{error}", line.place, command.text())));
        }
    }
    no_complaints(&complaints);
}

#[test]
fn what_the_text_mentions_is_there() {
    let mut complaints = Vec::new();
    for page in pages::all().into_iter().filter(|page| !page.path.starts_with("docs/reference")) {
        for span in page.code_spans() {
            let words: Vec<&str> = span.split_ascii_whitespace().collect();
            let outcome = match words.as_slice() {
                ["rocbed", words @ ..] | ["sudo", "rocbed", words @ ..] => parse::mention(words),
                ["cargo", words @ ..] => cargo(words),
                _ => Ok(()),
            };
            complaints.extend(outcome.err().map(|error| format!("{}: `{span}`: {error}", page.path.display())));
        }
    }
    no_complaints(&complaints);
}

/// Checks the names in a cargo command: xtask commands, packages, examples, test programs.
fn cargo(words: &[&str]) -> Result<(), String> {
    if let ["xtask", task, ..] = words {
        return parse::xtask(&[(*task).to_owned()]);
    }
    let after = |names: [&str; 2]| {
        let place = words.iter().position(|word| names.contains(word))?;
        words.get(place + 1).copied()
    };
    let Some(package) = after(["-p", "--package"]) else { return Ok(()) };
    let directory = [format!("crates/{package}"), "appliance-init".into(), "builder".into()]
        .map(|directory| root().join(directory))
        .into_iter()
        .find(|directory| {
            let manifest = std::fs::read_to_string(directory.join("Cargo.toml")).unwrap_or_default();
            manifest.contains(&format!("name = {package:?}"))
        });
    let directory = directory.ok_or_else(|| format!("there is no package {package}"))?;
    for (option, below) in [("--example", "examples"), ("--test", "tests")] {
        if let Some(name) = after([option, option]) {
            let file = directory.join(below).join(format!("{name}.rs"));
            let directory = directory.join(below).join(name).join("main.rs");
            if !file.exists() && !directory.exists() {
                return Err(format!("there is no {}", file.display()));
            }
        }
    }
    Ok(())
}

#[test]
fn every_block_says_what_it_is() {
    // Commands in a block of another language would not be found.
    const LANGUAGES: [&str; 6] = ["console", "text", "toml", "json", "rust", "yaml"];
    let mut complaints = Vec::new();
    for page in pages::guide() {
        for block in page.blocks() {
            let place = format!("{}:{}", page.path.display(), block.line);
            if !LANGUAGES.contains(&block.language) {
                complaints.push(format!("{place}: `{}` is none of {}", block.language, LANGUAGES.join(", ")));
            }
            let typed = block.lines.iter().find(|line| line.starts_with("rocbed ") || line.starts_with("$ "));
            if let (Some(line), false) = (typed, block.language == "console") {
                complaints.push(format!("{place}: `{line}` belongs into a console block, behind `$ `"));
            }
        }
    }
    no_complaints(&complaints);
}

#[test]
fn links_and_anchors_lead_somewhere() {
    let pages = pages::all();
    let complaints: Vec<String> = pages
        .iter()
        .flat_map(|page| page.links().into_iter().map(move |link| (page, link)))
        .filter(|(_, link)| !link.contains("://") && !link.starts_with("mailto:"))
        .filter_map(|(page, link)| {
            let complaint = dead(&pages, page, &link)?;
            Some(format!("{}: ({link}): {complaint}", page.path.display()))
        })
        .collect();
    no_complaints(&complaints);
}

/// The fault of a relative link, if it has one.
fn dead(pages: &[Page], page: &Page, link: &str) -> Option<String> {
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = if path.is_empty() { page.path.clone() } else { normal(&page.path.with_file_name(path)) };
    if !root().join(&target).exists() {
        return Some(format!("there is no {}", target.display()));
    }
    // mkdocs includes only these pages.
    if page.path.starts_with("docs") && !target.starts_with("docs") {
        return Some("the book ends at docs/: move the page there, or name it without a link".into());
    }
    if anchor.is_empty() {
        return None;
    }
    let Some(there) = pages.iter().find(|page| page.path == target) else {
        return Some(format!("{} is not a page that anchors are known of", target.display()));
    };
    let anchors = there.anchors();
    (!anchors.iter().any(|known| known == anchor)).then(|| format!("there are only {}", anchors.join(", ")))
}

/// The path with `..` resolved, as far as possible.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(normal.pop()),
            component => normal.push(component),
        }
    }
    normal
}

#[test]
fn the_pages_make_a_book() {
    let site = tempfile::tempdir().expect("a directory");
    let config = root().join("mkdocs.yml").display().to_string();
    let words = ["build", "--strict", "--config-file", &config, "--site-dir"];
    rocbed_tests::tool(
        "mkdocs",
        words.iter().map(|word| (*word).to_owned()).chain([site.path().display().to_string()]),
    );
    let index = std::fs::read_to_string(site.path().join("index.html")).expect("the first page");
    assert!(index.contains("quick-start.html"), "{index}");
    // The pages must not report their readers to other sites.
    let fetched = ["src=\"http", "src=\"//", "rel=\"stylesheet\" href=\"http"];
    for page in pages::guide().iter().filter(|page| page.path.starts_with("docs") && !page.path.ends_with("README.md"))
    {
        let html = site.path().join(page.path.strip_prefix("docs").expect("below docs")).with_extension("html");
        let text = std::fs::read_to_string(&html)
            .unwrap_or_else(|error| panic!("{}: {error}; is it in mkdocs.yml?", html.display()));
        assert!(!fetched.iter().any(|words| text.contains(words)), "{} loads something from elsewhere", html.display());
    }
}
