//! Packages that the hub keeps, for runs on this machine: they are fetched into a directory beside the search, each checked by
//! its digest, where commands that repeat a run find them.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use advice::Advice;
use anyhow::{Context as _, Result, bail, ensure};
use client::Client;
use progress::{Progress as _, Task, Unit};
use protocol::api::{PackageVersion, ProblemCode};
use protocol::{FileContent, Job, PackageFile};
use sha256::Digest;

use super::origins::Origin;
use crate::commands::bytes;
use crate::context::Context;
use crate::hubs::{HubAccess, Patience};

/// Free bytes that packages leave on the file system.
const RESERVE: u64 = 64 << 20;

/// A package that the hub keeps, and that runs here get from it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    package: PackageVersion,
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
            let path = directory.join(file_name(&origin.package, file));
            Some(Wanted { package: origin.package.clone(), content: file.content?, path })
        };
        Ok(Self { wanted: origins.iter().filter_map(wanted).collect(), directory, hub, is_here: false })
    }

    /// A job whose versions that come from the hub are package files, and where these are. The files are fetched before the
    /// first one is needed.
    pub(super) fn give(&mut self, context: &Context, job: &Job) -> Result<(Job, Vec<PathBuf>)> {
        if !self.is_here {
            self.fetch(context)?;
            self.is_here = true;
        }
        let mut job = job.clone();
        let mut files = Vec::new();
        for Wanted { package, path, .. } in &self.wanted {
            if job.versions.get(&package.name) == Some(&package.version) {
                job.versions.remove(&package.name);
                files.push(path.clone());
            }
        }
        Ok((job, files))
    }

    /// Fetches what is not here yet. Files of an earlier run of the search are taken if their digests are right.
    fn fetch(&self, context: &Context) -> Result<()> {
        let mut missing = Vec::new();
        for wanted in &self.wanted {
            if !wanted.is_here()? {
                missing.push(wanted);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let Some(hub) = &self.hub else { bail!("packages of a hub are to be fetched, and it is not known which") };
        let making = || format!("making the directory {}", self.directory.display());
        fs::create_dir_all(&self.directory).with_context(making)?;
        let size = missing.iter().map(|wanted| wanted.content.size).fold(0, u64::saturating_add);
        check_room(&self.directory, size)?;
        let client = hub.client(Patience::Short)?;
        let task = context.reporter.task("fetching packages that the hub keeps", Some(size), Unit::Bytes);
        for wanted in missing {
            task.detail(&wanted.package.to_string());
            wanted.fetch(hub, &client, &self.directory, &*task)?;
        }
        Ok(())
    }
}

/// The name of a package's file as apt writes it, of the architecture that the hub's name of it has: versions that differ in
/// their epoch have one name in an archive.
fn file_name(package: &PackageVersion, file: &PackageFile) -> String {
    let architecture = file.name().rsplit('_').next().unwrap_or("all.deb");
    let plain = |char: char| if char.is_ascii_alphanumeric() || "+-.~%".contains(char) { char } else { '_' };
    let version: String = package.version.replace(':', "%3a").chars().map(plain).collect();
    let name: String = package.name.chars().map(plain).collect();
    format!("{name}_{version}_{architecture}")
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

    /// Fetches the file. It gets its name once its digest is the right one.
    fn fetch(&self, hub: &HubAccess, client: &Client, directory: &Path, task: &dyn Task) -> Result<()> {
        let what = || format!("fetching {} from the hub", self.package);
        // Other users read it in testbeds.
        let readable = Permissions::from_mode(0o644);
        let mut to = tempfile::Builder::new().permissions(readable).tempfile_in(directory).with_context(what)?;
        let mut limited = Limited { file: to.as_file_mut(), left: self.content.size, task };
        match client.kept_package(&self.content.sha256, 0, &mut limited) {
            Ok(_) => {}
            Err(error) if error.code() == Some(ProblemCode::NotFound) => bail!(Advice::new(
                format!("the hub keeps {} no more", self.package),
                "begin a new search, whose plan says what the hub has now: name another file with --state"
            )),
            Err(error) => return Err(hub.explain(error)).with_context(what),
        }
        let (sha256, size) = Digest::of_reader(to.reopen().with_context(what)?).with_context(what)?;
        ensure!(
            FileContent { sha256, size } == self.content,
            Advice::new(
                format!("the hub sent another file for {}: {size} bytes with SHA-256 {sha256}", self.package),
                "it is not used; `rocbed hub` says on stderr whether its disk has errors"
            )
        );
        to.persist(&self.path).map_err(|error| error.error).with_context(what)?;
        Ok(())
    }
}

/// Writes to a file what belongs to it, and refuses more.
struct Limited<'a> {
    file: &'a mut File,
    left: u64,
    task: &'a dyn Task,
}

impl Write for Limited<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left {
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
