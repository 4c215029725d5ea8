//! The command that reproduces a result.

use crate::{Job, JobResult, RunAs, Source, TestOutcome};

/// Most names of tests in a command; with more, all tests are run.
const MOST_NAMES: usize = 5;

/// Most exact versions in a command.
const MOST_VERSIONS: usize = 10;

impl JobResult {
    /// The command that runs the failed tests on the reader's machine: `rocbed test rocm rocfft -- --test-name=upstream`.
    /// `job` is the job as its owner added it.
    pub fn reproduce(&self, job: &Job) -> String {
        let mut words = vec!["rocbed".to_owned(), "test".to_owned()];
        words.push(self.machine.image.as_ref().map_or_else(|| "rocm".to_owned(), |image| quoted(&image.name)));
        words.push(match &job.source {
            Source::Package(name) => quoted(name),
            Source::Path(place) | Source::Url(place) => quoted(place),
        });
        if job.run_as.contains(&RunAs::Root) && !job.run_as.contains(&RunAs::User) {
            words.push("--as root".to_owned());
        }
        if !self.gpus.is_empty() {
            words.push("--gpu".to_owned());
        }
        // The reader has these files, or gets them from who has added the job.
        words.extend(
            job.packages.iter().filter(|file| file.is_binary()).map(|file| quoted(&format!("./{}", file.name()))),
        );
        words.extend(job.archive.iter().map(|archive| format!("--archive={archive}")));
        let versions = job.versions.iter().take(MOST_VERSIONS);
        words.extend(versions.map(|(name, version)| quoted(&format!("--package-version={name}={version}"))));
        if job.versions.len() > MOST_VERSIONS {
            words.push(format!("--package-version=... ({} more)", job.versions.len() - MOST_VERSIONS));
        }
        words.extend(job.apt_sources.iter().map(|_| "--apt-source=FILE.sources".to_owned()));
        let failed = self.tests().filter(|(_, test)| test.outcome == TestOutcome::Fail && test.name != "*");
        let mut names: Vec<&str> = failed.map(|(_, test)| test.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() > MOST_NAMES {
            names.clear();
        }
        let mut options: Vec<String> = names.into_iter().map(|name| quoted(&format!("--test-name={name}"))).collect();
        for pin in &job.pin {
            let release = pin.split('=').next().unwrap_or_default();
            options.push(quoted(&format!("--add-apt-release={release}")));
            options.push(quoted(&format!("--pin-packages={pin}")));
        }
        options.extend(job.env.iter().map(|(name, value)| quoted(&format!("--env={name}={value}"))));
        if !options.is_empty() {
            words.push("--".to_owned());
            words.extend(options);
        }
        words.join(" ")
    }
}

/// Quotes a word for a shell where needed.
pub fn quoted(word: &str) -> String {
    let plain = |char: char| char.is_ascii_alphanumeric() || "-_./:=+~@,".contains(char);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::tests::example;

    #[test]
    fn the_command_has_what_the_job_had() {
        let mut result = example();
        assert_eq!(result.reproduce(&result.job), "rocbed test rocm rocrand --gpu -- --test-name=upstream");
        let mut job = Job::of_package("rocrand");
        job.run_as = vec![RunAs::Root];
        job.pin = vec!["experimental=src:rocr-runtime".into()];
        job.env = [("A".to_owned(), "b c".to_owned())].into();
        result.gpus.clear();
        result.runs[0].tests[0].outcome = TestOutcome::Pass;
        assert_eq!(
            result.reproduce(&job),
            "rocbed test rocm rocrand --as root -- --add-apt-release=experimental \
             --pin-packages=experimental=src:rocr-runtime '--env=A=b c'"
        );
        let json = r#"{"package": "rocrand", "packages": ["../librocrand1_7.2-1_amd64.deb"], "archive": "experimental",
            "versions": {"rocminfo": "7.1-1"}}"#;
        let job: Job = serde_json::from_str(json).expect("a job");
        assert_eq!(
            result.reproduce(&job),
            "rocbed test rocm rocrand ./librocrand1_7.2-1_amd64.deb --archive=experimental --package-version=rocminfo=7.1-1"
        );
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        for (word, wanted) in [("a-b.c", "a-b.c"), ("", "''"), ("a b", "'a b'"), ("it's", "'it'\\''s'"), ("$x", "'$x'")]
        {
            assert_eq!(quoted(word), wanted);
        }
    }
}
