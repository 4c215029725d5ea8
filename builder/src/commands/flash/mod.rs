//! `rocbed flash`: writes an image to a stick.

mod fetch;
mod show;

use std::fs;
use std::io::{self, BufRead, IsTerminal, Read as _, Write};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use advice::{Advice, AtPath as _};
use anyhow::{Context as _, Result, bail, ensure};
use diskimage::{Guid, SectorSize};
use progress::Progress as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use stick::check::check;
use stick::devices::Machine;
use stick::fit::NewFile;
use stick::image::Image;
use stick::refuse::TargetRequirements;
use stick::settings::{self, StickSettings};
use stick::target::{Choice, FileShape, choose};
use stick::write::{WriteError, write};

use super::{bytes, print, print_json};
use crate::cmdline::{Flash, OntoStick};
use crate::context::Context;

/// Exit status when a second signal ends the process at once.
const KILLED: i32 = 1;

/// Lists devices, or writes one.
pub fn run(context: &Context, options: &Flash) -> Result<()> {
    let machine = Machine::default();
    if let Some(image) = &options.image {
        fetch::require(image)?;
    }
    let (Some(image), Some(device)) = (&options.image, &options.device) else {
        return list(context, &machine, options);
    };
    refuse_device(image, device)?;
    // Errors in the settings or the device are reported before anything is downloaded.
    let files = files(options)?;
    let mut wanted = TargetRequirements { size: 0, fixed: options.i_know, file: options.file, image: None };
    choose(&machine, device, &wanted)?;
    let source = fetch::open(context, image, options.sha256)?;
    if source.sha256.is_none() {
        context.reporter.warn(&format!(
            "there is no SHA256SUMS beside {}, and no --sha256: nothing tells whether it is whole",
            source.path().display()
        ));
    }
    // An attacker on the network could replace both the image and its checksums.
    if options.sha256.is_none() && fetch::is_by_plain_http(image) {
        context.reporter.warn(&format!(
            "{image} and the digests beside it came over plain HTTP: that it is whole is checked, who made it is not; use \
             https, or give --sha256 from a place that you trust"
        ));
    }
    wanted.image = source.node().ok();
    let mut choice = choose(&machine, device, &wanted)?;

    let failed = || format!("reading {}", source.path().display());
    let mut image = Image::open(source.reader().with_context(failed)?, source.map.as_ref()).with_context(failed)?;
    let shape = shape(options, &choice, &mut image)?;
    choice.require(image.needed(shape.sector_size)?)?;
    // Nothing is erased before the whole image is known to be undamaged.
    check(&source, &context.reporter)
        .with_context(|| format!("{} is as it was; checking {}", choice.path().display(), source.path().display()))?;
    confirm(options, &choice, source.path())?;

    let disk = choice.open(&machine, shape)?;
    let mut fit = image.fit(shape.size, shape.sector_size, &files, jiff::Timestamp::now().as_second())?;
    fit.draw_guids(draw_guid).context("drawing GUIDs for the partitions")?;
    let stop = stop_on_signals()?;
    let began = Instant::now();
    let place = choice.path().display();
    let written = write(image, &fit, &disk, !options.no_verify, &stop, &context.reporter).map_err(|error| {
        let begun = !matches!(error, WriteError::Fit(_));
        let error = anyhow::Error::from(error).context(format!("writing {place}"));
        // Before the causes, so that it is not overlooked.
        if begun { error.context(format!("{place} is not bootable and holds nothing now")) } else { error }
    })?;
    if let Err(error) = disk.reread_partitions() {
        context.reporter.warn(&format!(
            "the kernel does not see the new partitions yet ({error}): unplug the stick and plug it in"
        ));
    }
    let checked = if options.no_verify { "" } else { " and read back" };
    context.reporter.say(&format!(
        "{place}: {} written{checked}, {} zeroed, in {:.1} s; it boots now",
        bytes(written.data),
        bytes(written.zeros),
        began.elapsed().as_secs_f64()
    ));
    Ok(())
}

/// Refuses a device in place of an image (a file or an address): the two arguments were probably swapped.
fn refuse_device(image: &str, device: &Path) -> Result<()> {
    let is_device = fs::metadata(image).is_ok_and(|about| about.file_type().is_block_device());
    ensure!(
        !is_device,
        Advice::new(
            format!("{image} is a device, not an image"),
            format!("the image comes first, then the device to write it to: rocbed flash {} {image}", device.display())
        )
    );
    Ok(())
}

