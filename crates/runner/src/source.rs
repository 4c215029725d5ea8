//! The source of a job, as autopkgtest takes it: fetched and unpacked where that is needed.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use protocol::{Job, Source};
use sha2::{Digest as _, Sha256};

use crate::Error;

/// Where apt keeps its program that downloads a file: it knows proxies and certificates as apt does.
const DOWNLOADER: &str = "/usr/lib/apt/apt-helper";
/// No `.dsc` comes near this, in bytes.
const LARGEST_DSC: u64 = 1 << 20;
/// What zstd's frames begin with (RFC 8878, section 3.1.1).
const ZSTD: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];

/// A source that is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ready {
    /// The testbed's apt finds it.
    Package(String),
    /// The testbed's git clones it.
    Git(String),
    /// A directory with `debian/control`.
    Tree(PathBuf),
    /// A `.dsc`, its files beside it.
    Dsc(PathBuf),
}

impl Ready {
    /// autopkgtest's arguments for it. Packages are tested as the archive has them: nothing is built for a source
    /// tree, unless a test asks for it.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        match self {
            Self::Package(name) => vec![name.into()],
            Self::Git(url) => vec!["--no-built-binaries".into(), url.into()],
            Self::Tree(path) | Self::Dsc(path) => vec!["--no-built-binaries".into(), path.into()],
        }
    }

    /// Whether nothing can be tested without apt's indexes: then a machine that cannot get them has failed.
    pub(crate) fn must_update(&self) -> bool {
        matches!(self, Self::Package(_) | Self::Git(_))
    }

    /// Whether a test may want packages that are not in the testbed.
    pub(crate) fn wants_packages(&self) -> bool {
        let Self::Tree(tree) = self else { return true };
        // Without this file, autodep8 may make up tests with dependencies.
        fs::read_to_string(tree.join("debian/tests/control")).map_or(true, |control| wants_packages(&control))
    }
}

/// Whether the tests of a `debian/tests/control` (README.package-tests) have dependencies: those that do not say have.
pub fn wants_packages(control: &str) -> bool {
    let mut stanzas = Vec::new();
    let mut field = String::new();
    let mut new = true;
    for line in control.lines().filter(|line| !line.starts_with('#')) {
        if line.trim().is_empty() {
            new = true;
            continue;
        }
        if std::mem::take(&mut new) {
            stanzas.push((None, false));
        }
        let Some((depends, others)) = stanzas.last_mut() else { continue };
        let value = if line.starts_with([' ', '\t']) {
            line
        } else {
            let Some((name, value)) = line.split_once(':') else { continue };
            field = name.trim().to_ascii_lowercase();
            if field == "depends" {
                *depends = Some(false);
            }
            value
        };
        match field.as_str() {
            "depends" if !value.trim().is_empty() => *depends = Some(true),
            "restrictions" if value.contains("build-needed") || value.contains("needs-sudo") => *others = true,
            _ => {}
        }
    }
    stanzas.into_iter().any(|(depends, others)| others || depends.unwrap_or(true))
}

/// Gets a job's source ready. `given` is what the caller has of it; `directory` is where things are fetched and
/// unpacked to; it does not exist yet.
pub(crate) fn prepare(job: &Job, given: Option<&Path>, directory: &Path) -> Result<Ready, Error> {
    match (&job.source, given) {
        (Source::Package(name), _) => Ok(Ready::Package(name.clone())),
        (Source::Path(path), None) => local(Path::new(path), directory),
        (Source::Path(_) | Source::Url(_), Some(path)) => local(path, directory),
        (Source::Url(url), None) if is_git(url) => Ok(Ready::Git(checked_url(url)?.to_owned())),
        (Source::Url(url), None) => {
            make(directory)?;
            let name = job.source.name();
            let file = directory.join(name);
            download(checked_url(url)?, &file)?;
            if has_ending(name, "dsc") {
                fetch_parts(url, &file)?;
            }
            local(&file, &directory.join("unpacked"))
        }
    }
}

fn make(directory: &Path) -> Result<(), Error> {
    fs::create_dir_all(directory).map_err(Error::step(format!("making {}", directory.display())))
}

fn has_ending(name: &str, ending: &str) -> bool {
    Path::new(name).extension().is_some_and(|found| found == ending)
}

fn is_git(url: &str) -> bool {
    let path = url.split('#').next().unwrap_or(url);
    has_ending(path.trim_end_matches('/'), "git") || url.starts_with("git://")
}

