//! Reading everything again, to see whether it still is what its name says.

use std::fs::File;

use progress::{Progress, Unit};

use crate::blob::{description_path, remove_file};
use crate::{Digest, DigestReader, Entry, Kind, Store, StoreError};

/// A stored file whose content does not have the digest it is stored under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Where it is in the store, and what it should have been.
    pub entry: Entry,
    /// The digest of what is there.
    pub got: Digest,
}

/// What [`Store::verify`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// How many files were read.
    pub files: usize,
    /// How many bytes that was.
    pub bytes: u64,
    /// Those that are broken.
    pub broken: Vec<Broken>,
}

impl Store {
    /// Reads every stored file and compares its digest with its name. With `remove`, broken ones are removed, so that
    /// they are fetched again when they are needed. Trees have no digest of their content and are not read.
    ///
    /// # Errors
    /// Where a file cannot be read or removed.
    pub fn verify(&self, remove: bool, progress: &dyn Progress) -> Result<VerifyReport, StoreError> {
        let entries: Vec<Entry> = self.list()?.into_iter().filter(|entry| entry.kind == Kind::File).collect();
        let task = progress.task("verifying stored files", Some(entries.iter().map(|e| e.size).sum()), Unit::Bytes);
        let mut report = VerifyReport::default();
        for entry in entries {
            task.detail(&entry.label);
            let file = match File::open(&entry.path) {
                Ok(file) => file,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                Err(e) => return Err(StoreError::io("opening", &entry.path)(e)),
            };
            let mut reader = DigestReader::new(file);
            std::io::copy(&mut reader, &mut std::io::sink()).map_err(StoreError::io("reading", &entry.path))?;
            let (got, length) = reader.finish();
            task.advance(length);
            report.files += 1;
            report.bytes += length;
            if got != entry.digest {
                if remove {
                    remove_file(&entry.path)?;
                    remove_file(&description_path(&entry.path))?;
                }
                report.broken.push(Broken { entry, got });
            }
        }
        Ok(report)
    }
}
