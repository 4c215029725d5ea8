//! Downloads a source with apt's own downloader.

use std::fs;
use std::path::Path;
use std::process::Command;

use bundle::regular;
use debian::dsc::{Dsc, DscFile};
use sha256::Digest;

use crate::Error;
use crate::bounds::{Bounds, Stopped};

/// Apt's program for downloading a file; it uses apt's settings for proxies and certificates.
const DOWNLOADER: &str = "/usr/lib/apt/apt-helper";
/// The user ids of this process's namespace (`user_namespaces(7)`).
const UID_MAP: &str = "/proc/self/uid_map";
/// Largest `.dsc`, in bytes.
const LARGEST_DSC: u64 = 1 << 20;
/// Largest source of a job, in bytes, including all files of a `.dsc`.
const LARGEST: u64 = 4 << 30;

/// Downloads a file, and if it is a `.dsc`, the files in it.
pub(super) fn fetch(url: &str, file: &Path, bounds: &Bounds<'_>) -> Result<(), Error> {
    fetch_with(DOWNLOADER, url, file, bounds)
}

fn fetch_with(program: &str, url: &str, file: &Path, bounds: &Bounds<'_>) -> Result<(), Error> {
    if super::has_ending(&file.to_string_lossy(), "dsc") {
        download(program, url, file, LARGEST_DSC, bounds)?;
        fetch_parts(program, url, file, bounds)
    } else {
        download(program, url, file, LARGEST, bounds).map(drop)
    }
}

/// Downloads a file of at most `most` bytes; returns its size.
fn download(program: &str, url: &str, to: &Path, most: u64, bounds: &Bounds<'_>) -> Result<u64, Error> {
    let what = format!("fetching {url}");
    let size = || fs::symlink_metadata(to).map_or(0, |metadata| metadata.len());
    let mut small_enough = || match size() {
        size if size > most => Err(Stopped::TooLarge(most)),
        _ => Ok(()),
    };
    let mut command = Command::new(program);
    command.arg("download-file").arg(url).arg(to).args(options(&fs::read_to_string(UID_MAP).unwrap_or_default()));
    let (status, said) = bounds.run(&mut command, &mut small_enough).map_err(|error| {
        let missing = !Path::new(program).exists();
        Error::source(
            &what,
            if missing { format!("{program} is missing; it is part of apt") } else { error.to_string() },
        )
    })?;
    if status == Some(0) && to.is_file() {
        small_enough().map_err(|reason| Error::source(&what, reason.to_string()))?;
        return Ok(size());
    }
    let status = status.map_or_else(|| "it was killed".to_owned(), |status| format!("it ended with status {status}"));
    Err(Error::source(what, if said.is_empty() { format!("{program}: {status}") } else { said }))
}

/// In a user namespace with a single id, as `rocbed test` has for a user without subordinate ids, the downloader cannot become
/// apt's own user. It has no rights but the caller's there.
fn options(uid_map: &str) -> &'static [&'static str] {
    let counts = uid_map.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok());
    if counts.sum::<u64>() == 1 { &["-o", "APT::Sandbox::User=root"] } else { &[] }
}

/// Downloads the files in a `.dsc` from the same directory, and checks their digests.
fn fetch_parts(program: &str, url: &str, dsc: &Path, bounds: &Bounds<'_>) -> Result<(), Error> {
    let what = format!("reading {}", dsc.display());
    let directory = dsc.parent().unwrap_or(Path::new("."));
    let name = dsc.file_name().unwrap_or_default();
    let text = regular::read_beneath(directory, Path::new(name), LARGEST_DSC).map_err(Error::step(what.as_str()))?;
    let Dsc { files, .. } = Dsc::parse(&text).map_err(|error| Error::source(&what, error.to_string()))?;
    let base = url.rsplit_once('/').map_or(url, |(base, _)| base);
    let mut left = LARGEST;
    for DscFile { name, sha256, .. } in files {
        let path = dsc.with_file_name(&name);
        left = left.saturating_sub(download(program, &format!("{base}/{name}"), &path, left, bounds)?);
        let what = format!("checking {name}");
        if digest(&path, bounds).map_err(Error::step(what.as_str()))? != sha256 {
            return Err(Error::source(what, "it is not what the .dsc says: its SHA-256 differs"));
        }
    }
    Ok(())
}

fn digest(path: &Path, bounds: &Bounds<'_>) -> std::io::Result<Digest> {
    Digest::of_reader(bounds.read(regular::open(path)?)).map(|(digest, _)| digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cancel;
    use std::time::Duration;

    /// A stand-in for apt-helper: a shell script that gets the address and the file.
    fn downloader(directory: &Path, script: &str) -> String {
        let path = directory.join("helper");
        appliance::fixtures::program(&path, &format!("url=$2; to=$3\n{script}")).unwrap();
        path.display().to_string()
    }

    fn fetched(script: &str, name: &str, seconds: f64) -> Result<(), String> {
        let directory = tempfile::tempdir().unwrap();
        let cancel = Cancel::default();
        let bounds = Bounds::new(Duration::from_secs_f64(seconds), &cancel);
        let program = downloader(directory.path(), script);
        let url = format!("http://mirror/{name}");
        fetch_with(&program, &url, &directory.path().join(name), &bounds).map_err(|error| error.to_string())
    }

    #[test]
    fn a_downloader_that_can_be_nobody_else_stays_who_it_is() {
        assert_eq!(options("         0       1000          1\n"), ["-o", "APT::Sandbox::User=root"]);
        for map in ["0 0 4294967295\n", "0 1000 1\n1 100000 65536\n", ""] {
            assert!(options(map).is_empty(), "{map}");
        }
    }

    #[test]
    fn a_server_that_sends_a_byte_now_and_then_is_given_up() {
        let error = fetched("while :; do printf a >> $to; sleep 0.1; done", "a.tar", 0.5).unwrap_err();
        assert!(error.starts_with("fetching http://mirror/a.tar: it took too long"), "{error}");
    }

    #[test]
    fn a_file_that_is_too_large_is_given_up_while_it_comes() {
        let error = fetched("truncate -s 5G $to; sleep 1000", "a.tar", 1000.0).unwrap_err();
        assert!(error.contains("more than 4294967296 bytes"), "{error}");
        let error = fetched("truncate -s 2M $to", "a.dsc", 1000.0).unwrap_err();
        assert!(error.contains("more than 1048576 bytes"), "{error}");
    }

    #[test]
    fn the_files_of_a_dsc_come_with_it_and_are_what_it_says() {
        let sum = Digest::of(b"x");
        let dsc = |sum: &str| {
            format!("case $to in *.dsc) printf 'Checksums-Sha256:\\n {sum} 1 a.tar\\n';; *) printf x;; esac > $to")
        };
        assert_eq!(fetched(&dsc(&sum.to_string()), "a.dsc", 1000.0), Ok(()));
        let error = fetched(&dsc(&Digest::of(b"y").to_string()), "a.dsc", 1000.0).unwrap_err();
        assert!(error.contains("its SHA-256 differs"), "{error}");
        assert!(fetched("echo 'E: 404 Not Found' >&2; exit 100", "a.dsc", 1000.0).unwrap_err().contains("404"));
    }
}
