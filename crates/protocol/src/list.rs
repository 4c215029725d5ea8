//! [`JobList`]: jobs in TOML or JSON.

use std::collections::{BTreeMap, BTreeSet};

use advice::{Advise, Help};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::VERSION;
use crate::job::Job;
use crate::job_id::job_id;

/// Jobs in the order in which they are run, except for their priorities.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobList {
    /// Version of the format; 1 if it is missing.
    #[serde(default = "first_version")]
    pub version: u32,
    /// The jobs.
    #[serde(default)]
    pub job: Vec<Job>,
}

fn first_version() -> u32 {
    1
}

/// The reason why a text is not a job list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// It is not text.
    #[error("the job list is not text in UTF-8 (byte {0})")]
    NotText(usize),
    /// A field is missing or wrong.
    #[error("{place}: {message}")]
    Wrong {
        /// Path of the field, `job[2].timeout`, or line and column.
        place: String,
        /// What is wrong with it.
        message: String,
    },
    /// It has a later version of the format.
    #[error("the job list has version {0}, and this rocbed reads up to version {VERSION}")]
    TooNew(u32),
    /// It has no jobs.
    #[error("there is no job in the list")]
    Empty,
    /// Two jobs have the same id.
    #[error("two jobs have the id `{0}`")]
    SameId(String),
    /// A job is to run in several parts, where there is no hub that splits it.
    #[error("job `{id}` is to run in {shards} parts (shards), and only a hub splits jobs")]
    Shards {
        /// Id of the job.
        id: String,
        /// Number of its parts.
        shards: u32,
    },
}

impl Advise for ListError {
    fn help(&self) -> Help {
        match self {
            Self::NotText(_) => "save it as UTF-8, without compression".into(),
            Self::Wrong { .. } => Help::none(),
            Self::TooNew(_) => "use a later rocbed".into(),
            Self::Empty => {
                "a job in TOML is the line [[job]], and below it lines such as package = \"rocrand\" and gpu = \"any\""
                    .into()
            }
            Self::SameId(_) => "give one of them another id".into(),
            Self::Shards { .. } => "leave shards out, or give the job to a hub with `rocbed jobs import`".into(),
        }
    }
}

impl JobList {
    /// Parses a list: JSON if it begins with `{`, else TOML. Generated ids that are equal get a number.
    ///
    /// # Errors
    /// With the path of the field, or line and column, and what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, ListError> {
        let text = std::str::from_utf8(bytes).map_err(|error| ListError::NotText(error.valid_up_to()))?;
        let mut list: Self = if text.trim_start().starts_with('{') { from_json(text)? } else { from_toml(text)? };
        if list.version > VERSION {
            return Err(ListError::TooNew(list.version));
        }
        if list.job.is_empty() {
            return Err(ListError::Empty);
        }
        for (index, job) in list.job.iter().enumerate() {
            job.source.check().map_err(|error| wrong(format!("job[{index}]"), error.to_string()))?;
        }
        list.number_repeated_ids()?;
        Ok(list)
    }

    /// Like [`parse`](Self::parse), for a list that machines run without a hub.
    ///
    /// # Errors
    /// As `parse`, or if a job is to run in several parts: nobody would put them together.
    pub fn parse_without_hub(bytes: &[u8]) -> Result<Self, ListError> {
        let list = Self::parse(bytes)?;
        match list.job.iter().find(|job| job.shards > 1) {
            Some(job) => Err(ListError::Shards { id: job.id.clone(), shards: job.shards }),
            None => Ok(list),
        }
    }

    /// Numbers ids that were generated from the same source.
    fn number_repeated_ids(&mut self) -> Result<(), ListError> {
        let mut seen = BTreeSet::new();
        // The number that was tried last: a list may have one package thousands of times.
        let mut numbers: BTreeMap<String, u64> = BTreeMap::new();
        for job in &mut self.job {
            if seen.insert(job.id.clone()) {
                continue;
            }
            if job.id != job.source.id() {
                return Err(ListError::SameId(job.id.clone()));
            }
            let number = numbers.entry(job.id.clone()).or_insert(1);
            let mut free = job.id.clone();
            while !seen.insert(free.clone()) {
                *number = number.saturating_add(1);
                free = job_id(&job.id, *number);
            }
            job.id = free;
        }
        Ok(())
    }
}

fn wrong(place: String, message: String) -> ListError {
    ListError::Wrong { place, message }
}

fn from_json(text: &str) -> Result<JobList, ListError> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let list = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        wrong(if path == "." { "job list".into() } else { path }, error.into_inner().to_string())
    })?;
    reader.end().map_err(|error| wrong("after the list".into(), error.to_string()))?;
    Ok(list)
}

