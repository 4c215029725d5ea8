//! `rocbed man`: writes the man pages.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context as _, Result};
use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::cmdline::{DOCUMENTATION, GROUPS, command};

/// Writes a page for each command that is not hidden.
pub fn run(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    let mut root = command(None).disable_help_subcommand(true);
    root.build();
    let mut text = Vec::new();
    of_program(&root, &mut text).context("writing a man page")?;
    let mut pages = vec![(page(&root).get_filename(), text)];
    below(&root, &mut pages).context("writing a man page")?;
    for (name, text) in pages {
        let path = directory.join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// The pages of all commands below one.
fn below(command: &Command, pages: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    for one in command.get_subcommands().filter(|one| !one.is_hide_set()) {
        let (page, mut text) = (page(one), Vec::new());
        page.render(&mut text)?;
        pages.push((page.get_filename(), text));
        below(one, pages)?;
    }
    Ok(())
}

/// A command's page. `clap_mangen` would say that it is of a program with the command's name.
fn page(command: &Command) -> Man {
    let source = concat!("rocbed ", env!("CARGO_PKG_VERSION"));
    // The date is written as it is: an empty text would be no argument, and the source would be taken for it.
    Man::new(command.clone()).date("\"\"").source(source).manual("User Commands")
}

/// The page of the program: its commands are in groups.
fn of_program(root: &Command, text: &mut dyn Write) -> io::Result<()> {
    let page = page(root);
    page.render_title(text)?;
    page.render_name_section(text)?;
    page.render_synopsis_section(text)?;
    page.render_description_section(text)?;
    let mut groups = Roff::default();
    for group in &GROUPS {
        groups.control("SH", [group.title.to_uppercase().as_str()]);
        for one in group.command(root).get_subcommands() {
            groups.control("TP", []);
            groups.text([roman(format!("rocbed-{}(1)", one.get_name()))]);
            groups.text([roman(one.get_about().map(ToString::to_string).unwrap_or_default())]);
        }
    }
    groups.to_writer(text)?;
    page.render_options_section(text)?;
    let mut end = Roff::default();
    end.control("SH", ["DOCUMENTATION"]);
    for line in DOCUMENTATION.lines() {
        end.text([roman(line)]);
        end.control("br", []);
    }
    end.to_writer(text)?;
    page.render_version_section(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_of_rocbed_and_the_first_has_groups() -> Result<()> {
        let directory = tempfile::tempdir()?;
        run(directory.path())?;
        let read = |name: &str| fs::read_to_string(directory.path().join(name)).map(|text| text.replace('\\', ""));
        let source = format!("\"rocbed {}\" \"User Commands\"", env!("CARGO_PKG_VERSION"));
        for title in ["rocbed", "rocbed-hub", "rocbed-jobs-add"] {
            let text = read(&format!("{title}.1"))?;
            let line = text.lines().find(|line| line.starts_with(".TH")).unwrap_or_default();
            assert_eq!(line.trim_end(), format!(".TH {title} 1 \"\" {source}"));
        }
        let root = read("rocbed.1")?;
        for text in ["IMAGES", "rocbed-build(1)", "HUB: JOBS, RESULTS AND WORKERS", ".SH DOCUMENTATION", "rocbed demo"]
        {
            assert!(root.contains(text), "{text} is missing\n{root}");
        }
        assert!(!directory.path().join("rocbed-oci.1").exists() && !root.contains("rocbed-oci"));
        Ok(())
    }
}
