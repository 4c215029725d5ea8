//! `rocbed settings`: shows and changes the settings on a stick's EFI system partition.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use advice::Advice;
use anyhow::{Context as _, Result, bail};
use safetext::printable;
use serde::Serialize;
use stick::devices::Machine;
use stick::refuse::{Node, TargetRequirements};
use stick::settings::{Esp, JOBS, SETTINGS, StickSettings, check_jobs};
use stick::target::choose;

use super::{flash, print, print_json};
use crate::cmdline::SettingsArgs;
use crate::context::Context;
use crate::image::reseal;
use crate::image_path;
use crate::wording::counted;

/// The output of the command.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Shown {
    settings: serde_json::Map<String, serde_json::Value>,
    problems: Vec<String>,
    jobs: Option<usize>,
}

/// Makes the requested changes, and shows the settings.
pub fn run(context: &Context, options: &SettingsArgs) -> Result<()> {
    let change = !options.onto.set.is_empty() || !options.unset.is_empty() || options.onto.jobs.is_some();
    let new_jobs = flash::jobs(&options.onto)?;
    let (path, disk) = open(&options.device, change)?;
    let shown = || path.display().to_string();
    let esp = Esp::find(&disk).with_context(shown)?;
    let old = esp.read(SETTINGS).with_context(shown)?;
    let mut settings = StickSettings::parse(old.as_deref().unwrap_or_default()).with_context(shown)?;
    for (name, value) in &options.onto.set {
        settings.set(name, value).context("checking the settings; nothing was changed")?;
    }
    for name in &options.unset {
        if !settings.unset(name).context("checking the settings; nothing was changed")? {
            context.reporter.say(&format!("{name} was not set"));
        }
    }
    let text = settings.text().into_bytes();
    let mut files = Vec::new();
    if change && old.as_deref().unwrap_or_default() != text {
        files.push((SETTINGS, text));
    }
    files.extend(new_jobs.map(|(bytes, _)| (JOBS, bytes)));
    if files.is_empty() {
        return show(context, options, &esp, &settings);
    }
    let now = jiff::Timestamp::now().as_second();
    let put = |esp: &Esp<'_>| files.iter().try_for_each(|(name, bytes)| esp.write(name, bytes, now));
    if let Some(sums) = reseal::sums_of(&path)? {
        let change = |fresh: &File| put(&esp.on(fresh)).with_context(shown);
        reseal::change(&path, &sums, esp.end(), change, &context.reporter)?;
    } else {
        put(&esp).with_context(shown)?;
        disk.sync_all().with_context(|| format!("waiting for {}", path.display()))?;
    }
    // The path may name another file by now.
    let (_, disk) = open(&path, false)?;
    show(context, options, &Esp::find(&disk).with_context(shown)?, &settings)
}

fn show(context: &Context, options: &SettingsArgs, esp: &Esp<'_>, settings: &StickSettings) -> Result<()> {
    let mut problems = settings.problems();
    let jobs = match esp.read(JOBS)?.map(|bytes| check_jobs(&bytes)) {
        Some(Ok(count)) => Some(count),
        Some(Err(error)) => {
            problems.push(format!("{JOBS}: {error}"));
            None
        }
        None => None,
    };
    if options.json {
        let settings = settings.shown().into_iter().map(|(name, value)| (name, value.into())).collect();
        return print_json(&Shown { settings, problems, jobs });
    }
    let line = |(name, value): (String, String)| format!("{} = {}\n", printable(&name), printable(&value));
    let mut text: String = settings.shown().into_iter().map(line).collect();
    if let Some(count) = jobs {
        text.push_str(&format!("{JOBS}: {}\n", counted(count, "job", "jobs")));
    }
    if text.is_empty() {
        context.reporter.say("nothing is set");
    }
    for problem in problems {
        text.push_str(&format!("problem: {}\n", printable(&problem)));
    }
    print(&text)
}

/// Opens a device exclusively, or a disk image.
fn open(path: &Path, write: bool) -> Result<(PathBuf, File)> {
    let path = if path.is_dir() { path.join("disk.img") } else { path.to_owned() };
    let mut options = File::options();
    options.read(true).write(write);
    match Node::at(&path).with_context(|| format!("examining {}", path.display()))? {
        // Reading is harmless, whatever the disk is used for.
        Node::Block(_) if !write => {
            let disk = image_path::open_with(&options, &path)?;
            Ok((path, disk))
        }
        Node::Block(_) => {
            // The same checks as for writing an image: it must be a whole disk that is not mounted.
            let choice = choose(
                &Machine::default(),
                &path,
                &TargetRequirements { fixed: true, ..TargetRequirements::default() },
            )?;
            options.custom_flags(rustix::fs::OFlags::EXCL.bits().cast_signed());
            let disk = image_path::open_with(&options, choice.path())?;
            Ok((choice.path().to_owned(), disk))
        }
        Node::File { .. } => {
            if path.extension().is_some_and(|end| end == "zst") {
                bail!(Advice::new(
                    format!("{} is compressed", path.display()),
                    "`rocbed flash` takes --set, and so does `rocbed settings` for the stick"
                ));
            }
            let disk = image_path::open_with(&options, &path)?;
            Ok((path, disk))
        }
        Node::Missing => bail!(image_path::missing(&path)),
        _ => bail!("{} is neither a disk nor a disk image", path.display()),
    }
}
