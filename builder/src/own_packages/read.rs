//! Reads package files and checks them against the `.changes` and `.dsc` files that name them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use advice::{Advice, AtPath as _};
use anyhow::{Context as _, Result, bail, ensure};
use debian::changes::Changes;
use debian::deb::Deb;
use debian::dsc::{Dsc, DscFile};
use protocol::{FileContent, PackageFile};
use sha256::Digest;

use super::ARCHITECTURE;

/// Largest `.changes` or `.dsc` that is read, in bytes.
const LARGEST_CONTROL: u64 = 4 << 20;

/// A binary package.
#[derive(Debug)]
pub(super) struct Binary {
    pub(super) package: String,
    pub(super) version: String,
    /// Name of its source package.
    pub(super) source: String,
    pub(super) path: PathBuf,
    pub(super) file: PackageFile,
}

/// A source package with tests.
#[derive(Debug)]
pub(super) struct SourcePackage {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) dsc: PathBuf,
    /// File name of the `.dsc`.
    pub(super) file_name: String,
    /// The `.dsc` and its files, and where they are.
    pub(super) files: Vec<(PackageFile, PathBuf)>,
}

/// What a `.changes` names.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) binaries: Vec<Binary>,
    pub(super) source: Option<SourcePackage>,
}

/// A package that no worker can install.
#[derive(Debug, thiserror::Error)]
#[error("{path} is for {architecture}, and tests run on {ARCHITECTURE}", path = path.display())]
pub(super) struct OtherArchitecture {
    path: PathBuf,
    architecture: String,
}

/// Reads a `.deb`.
pub(super) fn binary(path: &Path) -> Result<Binary> {
    let mut file = File::open(path).at_path("reading the package", path)?;
    let deb = Deb::read(&mut file).with_context(|| format!("reading the package {}", path.display()))?;
    if ![ARCHITECTURE, "all"].contains(&deb.architecture()) {
        bail!(OtherArchitecture { path: path.to_owned(), architecture: deb.architecture().to_owned() });
    }
    let source = deb.control.get("Source").and_then(|source| source.split_whitespace().next());
    let (package, version) = (deb.name().to_owned(), deb.version().to_owned());
    let source = source.unwrap_or(&package).to_owned();
    let path = path.canonicalize().at_path("finding", path)?;
    let file = package_file(&path, &content(&path)?)?;
    Ok(Binary { package, version, source, path, file })
}

/// Reads a `.dsc` with its files.
pub(super) fn source_package(path: &Path) -> Result<SourcePackage> {
    let dsc = Dsc::parse(&control(path)?).with_context(|| format!("reading the source package {}", path.display()))?;
    let Dsc { source: name, version, testsuite, .. } = &dsc;
    ensure!(
        !name.is_empty() && !version.is_empty(),
        Advice::new(
            format!("{} does not say which package it is", path.display()),
            "build the source package with dpkg-source, which writes Source and Version"
        )
    );
    ensure!(
        testsuite.is_some(),
        Advice::new(
            format!("{name} {version} has no tests: {} has no field Testsuite", path.display()),
            "add debian/tests/control and build the source package again, or name a package whose tests use it"
        )
    );
    let path = path.canonicalize().with_context(|| format!("finding {}", path.display()))?;
    let mut files = vec![(package_file(&path, &content(&path)?)?, path.clone())];
    for named in &dsc.files {
        let beside = path.with_file_name(&named.name);
        let content = checked(&beside, named, &path)?;
        files.push((package_file(&beside, &content)?, beside));
    }
    let file_name = files.first().map(|(file, _)| file.path.clone()).unwrap_or_default();
    Ok(SourcePackage { name: dsc.source, version: dsc.version, dsc: path, file_name, files })
}