/// It ends up in a shell's quotes.
fn checked_url(url: &str) -> Result<&str, Error> {
    let bad = |char: char| char.is_control() || char.is_whitespace() || "'\"`$\\".contains(char);
    if url.contains(bad) {
        Err(Error::Job(format!("the address {url:?} has characters that no address has")))
    } else {
        Ok(url)
    }
}

fn download(url: &str, to: &Path) -> Result<(), Error> {
    let what = format!("fetching {url}");
    let output = Command::new(DOWNLOADER).arg("download-file").arg(url).arg(to).stdin(Stdio::null()).output();
    let output = output.map_err(|error| Error::source(&what, format!("{DOWNLOADER}: {error}; it is part of apt")))?;
    if output.status.success() && to.is_file() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::source(what, if said.is_empty() { output.status.to_string() } else { said }))
}

/// Fetches the files that a `.dsc` names, from beside it, and checks them.
fn fetch_parts(url: &str, dsc: &Path) -> Result<(), Error> {
    let what = format!("reading {}", dsc.display());
    let mut text = String::new();
    let file = File::open(dsc).map_err(Error::step(what.as_str()))?;
    file.take(LARGEST_DSC).read_to_string(&mut text).map_err(Error::step(what.as_str()))?;
    let parts = parts(&text).map_err(|reason| Error::source(&what, reason))?;
    let base = url.rsplit_once('/').map_or(url, |(base, _)| base);
    for (name, sha256) in parts {
        let path = dsc.with_file_name(&name);
        download(&format!("{base}/{name}"), &path)?;
        let what = format!("checking {name}");
        if digest(&path).map_err(Error::step(what.as_str()))? != sha256 {
            return Err(Error::source(what, "it is not what the .dsc says: its SHA-256 differs"));
        }
    }
    Ok(())
}

fn digest(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            length => hasher.update(buffer.get(..length).unwrap_or_default()),
        }
    }
}

/// The files of a `.dsc` and their SHA-256 (deb-src-control(5), `Checksums-Sha256`).
fn parts(dsc: &str) -> Result<Vec<(String, String)>, String> {
    let lines = dsc.lines().skip_while(|line| !line.to_ascii_lowercase().starts_with("checksums-sha256:")).skip(1);
    let mut parts = Vec::new();
    for line in lines.take_while(|line| line.starts_with(' ')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [sha256, _, name] = words.as_slice() else { return Err(format!("`{line}` is no checksum")) };
        if name.starts_with('.') || name.contains('/') {
            return Err(format!("`{name}` is no file name"));
        }
        parts.push(((*name).to_owned(), sha256.to_ascii_lowercase()));
    }
    if parts.is_empty() { Err("it has no Checksums-Sha256".into()) } else { Ok(parts) }
}

