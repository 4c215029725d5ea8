//! `rocbed bisect`: finds the package upgrade, or the image with another kernel or firmware, that made a test fail.
//!
//! [`ends`] and [`since`] find the two results to begin with, [`dependencies`] what belongs together, [`origins`] where
//! versions come from, [`kept`] fetches some of them, [`again`] asks for more of them when a search is taken up, [`plan`] says how many runs it takes, [`search`] makes them with a [`tester`], and [`outcome`] tells what was found. [`state`] keeps all
//! of it in a file. [`images`], [`contents`] and [`machines`] are for searches over images.

mod access;
mod again;
mod at_hub;
mod child;
mod command;
mod contents;
mod dates;
mod dependencies;
mod ends;
#[cfg(test)]
mod fake_hub;
mod here;
mod images;
mod kept;
mod machines;
mod mixed;
mod origins;
mod outcome;
mod place;
mod plan;
mod search;
mod since;
mod state;
mod tester;
mod wording;

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use advice::{Advice, WithHelp as _};
use anyhow::{Context as _, Result, bail};
use archive::index::Universe;
use history::groups::{Group, Grouped, group};
use progress::Progress as _;
use protocol::api::{KeptPackages, ProblemCode};
use protocol::exit;

use super::{own_error, print, print_json};
use crate::cmdline::Bisect;
use crate::context::Context;
use crate::hubs::{self, Patience};
use crate::recipe;
use access::access;
use dependencies::PackagesOf;
use origins::Origin;
use outcome::Outcome;
use place::{Machines, Place};
use plan::Plan;
use search::Finish;
use state::{Question, State};
use tester::{Stop, Tester};

/// Recipe whose archive knows the dependencies, if that of the machine's image is not known here.
const RECIPE: &str = "rocm";
/// What to do if versions of packages are not to be had.
const FROM_WHERE: &str =
    "have an apt source in the testbed that has these versions: `apt-sources` or `packages` of the job";

/// Searches; returns the exit code.
pub fn run(context: &Context, options: &Bisect) -> u8 {
    bisect(context, options).unwrap_or_else(|error| own_error(context, &error))
}

fn bisect(context: &Context, options: &Bisect) -> Result<u8> {
    let _hold = if options.plan { None } else { Some(state::hold(&options.state)?) };
    let known = State::read(&options.state)?;
    let mut state = match (options.take_up, known) {
        (true, Some(known)) => known,
        (true, None) => bail!(Advice::new(
            format!("there is no search in {} to be taken up", options.state.display()),
            "begin one: `rocbed bisect PACKAGE --target TARGET`, or name its file with --state"
        )),
        (false, Some(known)) if !options.plan && !known.is_over() => bail!(Advice::new(
            format!("{} has a search that has not come to its end", options.state.display()),
            "take it up with --continue, name another file with --state, or remove it"
        )),
        (false, _) => new(context, options)?,
    };
    let hub = state.place.hub().map(|address| access(context, options, address)).transpose()?;
    if let Some(hub) = hub.as_ref().filter(|_| options.take_up && !options.source.offline) {
        again::ask(context, &mut state, hub)?;
    }
    if options.plan {
        let plan = Plan::of(&state);
        if options.json {
            print_json(&plan)?;
        } else {
            print(&plan.text(&state.place))?;
        }
        return Ok(0);
    }
    let mut tester: Box<dyn Tester> = match &state.place {
        Place::Hub(_) => Box::new(at_hub::AtHub::new(context, hub.context("a search at a hub names it")?)?),
        Place::Local(local) => {
            let kept = kept::Kept::of(&state.versions, &options.state, hub)?;
            Box::new(here::Here::new(context, local.clone(), kept))
        }
        Place::Machines(machines) => {
            let groups = state.groups.clone();
            Box::new(machines::InMachines::new(context, machines.clone(), groups, &options.state)?)
        }
    };
    if !state.is_over() {
        context.reporter.say(Plan::of(&state).text(&state.place).trim_end());
        if !options.take_up {
            confirm(options)?;
        }
    }
    state.write(&options.state)?;
    let stop = Stop::on_signals()?;
    let finish = search::search(context, &mut state, &options.state, &mut *tester, &stop)?;
    let path = options.state.display();
    match finish {
        Finish::Decided(verdict) => {
            let outcome = Outcome::of(&state, &verdict);
            if options.json {
                print_json(&outcome)?;
            } else {
                print(&outcome.text())?;
            }
            Ok(outcome.code())
        }
        Finish::Stopped => {
            context.reporter.say(&format!("stopped; `rocbed bisect --continue` goes on with the search in {path}"));
            if let Some(waiting) = &state.waiting {
                context.reporter.say(&format!("{} goes on; `rocbed jobs cancel {}` ends it", waiting.job, waiting.job));
            }
            Ok(exit::TESTBED_FAILED)
        }
        Finish::NoAnswer(reason) => {
            let what_to_mend = match state.place {
                Place::Hub(_) => "mend the machine or pause its worker",
                Place::Local(_) => "mend what it says",
                Place::Machines(_) => "mend what it says; `rocbed boot IMAGE` shows the machine's console",
            };
            context.reporter.warn_of(
                &Advice::new(
                    format!("a run said nothing three times; the last time: {reason}"),
                    format!("{what_to_mend}; `rocbed bisect --continue` goes on with {path}"),
                )
                .into(),
            );
            Ok(exit::TESTBED_FAILED)
        }
    }
}

