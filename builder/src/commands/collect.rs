//! `rocbed collect`: copies results from a stick.

use advice::Advice;
use anyhow::{Context as _, Result, bail};
use progress::Progress as _;

use super::{bytes, print, print_json};
use crate::cmdline::Collect;
use crate::context::Context;
use crate::image_path;

/// Copies the results and lists them. Fails, after copying all, if a bundle is damaged.
pub fn run(context: &Context, options: &Collect) -> Result<()> {
    let path = if options.device.is_dir() { options.device.join("disk.img") } else { options.device.clone() };
    let disk = image_path::open(&path)?;
    let collected = stick::collect::collect(&disk, &options.output).with_context(|| path.display().to_string())?;
    if options.json {
        print_json(&collected)?;
    } else {
        let line = |one: &stick::collect::Collected| format!("{}  {}\n", one.to.display(), bytes(one.size));
        print(&collected.iter().map(line).collect::<String>())?;
    }
    if collected.is_empty() {
        context.reporter.say(&format!("{} has no results", path.display()));
    }
    for one in collected.iter().filter(|one| one.intact.is_none()) {
        context.reporter.warn(&format!("nothing on the stick says which digest {} should have", one.from));
    }
    let damaged: Vec<_> =
        collected.iter().filter(|one| one.intact == Some(false)).map(|one| one.from.as_str()).collect();
    if !damaged.is_empty() {
        bail!(Advice::new(
            format!("damaged on the stick: {}", damaged.join(", ")),
            "they were copied all the same; the others are whole"
        ));
    }
    Ok(())
}