/// What is here already: a tree, a `.dsc`, or a tar file to be unpacked into `directory`.
fn local(path: &Path, directory: &Path) -> Result<Ready, Error> {
    let what = format!("reading the source {}", path.display());
    let path = path.canonicalize().map_err(|error| Error::source(&what, error.to_string()))?;
    if path.is_dir() {
        return tree(&path).ok_or_else(|| Error::source(&what, "there is no debian/control in it"));
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if has_ending(&name, "dsc") {
        return Ok(Ready::Dsc(path));
    }
    if !name.contains(".tar") && !has_ending(&name, "tgz") {
        return Err(Error::source(what, "it is neither a directory nor a .dsc nor a .tar"));
    }
    make(directory)?;
    unpack(&path, directory)?;
    let inside =
        fs::read_dir(directory).map_err(Error::step(what.as_str()))?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut found = std::iter::once(directory.to_owned()).chain(inside).filter_map(|path| tree(&path));
    found.next().ok_or_else(|| Error::source(what, "neither it nor a directory in it has debian/control"))
}

fn tree(path: &Path) -> Option<Ready> {
    path.join("debian/control").is_file().then(|| Ready::Tree(path.to_owned()))
}

/// Unpacks a tar file; tar(1) finds out how it is compressed, and lets nothing out of the directory.
fn unpack(file: &Path, directory: &Path) -> Result<(), Error> {
    let what = format!("unpacking {}", file.display());
    let mut start = [0; 4];
    let mut opened = File::open(file).map_err(Error::step(what.as_str()))?;
    let compressed = opened.read_exact(&mut start).is_ok() && start == ZSTD;
    let plain = directory.with_extension("tar");
    let mut source = file;
    if compressed {
        // Systems without the program zstd are usual.
        let reader = File::open(file).and_then(zstd::Decoder::new).map_err(Error::step(what.as_str()))?;
        let mut writer = File::create(&plain).map_err(Error::step(what.as_str()))?;
        std::io::copy(&mut { reader }, &mut writer).map_err(Error::step(what.as_str()))?;
        source = &plain;
    }
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--no-same-owner", "--no-same-permissions", "--file"]).arg(source);
    let output = tar.arg("--directory").arg(directory).stdin(Stdio::null()).output();
    let output = output.map_err(|error| Error::source(&what, format!("tar: {error}")))?;
    if compressed {
        fs::remove_file(&plain).map_err(Error::step(what.as_str()))?;
    }
    if output.status.success() {
        Ok(())
    } else {
        Err(Error::source(what, String::from_utf8_lossy(&output.stderr).trim()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar(directory: &Path, words: &[&str]) {
        let status = Command::new("tar").current_dir(directory).args(words).status().expect("tar is not installed");
        assert!(status.success());
    }

    #[test]
    fn tests_without_dependencies_need_no_packages() {
        for (control, wants) in [
            ("Tests: a\nDepends:\n", false),
            ("Tests: a\nDepends:\n\n# more\n\n\nTest-Command: true\nDepends: \n", false),
            ("Tests: a\n", true),
            ("Tests: a\nDepends: @\n", true),
            ("Tests: a\nDepends:\n @,\n gcc\n", true),
            ("Tests: a\nDepends:\n\nTests: b\n", true),
            ("Tests: a\nDepends:\nRestrictions: allow-stderr, build-needed\n", true),
            ("", false),
        ] {
            assert_eq!(wants_packages(control), wants, "{control:?}");
        }
    }

    #[test]
    fn a_tree_in_a_tar_file_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let debian = directory.path().join("hello-1.0/debian");
        fs::create_dir_all(&debian).unwrap();
        fs::write(debian.join("control"), "Source: hello\n").unwrap();
        tar(directory.path(), &["-czf", "hello.tar.gz", "hello-1.0"]);
        tar(directory.path(), &["-cf", "flat.tar", "-C", "hello-1.0", "debian"]);
        let flat = fs::read(directory.path().join("flat.tar")).unwrap();
        fs::write(directory.path().join("flat.tar.zst"), zstd::encode_all(&flat[..], 1).unwrap()).unwrap();
        for (name, inside) in [("hello.tar.gz", "hello-1.0"), ("flat.tar", ""), ("flat.tar.zst", "")] {
            let to = directory.path().join(format!("out-{name}"));
            let ready = local(&directory.path().join(name), &to).unwrap();
            assert_eq!(ready, Ready::Tree(to.join(inside)), "{name}");
        }
    }

    #[test]
    fn what_is_no_source_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("notes.txt"), "x").unwrap();
        fs::write(directory.path().join("bad.tar"), "x").unwrap();
        for (name, says) in [
            ("notes.txt", "neither a directory nor a .dsc nor a .tar"),
            ("bad.tar", "unpacking"),
            ("missing", "No such file"),
            (".", "no debian/control"),
        ] {
            let error = local(&directory.path().join(name), &directory.path().join("out")).unwrap_err().to_string();
            assert!(error.contains(says), "{name}: {error}");
        }
    }

    #[test]
    fn git_and_hostile_addresses_are_told_apart() {
        assert!(is_git("https://salsa.debian.org/rocm-team/rocrand.git#debian/latest"));
        assert!(!is_git("https://deb.debian.org/debian/pool/main/h/hello/hello_2.10-3.dsc"));
        assert!(checked_url("https://x/y.git#'; rm -r /; '").is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_control_file_and_dsc_is_read(text in "(Tests|Depends|Checksums-Sha256|:| |\\n|a|#|\\PC){0,40}") {
            wants_packages(&text);
            drop(parts(&text));
        }
    }

    #[test]
    fn the_files_of_a_dsc() {
        let dsc = "Format: 3.0\nChecksums-Sha256:\n 0a 3 hello.tar.xz\n 0B 4 hello.debian.tar.xz\nFiles:\n x 3 hello.tar.xz\n";
        let expected = [("hello.tar.xz", "0a"), ("hello.debian.tar.xz", "0b")];
        assert_eq!(parts(dsc).unwrap(), expected.map(|(name, sum)| (name.into(), sum.into())));
        assert!(parts("Checksums-Sha256:\n 0a 3 ../../etc/passwd\n").is_err());
        assert!(parts("Files:\n x 3 hello.tar.xz\n").is_err());
    }
}