/// A new search.
fn new(context: &Context, options: &Bisect) -> Result<State> {
    let (question, place) = question(context, options)?;
    if let Place::Machines(machines) = &place {
        let (machines, repeat) = (machines.clone(), repeat(options, &question)?);
        return of_images(context, options, question, &machines, repeat);
    }
    if question.good.list()?.text() == question.bad.list()?.text() {
        return Err(same_packages(&question));
    }
    let repeat = repeat(options, &question)?;
    if options.dates {
        let dates = dates::between(&question)?;
        return Ok(State::of_dates(question, place, dates, repeat));
    }
    let image = question.bad.environment.image.split(' ').next().unwrap_or_default().to_owned();
    let of_image = || if recipe::load(&image).is_ok() { image.clone() } else { RECIPE.to_owned() };
    let recipe = options.recipe.clone().or_else(|| options.local.clone()).unwrap_or_else(of_image);
    let (good, bad) = (question.good.list()?, question.bad.list()?);
    let (grouped, origins) = match dependencies::indexes(context, &recipe, &options.source, PackagesOf::Testbed) {
        Ok(universe) => {
            let grouped = group(&good, &bad, &|name, version| dependencies::needs(&universe, name, version));
            let origins = find_origins(context, options, &universe, &grouped.groups, (&question, &place))?;
            (grouped, origins)
        }
        Err(error) => {
            warn_of_dependencies(context, &error);
            (group(&good, &bad, &|_, _| Vec::new()), Vec::new())
        }
    };
    if grouped.groups.is_empty() {
        return Err(same_packages(&question));
    }
    let mut state = State::new(question, place, grouped, repeat);
    state.versions = origins;
    Ok(state)
}

fn warn_of_dependencies(context: &Context, error: &anyhow::Error) {
    let why = crate::error::report(error);
    context.reporter.warn(&format!("dependencies are not known, so more sets may not be installable: {why}"));
}

/// What is asked, and where runs are made.
fn question(context: &Context, options: &Bisect) -> Result<(Question, Place)> {
    let machines = if options.image.is_empty() { None } else { Some(images::machines(options)?) };
    if let Some(machines) = machines.as_ref().filter(|_| options.what.len() == 1) {
        let question = images::question(options, &machines.images)?;
        let machines = images::with_gpus(context, machines.clone(), &question);
        return Ok((question, Place::Machines(machines)));
    }
    let is_local = options.local.is_some() || machines.is_some();
    let words: Vec<&str> = options.what.iter().map(String::as_str).collect();
    // A hub is not needed for two files and this machine.
    let needs_hub = !is_local || words.len() < 2 || !words.iter().all(|word| ends::is_file(word));
    let hub = if needs_hub { Some(hubs::connect(&options.at)?) } else { None };
    let load = |word: &str| match &hub {
        Some((place, client)) if !ends::is_file(word) => ends::of_hub(place, client, word),
        _ => ends::of_file(word),
    };
    let (mut question, others) = match (&words[..], &hub) {
        ([good, bad], _) => ends::question(&load(good)?, &load(bad)?, options.test.as_deref())?,
        (_, Some((place, client))) => {
            let since = since::find(&since::asked(options, place, client)?, place, client)?;
            if since.failed_before > 0 {
                let before = since.failed_before;
                context.reporter.warn(&format!(
                    "{} failed in {} before {} too: it may fail by chance with the old packages",
                    since.test,
                    wording::counted(before as usize, "run"),
                    since.bad
                ));
            }
            let (good, bad) = (ends::of_hub(place, client, &since.good)?, ends::of_hub(place, client, &since.bad)?);
            let (mut question, others) = ends::question(&good, &bad, Some(&since.test))?;
            question.observed = since.observed;
            (question, others)
        }
        _ => bail!("name a package, or two results"),
    };
    if !others.is_empty() {
        let list = others.join(", ");
        context
            .reporter
            .say(&format!("{} is searched for; these broke too, --test chooses one: {list}", question.test));
    }
    question.job.priority = options.priority;
    question.job.id = protocol::api::job_id(&format!("bisect-{}", question.job.id), 1);
    let place = match (machines, &options.local, hub) {
        (Some(machines), ..) => {
            // A machine is not part of a job in parts.
            question.job.shards = 1;
            Place::Machines(images::with_gpus(context, machines, &question))
        }
        (None, Some(recipe), hub) => Place::Local(here::local(recipe, options, hub.as_ref().map(|(place, _)| place))?),
        (None, None, Some((place, _))) => Place::Hub(place.address),
        (None, None, None) => bail!("a search without --local needs a hub"),
    };
    place.check(&question.job, &question.bad.name)?;
    Ok((question, place))
}