/// Reads a `.changes` with the files that it names.
pub(super) fn upload(path: &Path) -> Result<Upload> {
    let changes = Changes::parse(&control(path)?).with_context(|| format!("reading the upload {}", path.display()))?;
    let mut upload = Upload { binaries: Vec::new(), source: None };
    for named in &changes.files {
        let beside = path.with_file_name(&named.name);
        // Symbols for debuggers are not tested.
        let is_debug = named.name.contains("-dbgsym_");
        if named.name.ends_with(".deb") && !is_debug {
            checked(&beside, named, path)?;
            upload.binaries.push(binary(&beside)?);
        } else if named.name.ends_with(".dsc") {
            checked(&beside, named, path)?;
            // Without tests of its own it is still tested by others.
            upload.source = if has_tests(&beside)? { Some(source_package(&beside)?) } else { None };
        }
    }
    ensure!(
        !upload.binaries.is_empty(),
        Advice::new(
            format!("{} has no binary packages of {}", path.display(), changes.source),
            "build them (`dpkg-buildpackage --build=binary`, or sbuild), and name the .changes with their architecture"
        )
    );
    Ok(upload)
}

fn has_tests(dsc: &Path) -> Result<bool> {
    let parsed = Dsc::parse(&control(dsc)?).with_context(|| format!("reading the source package {}", dsc.display()))?;
    Ok(parsed.testsuite.is_some())
}

/// The `.deb` and `.dsc` files of a directory, sorted.
pub(super) fn directory(path: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let reading = || format!("reading the directory {}", path.display());
    let (mut binaries, mut sources) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(path).with_context(reading)? {
        let found = entry.with_context(reading)?.path();
        let name = found.file_name().unwrap_or_default().to_string_lossy();
        match found.extension().and_then(|end| end.to_str()) {
            Some("deb") if !name.contains("-dbgsym_") => binaries.push(found),
            Some("dsc") if has_tests(&found)? => sources.push(found),
            _ => {}
        }
    }
    binaries.sort();
    sources.sort();
    Ok((binaries, sources))
}

/// Whether the last part of a path is a pattern.
pub(super) fn is_pattern(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().contains(['*', '?']))
}

/// The files that a path names, sorted; symbols for debuggers only if they are named.
pub(super) fn matching(path: &Path) -> Result<Vec<PathBuf>> {
    if !is_pattern(path) {
        return Ok(vec![path.to_owned()]);
    }
    let pattern = path.file_name().unwrap_or_default().to_string_lossy();
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let reading = || format!("reading the directory {}", directory.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).with_context(reading)? {
        let name = entry.with_context(reading)?.file_name();
        let name = name.to_string_lossy();
        if kmod::alias_matches(&pattern, &name) && !name.contains("-dbgsym_") {
            found.push(directory.join(&*name));
        }
    }
    ensure!(
        !found.is_empty(),
        Advice::new(
            format!("there is no file {}", path.display()),
            "build the packages first, or correct the path: it is relative to the recipe"
        )
    );
    found.sort();
    Ok(found)
}

/// Reads a control file.
fn control(path: &Path) -> Result<Vec<u8>> {
    let size = fs::metadata(path).at_path("reading", path)?.len();
    ensure!(size <= LARGEST_CONTROL, "{} has {size} bytes, which no control file has", path.display());
    fs::read(path).at_path("reading", path)
}

fn content(path: &Path) -> Result<FileContent> {
    let reading = || format!("reading {}", path.display());
    let (sha256, size) = Digest::of_reader(File::open(path).with_context(reading)?).with_context(reading)?;
    Ok(FileContent { sha256, size })
}

/// The content of a file, if it is what `by` says.
fn checked(path: &Path, named: &DscFile, by: &Path) -> Result<FileContent> {
    let by = by.display();
    if !path.exists() {
        bail!(Advice::new(
            format!("{}, which {by} names, is not there", path.display()),
            format!("copy it there; `dcmd cp {by} DIRECTORY` copies all files together")
        ));
    }
    let found = content(path)?;
    ensure!(
        found.sha256 == named.sha256 && found.size == named.size,
        Advice::new(
            format!("{} is not the file that {by} names: its SHA-256 or its size differ", path.display()),
            "build the package again, or copy the file and the one that names it from the same build"
        )
    );
    Ok(found)
}

fn package_file(path: &Path, content: &FileContent) -> Result<PackageFile> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let value = serde_json::json!({ "file": name, "sha256": content.sha256, "size": content.size });
    serde_json::from_value(value).with_context(|| format!("using {}", path.display()))
}
