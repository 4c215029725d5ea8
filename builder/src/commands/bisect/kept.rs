//! Packages that the hub keeps, for runs on this machine: they are fetched into a directory beside the search, each checked by
//! its digest, where commands that repeat a run find them.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use advice::{Advice, WithHelp as _};
use anyhow::{Context as _, Result, bail, ensure};
use client::Client;
use debian::deb::Deb;
use progress::{Progress as _, Task, Unit};
use protocol::api::{PackageVersion, ProblemCode};
use protocol::{FileContent, Job};
use sha256::Digest;

use super::origins::Origin;
use super::tester::Stop;
use crate::commands::bytes;
use crate::context::Context;
use crate::hubs::{HubAccess, Patience};

/// How names of files begin that are not complete.
const INCOMPLETE: &str = ".tmp";
/// What to do about a file that is not the one that the hub has told of.
const DAMAGED: &str = "it is not used; try again with --continue. If it stays so, the hub's file is damaged";
/// Free bytes that packages leave on the file system.
const RESERVE: u64 = 64 << 20;

/// A package that the hub keeps, and that runs here get from it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    package: PackageVersion,
    architecture: String,
    content: FileContent,
    /// Where it is put.
    path: PathBuf,
}

/// The packages of a search on this machine that come from a hub.
pub(super) struct Kept {
    wanted: Vec<Wanted>,
    directory: PathBuf,
    /// The hub; none if nothing comes from one.
    hub: Option<HubAccess>,
    is_here: bool,
}

impl Kept {
    /// Those of a search that is kept in a file.
    pub(super) fn of(origins: &[Origin], state: &Path, hub: Option<HubAccess>) -> Result<Self> {
        let state = std::path::absolute(state).context("finding the directory of the search")?;
        let directory = state.with_extension("packages");
        let wanted = |origin: &Origin| {
            let file = origin.file.as_ref()?;
            let end = file.name().rsplit('_').next().unwrap_or_default();
            let architecture = end.strip_suffix(".deb").unwrap_or(end).to_owned();
            let path = directory.join(file_name(&origin.package, &architecture));
            Some(Wanted { package: origin.package.clone(), architecture, content: file.content?, path })
        };
        Ok(Self { wanted: origins.iter().filter_map(wanted).collect(), directory, hub, is_here: false })
    }

    /// A job whose versions that come from the hub are package files, and where these are. The files are fetched before the
    /// first one is needed; `None` if the search was told to stop meanwhile.
    pub(super) fn give(&mut self, context: &Context, job: &Job, stop: &Stop) -> Result<Option<(Job, Vec<PathBuf>)>> {
        if !self.is_here {
            self.is_here = self.fetch(context, stop)?;
        }
        if !self.is_here {
            return Ok(None);
        }
        let mut job = job.clone();
        let mut files = Vec::new();
        for Wanted { package, path, .. } in &self.wanted {
            if job.versions.get(&package.name) == Some(&package.version) {
                job.versions.remove(&package.name);
                files.push(path.clone());
            }
        }
        Ok(Some((job, files)))
    }

