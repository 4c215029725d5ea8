//! The bundle of a joined result: `result.json` and `junit.xml`. Logs and artifacts are in those of its parts.

use std::fs::{self, File, FileTimes};
use std::io;
use std::path::Path;
use std::time::SystemTime;

use bundle::{Bundle, BundlePlan, JUNIT, RESULT};

use super::Joined;

/// The bundle of a joined result.
#[derive(Debug)]
pub struct JoinedBundle {
    /// The bundle.
    pub bundle: Bundle,
    /// Its `junit.xml`.
    pub junit: Vec<u8>,
}

impl Joined {
    /// Writes the `junit.xml` of the joined result.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write_junit(&self, to: File) -> io::Result<()> {
        crate::junit::write_joined(to, &self.result, &self.reports)
    }

    /// Writes the bundle with this name into a directory, where the files are made too. The same parts give the same bytes.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write_bundle(&self, into: &Path, name: &str) -> io::Result<JoinedBundle> {
        let base = into.join("files");
        fs::create_dir(&base)?;
        let json = serde_json::to_vec_pretty(&self.result).map_err(io::Error::other)?;
        fs::write(base.join(RESULT), json)?;
        self.write_junit(File::create(base.join(JUNIT))?)?;
        let junit = fs::read(base.join(JUNIT))?;
        // Times are in the bundle.
        let ended = SystemTime::from(self.result.finished);
        for name in [RESULT, JUNIT] {
            File::options().append(true).open(base.join(name))?.set_times(FileTimes::new().set_modified(ended))?;
        }
        let bundle = bundle::write(into, name, &base, &[RESULT, JUNIT], &BundlePlan::default())?;
        Ok(JoinedBundle { bundle, junit })
    }
}
