//! `rocbed results fetch`: downloads result bundles.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use advice::Advice;
use anyhow::{Context as _, Result, anyhow, bail};
use client::Client;
use progress::{Progress as _, Task, Unit};
use protocol::Verdict;
use protocol::api::{ResultInfo, check_id};
use serde::Serialize;
use sha256::Digest;

use crate::cmdline::ResultsFetch;
use crate::commands::{print, print_json};
use crate::context::Context;
use crate::hubs::{HubAccess, connect};
use crate::wording::counted;

/// A fetched bundle.
#[derive(Debug, Serialize)]
struct Fetched {
    job: String,
    verdict: Verdict,
    bundle: PathBuf,
    sha256: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    directory: Option<PathBuf>,
}

pub(super) fn run(context: &Context, options: &ResultsFetch) -> Result<()> {
    let (place, client) = connect(&options.at)?;
    fs::create_dir_all(&options.output).with_context(|| format!("making {}", options.output.display()))?;
    let (mut fetched, mut failed) = (Vec::new(), 0);
    for job in &options.jobs {
        match one(context, &place, &client, job, options) {
            Ok(one) => {
                if !options.json {
                    print(&format!("{}\n", one.directory.as_ref().unwrap_or(&one.bundle).display()))?;
                }
                fetched.push(one);
            }
            Err(error) => {
                failed += 1;
                context.reporter.warn_of(&crate::error::report(&error.context(format!("job {job}"))));
            }
        }
    }
    if options.json {
        print_json(&fetched)?;
    }
    match failed {
        0 => Ok(()),
        failed => Err(anyhow!("{failed} of {} results could not be fetched", options.jobs.len())),
    }
}

fn one(context: &Context, place: &HubAccess, client: &Client, job: &str, options: &ResultsFetch) -> Result<Fetched> {
    let info = client.result(job).map_err(|error| place.explain(error))?.info;
    // The id becomes part of a path, and the hub may not be trusted.
    check_id("the hub's id of the job", &info.job)?;
    let wanted = info.bundle;
    let path = options.output.join(format!("{}{}", info.job, bundle::SUFFIX));
    if !is_there(&path, wanted)? {
        download(context, place, client, &info, wanted, &path)?;
    }
    let directory = if options.unpack { Some(unpack(context, &path, &options.output, &info.job)?) } else { None };
    Ok(Fetched { job: info.job, verdict: info.verdict, bundle: path, sha256: info.bundle, directory })
}

/// Whether the file exists with this digest. A different file of that name is an error: it may be someone else's.
fn is_there(path: &Path, wanted: Digest) -> Result<bool> {
    match File::open(path) {
        Ok(file) => {
            let (digest, _) = Digest::of_reader(file).with_context(|| format!("reading {}", path.display()))?;
            if digest != wanted {
                bail!(Advice::new(
                    format!("{} is another bundle than the hub's", path.display()),
                    "remove it, or name another directory with --output"
                ));
            }
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("opening {}", path.display())),
    }
}

/// Downloads a bundle next to its destination, resuming an interrupted download, and renames it once its digest is
/// right.
fn download(
    context: &Context,
    place: &HubAccess,
    client: &Client,
    info: &ResultInfo,
    wanted: Digest,
    path: &Path,
) -> Result<()> {
    // Named after its digest: an existing part is the beginning of the same bundle.
    let part = path.with_file_name(format!(".{wanted}.part"));
    let failed = || format!("writing {}", part.display());
    let mut file = OpenOptions::new().create(true).append(true).open(&part).with_context(failed)?;
    let have = file.metadata().with_context(failed)?.len();
    if have < info.size {
        let task = context.reporter.task(&format!("fetching {}", info.job), Some(info.size), Unit::Bytes);
        task.advance(have);
        let mut counted = Counted { file: &mut file, task: &*task };
        client.bundle_from(&info.job, have, &mut counted).map_err(|error| place.explain(error))?;
    }
    file.sync_all().with_context(failed)?;
    let (digest, size) = Digest::of_reader(File::open(&part).with_context(failed)?).with_context(failed)?;
    if digest != wanted {
        fs::remove_file(&part).with_context(failed)?;
        bail!(Advice::new(
            format!(
                "what was downloaded is not the hub's bundle: {size} bytes with the digest {digest}, instead of {} with {wanted}",
                info.size
            ),
            "try again; it was removed"
        ));
    }
    fs::rename(&part, path).with_context(|| format!("renaming {} to {}", part.display(), path.display()))
}

struct Counted<'a> {
    file: &'a mut File,
    task: &'a dyn Task,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.task.advance(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Unpacks a bundle into a directory with the job's name, which appears only when complete.
fn unpack(context: &Context, path: &Path, output: &Path, job: &str) -> Result<PathBuf> {
    let to = output.join(job);
    if to.exists() {
        bail!(Advice::new(
            format!("{} is there already", to.display()),
            "remove it, or name another directory with --output"
        ));
    }
    let draft = tempfile::Builder::new()
        .prefix(".unpacking.")
        .tempdir_in(output)
        .with_context(|| format!("making a directory in {}", output.display()))?;
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let inside = draft.path().join(job);
    fs::create_dir(&inside).with_context(|| format!("making {}", inside.display()))?;
    let entries = bundle::unpack(file, &inside).with_context(|| format!("unpacking {}", path.display()))?;
    fs::rename(&inside, &to).with_context(|| format!("renaming {} to {}", inside.display(), to.display()))?;
    context.reporter.detail(&format!("unpacked {} into {}", counted(entries.len(), "entry", "entries"), to.display()));
    Ok(to)
}
