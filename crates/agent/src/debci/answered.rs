//! [`Answered`]: which jobs have got their result from this machine.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use debci::RunId;
use serde::{Deserialize, Serialize};

/// The file in the data directory.
const FILE: &str = "debci.json";
/// How many runs of each server are remembered; the oldest are forgotten.
const REMEMBERED: usize = 10_000;

/// Run ids of jobs whose result a broker has confirmed, on disk: a job that comes again, as its acknowledgement did not
/// get through, is not run again.
#[derive(Debug)]
pub(super) struct Answered {
    path: PathBuf,
    contents: Contents,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Contents {
    /// By the broker's address, in the order in which they were answered.
    #[serde(default)]
    answered: BTreeMap<String, Vec<u64>>,
}

impl Answered {
    /// Reads the record. One that cannot be parsed counts as missing: a job would be run twice at worst.
    pub(super) fn open(data: &Path) -> io::Result<Self> {
        let path = data.join(FILE);
        let contents = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Contents::default(),
            Err(error) => return Err(error),
        };
        Ok(Self { path, contents })
    }

    /// Whether the job has got its result.
    pub(super) fn has(&self, server: &str, run: RunId) -> bool {
        self.contents.answered.get(server).is_some_and(|runs| runs.contains(&run.0))
    }

    /// Adds a job. When this returns it is on disk.
    pub(super) fn add(&mut self, server: &str, run: RunId) -> io::Result<()> {
        let runs = self.contents.answered.entry(server.to_owned()).or_default();
        runs.push(run.0);
        if runs.len() > REMEMBERED {
            runs.drain(..runs.len() - REMEMBERED);
        }
        durable::replace(&self.path, &serde_json::to_vec(&self.contents)?, durable::Readers::Owner)
    }
}
