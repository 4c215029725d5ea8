//! The `rocbed test` that runs a job on this machine.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use protocol::{Job, RunAs, Source as JobSource, quoted};

use super::place::Local;

/// The only test of a search's job.
pub(super) fn test_of(job: &Job) -> String {
    job.tests.first().cloned().unwrap_or_default()
}

/// The only user of a search's job.
pub(super) fn user_of(job: &Job) -> RunAs {
    job.run_as.first().copied().unwrap_or(RunAs::User)
}

/// The words after `rocbed`. `sources` are files with the job's apt sources, and `own` package files to be installed.
pub(super) fn words(job: &Job, local: &Local, sources: &[String], own: &[PathBuf]) -> Vec<String> {
    let mut words = vec!["test".to_owned(), local.recipe.clone()];
    // A `.dsc` is an own package, as the files are: beside packages of other sources the tested one has to be named.
    if matches!(&job.source, JobSource::Path(path) if path.ends_with(".dsc")) {
        words.push(job.source.name().to_owned());
    }
    words.push(match &job.source {
        JobSource::Package(name) => name.clone(),
        JobSource::Path(place) | JobSource::Url(place) => place.clone(),
    });
    words.extend(own.iter().map(|path| path.display().to_string()));
    words.push("--json".to_owned());
    words.extend(local.options.iter().cloned());
    words.push(format!("--as={}", user_of(job)));
    words.push(format!("--timeout={}", job.timeout));
    words.extend(job.archive.iter().map(|archive| format!("--archive={archive}")));
    words.extend(sources.iter().map(|path| format!("--apt-source={path}")));
    words.extend(job.versions.iter().map(|(name, version)| format!("--package-version={name}={version}")));
    words.push("--".to_owned());
    words.push(format!("--test-name={}", test_of(job)));
    for pin in &job.pin {
        let release = pin.split('=').next().unwrap_or_default();
        words.push(format!("--add-apt-release={release}"));
        words.push(format!("--pin-packages={pin}"));
    }
    words.extend(job.env.iter().map(|(name, value)| format!("--env={name}={value}")));
    words
}

/// The same as one line for a shell, for people.
pub(super) fn reproduce(job: &Job, local: &Local, own: &[PathBuf]) -> String {
    let sources: Vec<String> = job.apt_sources.iter().map(|_| "FILE.sources".to_owned()).collect();
    let shown = words(job, local, &sources, own);
    let shown = shown.iter().filter(|word| *word != "--json").map(|word| quoted(word));
    format!("rocbed {}", shown.collect::<Vec<_>>().join(" "))
}

/// Writes the job's apt sources into files of a directory; returns their paths.
pub(super) fn write_sources(job: &Job, directory: &Path) -> Result<Vec<String>> {
    let each = job.apt_sources.iter().enumerate().map(|(number, source)| {
        let path = directory.join(format!("{number}.sources"));
        fs::write(&path, source.paragraph()).with_context(|| format!("writing {}", path.display()))?;
        Ok(path.display().to_string())
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::RunAs;

    #[test]
    fn a_run_is_a_command_that_anybody_can_repeat() -> Result<()> {
        let mut job = Job::of_package("rocfft");
        job.run_as = vec![RunAs::Root];
        job.tests = vec!["upstream".into()];
        job.versions = [("libhip6".to_owned(), "1:6.4-1".to_owned())].into();
        job.env = [("A".to_owned(), "b c".to_owned())].into();
        let local = Local { recipe: "rocm".into(), options: vec!["--gpu".into()], hub: None };
        assert_eq!(
            reproduce(&job, &local, &[]),
            "rocbed test rocm rocfft --gpu --as=root --timeout=4h --package-version=libhip6=1:6.4-1 -- \
             --test-name=upstream '--env=A=b c'"
        );
        let own = [PathBuf::from("/x/rocbed-bisect.packages/libhsa_1_amd64.deb")];
        assert!(
            reproduce(&job, &local, &own)
                .starts_with("rocbed test rocm rocfft /x/rocbed-bisect.packages/libhsa_1_amd64.deb --gpu --as=root ")
        );
        let tested = Job { source: JobSource::Path("/x/rocfft_7.2-1.dsc".into()), ..job.clone() };
        assert!(reproduce(&tested, &local, &own).starts_with(
            "rocbed test rocm rocfft /x/rocfft_7.2-1.dsc /x/rocbed-bisect.packages/libhsa_1_amd64.deb --gpu --as=root "
        ));
        let json = r#"{"uris": ["http://x"], "suites": ["./"], "trusted": true}"#;
        job.apt_sources = vec![serde_json::from_str(json)?];
        let directory = tempfile::tempdir()?;
        let sources = write_sources(&job, directory.path())?;
        assert!(fs::read_to_string(&sources[0])?.contains("URIs: http://x"));
        assert!(words(&job, &local, &sources, &[]).contains(&format!("--apt-source={}", sources[0])));
        Ok(())
    }
}