fn list(context: &Context, machine: &Machine, options: &Flash) -> Result<()> {
    let listing = machine.list().context("looking at the devices of this machine")?;
    let candidates: Vec<_> = listing.devices.iter().filter(|device| device.is_candidate()).collect();
    if options.json {
        return print_json(&candidates.iter().map(|device| show::Entry::new(device)).collect::<Vec<_>>());
    }
    if candidates.is_empty() {
        context.reporter.say("there is no disk");
    }
    print(&show::list(&candidates))?;
    if let Some(image) = &options.image {
        context.reporter.say(&format!("to write one of them: rocbed flash {image} /dev/…"));
    }
    Ok(())
}

/// The files to put on the EFI system partition.
fn files(options: &Flash) -> Result<Vec<NewFile>> {
    let mut settings = StickSettings::default();
    let token = options.join_token.as_ref().map(|token| token.reveal().to_owned());
    let own = [("hub", &options.hub), ("join-token", &token), ("name", &options.name)];
    for (name, value) in own {
        if let Some(value) = value {
            settings.set(name, value).context("checking the settings")?;
        }
    }
    for (name, value) in &options.onto.set {
        settings.set(name, value).context("checking the settings")?;
    }
    let text = settings.text();
    let mut files = Vec::new();
    if !text.is_empty() {
        files.push((settings::SETTINGS.to_owned(), text.into_bytes()));
    }
    if let Some((bytes, _)) = jobs(&options.onto)? {
        files.push((settings::JOBS.to_owned(), bytes));
    }
    Ok(files)
}

/// The job list that was named, checked, and its number of jobs.
pub(super) fn jobs(onto: &OntoStick) -> Result<Option<(Vec<u8>, usize)>> {
    let Some(path) = &onto.jobs else { return Ok(None) };
    let bytes = fs::read(path).at_path("reading the job list", path)?;
    let count = settings::check_jobs(&bytes).with_context(|| format!("reading the job list {}", path.display()))?;
    Ok(Some((bytes, count)))
}

/// Size and sector size of what is written.
fn shape(options: &Flash, choice: &Choice, image: &mut Image<'_>) -> Result<FileShape> {
    if let Some(device) = &choice.device {
        let sector_size = SectorSize::of_bytes(device.sector_size)
            .with_context(|| format!("no image is for sectors of {} bytes", device.sector_size))?;
        return Ok(FileShape { size: device.size, sector_size });
    }
    let sector_size = options.sector_size.unwrap_or_else(|| image.sector_size());
    let needed = image.needed(sector_size)?;
    let size = options.size.unwrap_or(needed);
    ensure!(size >= needed, "the image needs {needed} bytes ({}), and --size is {size}", bytes(needed));
    Ok(FileShape { size: size / sector_size.bytes() * sector_size.bytes(), sector_size })
}

/// Shows what will be lost and asks for confirmation.
fn confirm(options: &Flash, choice: &Choice, image: &Path) -> Result<()> {
    let lost = match &choice.device {
        Some(device) => show::lost(device),
        None if choice.path().exists() => {
            format!("{} is a file; what is in it will be lost\n", choice.path().display())
        }
        None => return Ok(()), // a new file
    };
    let mut stderr = io::stderr().lock();
    // Errors are ignored: if stderr is closed, the question below gets no answer either.
    let _ = write!(stderr, "{lost}");
    if options.yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        bail!(Advice::new(
            format!("stdin is not a terminal, so nobody can answer whether to overwrite {}", choice.path().display()),
            "--yes overwrites it without asking"
        ));
    }
    write!(stderr, "Type yes to write {} to {}: ", image.display(), choice.path().display())
        .and_then(|()| stderr.flush())
        .context("asking on stderr")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).context("reading the answer")?;
    match answer.trim() {
        "yes" => Ok(()),
        _ => bail!("nothing was written: the answer was not yes"),
    }
}

fn draw_guid() -> io::Result<Guid> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(Guid::from_random(bytes))
}

/// Flag set by the first signal, which stops the writing cleanly; a second signal ends the process at once.
fn stop_on_signals() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register_conditional_shutdown(signal, KILLED, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .context("listening for signals")?;
    }
    Ok(stop)
}