/// The error for ends with the same packages.
fn same_packages(question: &Question) -> anyhow::Error {
    let differ = history::differences(&question.good.environment, &question.bad.environment);
    let list: Vec<String> = differ.iter().map(ToString::to_string).collect();
    let what = if list.is_empty() { "nothing that is recorded".to_owned() } else { list.join(", ") };
    let help = if list.is_empty() {
        format!("it may fail by chance: `rocbed jobs confirm {}` runs it again", question.bad.name)
    } else {
        format!(
            "`rocbed bisect {} {} --image OLD --image NEW` boots images and tells",
            question.good.name, question.bad.name
        )
    };
    Advice::new(
        format!("{} and {} had the same packages; what differs: {what}", question.good.name, question.bad.name),
        help,
    )
    .into()
}

/// How often the test has to pass until that counts.
fn repeat(options: &Bisect, question: &Question) -> Result<u32> {
    if let Some(repeat) = options.repeat {
        return Ok(repeat);
    }
    let repeat = plan::repeat(question.observed).ok_or_else(|| {
        let seen = question.observed;
        Advice::new(
            format!(
                "{} failed in {} of {} runs: too rarely for a search",
                question.test,
                seen.failed,
                seen.failed + seen.passed
            ),
            "--repeat COUNT says how often it has to pass before that counts",
        )
    })?;
    Ok(repeat)
}

/// A new search over images.
fn of_images(
    context: &Context,
    options: &Bisect,
    question: Question,
    machines: &Machines,
    repeat: u32,
) -> Result<State> {
    let place = Place::Machines(machines.clone());
    let Some(recipe) = &machines.recipe else {
        return Ok(State::of_images(question, place, images::labels(&machines.images), repeat));
    };
    let (good, bad) = contents::both_locks(&machines.images)?;
    contents::request(recipe, &good, &bad)?;
    // Only what the indexes say is optional; without the recipe no image can be built.
    crate::recipe::load(recipe)?;
    let universe = match dependencies::indexes(context, recipe, &options.source, PackagesOf::Image) {
        Ok(universe) => Some(universe),
        Err(error) => {
            warn_of_dependencies(context, &error);
            None
        }
    };
    let needs = |name: &str, version: &str| {
        universe.as_ref().map(|universe| dependencies::needs(universe, name, version)).unwrap_or_default()
    };
    let grouped = Grouped { groups: contents::groups(&good, &bad, &needs)?, at_boot: Vec::new() };
    Ok(State::new(question, place, grouped, repeat))
}

/// Finds where the versions of the groups come from, and warns of those that cannot be had.
fn find_origins(
    context: &Context,
    options: &Bisect,
    universe: &Universe,
    groups: &[Group],
    (question, place): (&Question, &Place),
) -> Result<Vec<Origin>> {
    let gone = origins::not_in_archive(universe, groups);
    let kept = match place.hub() {
        Some(address) if !gone.is_empty() => {
            let hub = access(context, options, address)?;
            let client = hub.client(Patience::Short)?;
            match (origins::ask(&client, &question.job, &gone), place) {
                (Ok(kept), _) => kept,
                // One of before there were kept packages.
                (Err(error), Place::Local(_)) if error.code() == Some(ProblemCode::NotFound) => KeptPackages::default(),
                (Err(error), place) => {
                    let error = hub.explain(error).context("it is not known which packages the hub keeps");
                    if matches!(place, Place::Local(_)) {
                        let help = "begin when the hub answers: a search on this machine asks it at the start only";
                        return Err(error.help(help));
                    }
                    // The hub finds that out for itself when it has the jobs; nothing is said of where versions come from.
                    context.reporter.warn_of(&crate::error::report(&error));
                    return Ok(Vec::new());
                }
            }
        }
        _ => KeptPackages::default(),
    };
    let found = origins::find(groups, &gone, &kept, place);
    for warning in origins::warnings(&found, groups, &question.job, place, &kept) {
        context.reporter.warn_of(&warning.into());
    }
    Ok(found)
}

/// Asks whether to begin.
fn confirm(options: &Bisect) -> Result<()> {
    if options.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        bail!(Advice::new(
            "stdin is not a terminal, so nobody can answer whether to begin",
            "--yes begins without asking"
        ));
    }
    let mut stderr = std::io::stderr().lock();
    write!(stderr, "Begin? [Y/n] ").and_then(|()| stderr.flush()).context("asking on stderr")?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("reading the answer")?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "" | "y" | "yes" => Ok(()),
        _ => bail!("nothing was run: the answer was not yes"),
    }
}