    /// Fetches what is not here yet; returns whether all is here, and not the search told to stop. Files of an earlier run of
    /// the search are taken if their digests are right.
    fn fetch(&self, context: &Context, stop: &Stop) -> Result<bool> {
        let mut missing = Vec::new();
        for wanted in &self.wanted {
            if !wanted.is_here()? {
                missing.push(wanted);
            }
        }
        if missing.is_empty() {
            return Ok(true);
        }
        let Some(hub) = &self.hub else { bail!("packages of a hub are to be fetched, and it is not known which") };
        let making = || format!("making the directory {}", self.directory.display());
        fs::create_dir_all(&self.directory).with_context(making)?;
        // Other users read it in testbeds, whatever the umask.
        fs::set_permissions(&self.directory, Permissions::from_mode(0o755)).with_context(making)?;
        remove_incomplete(&self.directory)?;
        let size = missing.iter().map(|wanted| wanted.content.size).fold(0, u64::saturating_add);
        check_room(&self.directory, size)?;
        let client = hub.client(Patience::Long)?;
        let task = context.reporter.task("fetching packages that the hub keeps", Some(size), Unit::Bytes);
        for wanted in missing {
            task.detail(&wanted.package.to_string());
            if stop.is_asked() || !wanted.fetch(hub, &client, &self.directory, &*task, stop)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Removes what an earlier run of the search left when it was ended at once; the search is held by this one.
fn remove_incomplete(directory: &Path) -> Result<()> {
    let reading = || format!("reading the directory {}", directory.display());
    for entry in fs::read_dir(directory).with_context(reading)? {
        let path = entry.with_context(reading)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(INCOMPLETE) {
            fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        }
    }
    Ok(())
}

/// `NAME_VERSION_ARCH.deb` with the epoch, as in apt's cache: the archive's names lack it.
fn file_name(package: &PackageVersion, architecture: &str) -> String {
    let plain = |char: char| if char.is_ascii_alphanumeric() || "+-.~%".contains(char) { char } else { '_' };
    let version: String = package.version.replace(':', "%3a").chars().map(plain).collect();
    let name: String = package.name.chars().map(plain).collect();
    format!("{name}_{version}_{architecture}.deb")
}

fn check_room(directory: &Path, size: u64) -> Result<()> {
    let free = rustix::fs::statvfs(directory).map(|about| about.f_bavail.saturating_mul(about.f_frsize));
    let needed = size.saturating_add(RESERVE);
    match free {
        Ok(free) if free < needed => bail!(Advice::new(
            format!(
                "the packages from the hub need {}, and {} has {} free",
                bytes(needed),
                directory.display(),
                bytes(free)
            ),
            "free some, or name a file for the search on another disk with --state: they are put beside it"
        )),
        _ => Ok(()),
    }
}

impl Wanted {
    /// Whether the file is there with the right content.
    fn is_here(&self) -> Result<bool> {
        match File::open(&self.path).and_then(Digest::of_reader) {
            Ok((sha256, size)) => Ok(FileContent { sha256, size } == self.content),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).with_context(|| format!("reading {}", self.path.display())),
        }
    }

    /// Fetches the file; returns whether it is here, and not the search told to stop. It gets its name once it is known to be
    /// the right one.
    fn fetch(&self, hub: &HubAccess, client: &Client, directory: &Path, task: &dyn Task, stop: &Stop) -> Result<bool> {
        let what = || format!("fetching {} from the hub", self.package);
        let mut to = tempfile::Builder::new().prefix(INCOMPLETE).tempfile_in(directory).with_context(what)?;
        let mut limited = Limited { file: to.as_file_mut(), left: self.content.size, is_more: false, task, stop };
        let fetched = client.kept_package(&self.content.sha256, 0, &mut limited);
        let is_more = limited.is_more;
        match fetched {
            Ok(_) => {}
            Err(_) if stop.is_asked() => return Ok(false),
            Err(_) if is_more => {
                bail!(Advice::new(format!("for {} the hub sends more than the file has", self.package), DAMAGED))
            }
            Err(error) if error.code() == Some(ProblemCode::NotFound) => bail!(Advice::new(
                format!("the hub keeps {} no more", self.package),
                "begin a new search, whose plan says what the hub has now: name another file with --state"
            )),
            Err(error) => {
                return Err(hub.explain(error)).with_context(what).help("`rocbed bisect --continue` goes on");
            }
        }
        let (sha256, size) = Digest::of_reader(to.reopen().with_context(what)?).with_context(what)?;
        ensure!(
            FileContent { sha256, size } == self.content,
            Advice::new(
                format!("the hub sent another file for {}: {size} bytes with SHA-256 {sha256}", self.package),
                DAMAGED
            )
        );
        self.check_package(&mut to.reopen().with_context(what)?)?;
        // Other users read it in testbeds, whatever the umask.
        to.as_file().set_permissions(Permissions::from_mode(0o644)).with_context(what)?;
        to.persist(&self.path).map_err(|error| error.error).with_context(what)?;
        Ok(true)
    }

    /// Checks that a file is the wanted package: the digest of what the hub sends comes from the hub too.
    fn check_package(&self, file: &mut File) -> Result<()> {
        let help = "it is not used; tell whoever runs the hub";
        let deb =
            Deb::read(file).with_context(|| format!("reading what the hub sent for {}", self.package)).help(help)?;
        ensure!(
            (deb.name(), deb.version(), deb.architecture())
                == (&*self.package.name, &*self.package.version, &*self.architecture),
            Advice::new(
                format!(
                    "for {} ({}) the hub sent {} {} ({})",
                    self.package,
                    self.architecture,
                    deb.name(),
                    deb.version(),
                    deb.architecture()
                ),
                help
            )
        );
        Ok(())
    }
}

/// Writes to a file what belongs to it, and refuses more, or all once the search is told to stop.
struct Limited<'a> {
    file: &'a mut File,
    left: u64,
    /// Whether more was refused.
    is_more: bool,
    task: &'a dyn Task,
    stop: &'a Stop,
}

impl Write for Limited<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stop.is_asked() {
            return Err(io::Error::other("the search was told to stop"));
        }
        if bytes.len() as u64 > self.left {
            self.is_more = true;
            return Err(io::Error::other("the hub sends more than the file has"));
        }
        let written = self.file.write(bytes)?;
        self.left = self.left.saturating_sub(written as u64);
        self.task.advance(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
#[path = "kept/tests.rs"]
mod tests;
