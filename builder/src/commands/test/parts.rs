//! `rocbed test --shards`: runs a job in parts, one after the other, and puts their results together as a hub does.

use std::fs::{self, File};
use std::path::Path;

use advice::Advice;
use anyhow::{Context as _, Result, bail};
use bundle::{JUNIT, RESULT};
use progress::Progress as _;
use protocol::{Job, part_name};
use runner::Finished;
use runner::shards::{Part, PartReports, ROOM, bounded, join};

use super::{Tested, make_in};
use crate::report::Reporter;

/// Largest `junit.xml` of a part that is read, in bytes.
pub(super) const MOST_CASES: u64 = 64 << 20;

/// Refuses a directory with results of an earlier run, before the first run has taken its time.
pub(super) fn refuse_used(output: &Path) -> Result<()> {
    let mut entries = fs::read_dir(output).with_context(|| format!("reading {}", output.display()))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(runner::Error::NotEmpty(output.to_owned()).into()),
    }
}

/// Runs each part by `run`, which gets the part and its output directory, and joins their results in `output`.
pub(super) fn run(
    job: &Job,
    output: &Path,
    reporter: &Reporter,
    mut run: impl FnMut(&Job, &Path) -> Result<Finished>,
) -> Result<Tested> {
    refuse_used(output)?;
    let (mut parts, mut room, mut lists) = (Vec::new(), ROOM, Vec::new());
    for index in 0..job.shards {
        let name = part_name(index, job.shards);
        reporter.say(&name);
        let part = job.part(index);
        let directory = make_in(output, &format!("part-{}", index.saturating_add(1)))?;
        let finished = run(&part, &directory).with_context(|| format!("running {name}"))?;
        if finished.cancelled {
            bail!(Advice::new(
                format!("{name} was stopped, and the parts that have ended are not the whole"),
                "run it again; --output keeps the results of the parts"
            ));
        }
        let bundle = &finished.bundle;
        let open = || File::open(&bundle.path).with_context(|| format!("opening {}", bundle.path.display()));
        // A report that is too large does not cost the results of the other parts.
        let junit = bundle::file(open()?, JUNIT, MOST_CASES).unwrap_or_else(|error| {
            reporter.warn(&format!("the test cases of {name} do not count: {}: {error}", bundle.path.display()));
            None
        });
        let reports = junit.map(|junit| PartReports::read(&junit, &finished.result, &mut room));
        let of_part = finished.result.installed.resolve();
        lists.extend(of_part.with_context(|| format!("reading the packages of {name}"))?.into_values());
        parts.push(Part { id: part.id, bundle: bundle.sha256, result: bounded(finished.result), reports });
    }
    let mut joined = join(job, &parts).context("the job has no part")?;
    for list in &lists {
        // A result has room for so many lists; tests whose list is left out say that theirs is not known.
        let _ = joined.result.installed.add(list);
    }
    let work = tempfile::tempdir_in(output).context("making a directory for the joined result")?;
    let made = joined.write_bundle(work.path(), &job.id).context("writing the joined result")?;
    let place = output.join(made.bundle.path.file_name().unwrap_or_default());
    fs::rename(&made.bundle.path, &place).with_context(|| format!("writing {}", place.display()))?;
    for name in [RESULT, JUNIT] {
        let (from, to) = (work.path().join("files").join(name), output.join(name));
        fs::rename(from, &to).with_context(|| format!("writing {}", to.display()))?;
    }
    Ok(Tested { result: joined.result, bundle: place, not_counted: joined.not_counted, cancelled: false })
}
