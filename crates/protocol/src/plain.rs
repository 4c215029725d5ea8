//! What makes a job differ from its package's plain job. Only results of plain jobs count for a package.

use crate::job::{Job, RunAs, Source};

impl Job {
    /// Names of the fields that make this job differ from its package's plain job; empty for the plain job. That is: a
    /// source package of the archive with all of its tests, as the archive has it, by the normal user, in an
    /// unchanged environment. Which machine the job wants, its deadline and its priority change nothing about it.
    pub fn departures(&self) -> Vec<&'static str> {
        let source = match self.source {
            Source::Package(_) => None,
            Source::Path(_) => Some("path"),
            Source::Url(_) => Some("url"),
        };
        let fields = [
            (!self.run_as.contains(&RunAs::User), "as"),
            (!self.pin.is_empty(), "pin"),
            (!self.versions.is_empty(), "versions"),
            (!self.packages.is_empty(), "packages"),
            (!self.apt_sources.is_empty(), "apt-sources"),
            (self.archive.is_some(), "archive"),
            (!self.env.is_empty(), "env"),
            (!self.tests.is_empty(), "tests"),
        ];
        source.into_iter().chain(fields.into_iter().filter_map(|(differs, name)| differs.then_some(name))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_a_run_is_named() {
        for (json, expected) in [
            (r#"{"package": "rocrand"}"#, &[][..]),
            (
                r#"{"package": "rocrand", "gpu": ["gfx1030"], "gpus": 2, "timeout": "1h", "memory": 9, "priority": 3}"#,
                &[],
            ),
            (r#"{"package": "rocrand", "as": ["user", "root"]}"#, &[]),
            (r#"{"package": "rocrand", "as": ["root"]}"#, &["as"]),
            (r#"{"package": "rocrand", "pin": ["experimental=src:x"], "tests": ["a"]}"#, &["pin", "tests"]),
            (r#"{"package": "rocrand", "env": {"A": "1"}}"#, &["env"]),
            (r#"{"package": "rocrand", "versions": {"a1": "1"}, "archive": "experimental"}"#, &["versions", "archive"]),
            (r#"{"package": "rocrand", "packages": ["a_1_amd64.deb"]}"#, &["packages"]),
            (r#"{"url": "https://example.org/rocrand.git"}"#, &["url"]),
            (r#"{"path": "rocrand"}"#, &["path"]),
        ] {
            let job: Job = serde_json::from_str(json).expect("a job");
            assert_eq!(job.departures(), expected, "{json}");
        }
    }
}