fn from_toml(text: &str) -> Result<JobList, ListError> {
    let reader =
        toml::Deserializer::parse(text).map_err(|error| wrong(position(text, &error), error.message().into()))?;
    serde_path_to_error::deserialize(reader).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        let place = position(text, &inner);
        wrong(if path == "." { place } else { format!("{path} ({place})") }, inner.message().to_owned())
    })
}

fn position(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("line {line}, column {column}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn toml_and_json_say_the_same() -> Result<(), ListError> {
        let toml = JobList::parse(b"# mine\n[[job]]\npackage = \"gzip\"\ngpu = \"none\"\ntimeout = \"10m\"\n")?;
        let json = JobList::parse(br#"{"job": [{"package": "gzip", "gpu": "none", "timeout": 600}], "later": 1}"#)?;
        assert_eq!(toml, json);
        Ok(())
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (text, expected) in [
            ("[[job]]\npackage = \"gzip\"\n[[job]]\npackage = \"sed\"\ntimeout = \"soon\"\n", "job[1]"),
            ("[[job]\n", "line 1"),
            ("{\"job\": [{\"package\": \"gzip\", \"gpu\": \"radeon\"}]}", "job[0]"),
            ("{\"job\": 1}", "job"),
            (
                "[[job]]\npackage = \"gzip\"\n[[job]]\nurl = \"file:///etc/passwd\"\n",
                "job[1]: url: `file:///etc/passwd`",
            ),
            ("{\"job\": [{\"url\": \"https://me:pw@h/x.git\"}]}", "job[0]: url: `https://(not shown)@h/x.git`"),
            ("", "no job in the list"),
            ("version = 9\n[[job]]\npackage = \"gzip\"", "has version 9"),
            ("[[job]]\npackage=\"gzip\"\nid=\"a\"\n[[job]]\npackage=\"sed\"\nid=\"a\"\n", "two jobs have the id `a`"),
        ] {
            let error = JobList::parse(text.as_bytes()).expect_err(text).to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn who_wrote_no_job_is_told_how_jobs_look() {
        let help = JobList::parse(b"# none yet\n").expect_err("there is none").help();
        assert!(help.iter().any(|text| text.contains("[[job]]")), "{help}");
    }

    #[test]
    fn jobs_in_parts_are_for_a_hub() {
        let text = b"[[job]]\npackage = \"gzip\"\n[[job]]\npackage = \"rocrand\"\nshards = 3\n";
        assert!(JobList::parse(text).is_ok());
        let error = JobList::parse_without_hub(text).expect_err("it has parts");
        assert_eq!(error.to_string(), "job `rocrand` is to run in 3 parts (shards), and only a hub splits jobs");
        assert!(error.help().iter().any(|help| help.contains("jobs import")));
    }

    #[test]
    fn the_same_package_twice_gets_two_ids() -> Result<(), ListError> {
        let list = JobList::parse(b"[[job]]\npackage = \"gzip\"\n[[job]]\npackage = \"gzip\"\nas = [\"root\"]\n")?;
        let ids: Vec<_> = list.job.iter().map(|job| job.id.as_str()).collect();
        assert_eq!(ids, ["gzip", "gzip-2"]);
        Ok(())
    }

    #[test]
    fn a_list_reads_back_from_json_whatever_its_ids_are_made_of() -> Result<(), ListError> {
        let long = "x".repeat(120);
        let text = format!(
            "[[job]]\npath = \"a b\"\n[[job]]\npath = \"a b\"\n[[job]]\npath = \".x\"\n[[job]]\npath = \"{long}\"\n[[job]]\npath = \"{long}\"\n"
        );
        let list = JobList::parse(text.as_bytes())?;
        let ids: Vec<_> = list.job.iter().map(|job| job.id.as_str()).collect();
        assert_eq!(ids[..3], ["a-b", "a-b-2", "x"]);
        assert!(ids[4].len() == 100 && ids[4].ends_with("x-2"), "{ids:?}");
        let json = serde_json::to_vec(&list).unwrap_or_default();
        assert_eq!(JobList::parse(&json)?, list);
        Ok(())
    }

    #[test]
    fn a_package_ten_thousand_times_has_ten_thousand_ids() -> Result<(), ListError> {
        let list = JobList::parse("[[job]]\npackage = \"gzip\"\n".repeat(10_000).as_bytes())?;
        assert_eq!(list.job.last().map(|job| job.id.as_str()), Some("gzip-10000"));
        Ok(())
    }

    proptest! {
        #[test]
        fn almost_lists_too(text in r#"(\[\[job\]\]\n|package = |gpu = |"any"|"x"|\[|\]|\n|\{|"job":|1|,){0,20}"#) {
            let _ = JobList::parse(text.as_bytes());
        }
    }
}
