//! Jobs that a hub splits into parts, by GoogleTest's protocol for sharding (GoogleTest user's guide, "Distributing Test
//! Functions to Multiple Machines").

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha256::Digest;

use crate::job_id::job_id;
use crate::{Job, Verdict};

/// Most parts of one job.
pub const MOST_SHARDS: u32 = 64;
/// The variable with the number of parts.
pub const TOTAL_SHARDS: &str = "GTEST_TOTAL_SHARDS";
/// The variable with the index of a part, from 0.
pub const SHARD_INDEX: &str = "GTEST_SHARD_INDEX";

/// A part of a job: which one it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PartOf {
    /// Id of the job that was split.
    pub job: String,
    /// Index of this part, from 0; its tests see it as `GTEST_SHARD_INDEX`.
    pub index: u32,
    /// Number of parts; `GTEST_TOTAL_SHARDS`.
    pub of: u32,
}

/// One part of a joined result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PartResult {
    /// Id of the part's job. Its result has the artifacts and the log.
    pub job: String,
    /// Index of the part, from 0.
    pub index: u32,
    /// The part's verdict.
    pub verdict: Verdict,
    /// Name of the machine that ran it.
    pub machine: String,
    /// Ids of the GPUs that were in its testbed.
    pub gpus: Vec<String>,
    /// Duration in seconds.
    pub seconds: f64,
    /// SHA-256 of its bundle.
    pub bundle: Digest,
}

impl std::fmt::Display for PartOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", part_name(self.index, self.of), self.job)
    }
}

/// A part in words: `part 1 of 3` for index 0.
pub fn part_name(index: u32, of: u32) -> String {
    format!("part {} of {of}", index.saturating_add(1))
}

impl Job {
    /// The part with this index, from 0, of a job that is split: it runs alone, with the two variables in its environment.
    #[must_use]
    pub fn part(&self, index: u32) -> Self {
        let mut part = self.clone();
        let suffix = format!(".{}of{}", index.saturating_add(1), self.shards);
        let room = 100_usize.saturating_sub(suffix.len());
        part.id = job_id(&format!("{}{suffix}", self.id.chars().take(room).collect::<String>()), 1);
        part.shards = 1;
        part.env.insert(TOTAL_SHARDS.to_owned(), self.shards.to_string());
        part.env.insert(SHARD_INDEX.to_owned(), index.to_string());
        part
    }
}

/// Checks the number of parts of a job with this environment.
pub(crate) fn check(shards: u32, env: &std::collections::BTreeMap<String, String>) -> Result<(), String> {
    if shards == 0 || shards > MOST_SHARDS {
        return Err(format!("shards: {shards} parts; from 1 to {MOST_SHARDS} are possible"));
    }
    let taken = [TOTAL_SHARDS, SHARD_INDEX].into_iter().find(|name| env.contains_key(*name));
    match taken.filter(|_| shards > 1) {
        Some(name) => Err(format!("env: {name} is set for each part of a job with shards: leave it out")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(json: &str) -> Result<Job, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn each_part_is_a_job_of_its_own() -> Result<(), String> {
        let whole = job(r#"{"package": "rocrand", "shards": 3, "env": {"A": "b"}}"#)?;
        let parts: Vec<Job> = (0..whole.shards).map(|index| whole.part(index)).collect();
        let ids: Vec<&str> = parts.iter().map(|part| part.id.as_str()).collect();
        assert_eq!(ids, ["rocrand.1of3", "rocrand.2of3", "rocrand.3of3"]);
        let env: Vec<String> = parts[2].env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(env, ["A=b", "GTEST_SHARD_INDEX=2", "GTEST_TOTAL_SHARDS=3"]);
        assert_eq!(parts[0].shards, 1);
        // It is a valid job for a worker of any version.
        let json = serde_json::to_string(&parts[1]).map_err(|error| error.to_string())?;
        assert!(!json.contains("shards"), "{json}");
        assert_eq!(job(&json)?, parts[1]);
        Ok(())
    }

    #[test]
    fn a_long_id_stays_an_id() -> Result<(), String> {
        let long = job(&format!(r#"{{"package": "rocrand", "id": "{}", "shards": 12}}"#, "x".repeat(100)))?.part(11);
        assert!(long.id.len() == 100 && long.id.ends_with("x.12of12"), "{}", long.id);
        Ok(())
    }

    #[test]
    fn the_number_of_parts_is_checked() {
        for (json, says) in [
            (r#"{"package": "rocrand", "shards": 0}"#, "from 1 to 64"),
            (r#"{"package": "rocrand", "shards": 65}"#, "from 1 to 64"),
            (r#"{"package": "rocrand", "shards": 2, "env": {"GTEST_SHARD_INDEX": "1"}}"#, "leave it out"),
        ] {
            let error = job(json).expect_err(json);
            assert!(error.contains(says), "{json}: {error}");
        }
        assert!(job(r#"{"package": "rocrand", "env": {"GTEST_SHARD_INDEX": "1"}}"#).is_ok());
    }
}
