//! Additional apt sources of jobs, from files in deb822 style, and the keys of job lists.

use std::fs;
use std::path::Path;

use advice::{Advice, AtPath as _};
use anyhow::{Context as _, Result, anyhow, bail};
use debian::deb822::{Comments, Paragraph, parse};
use protocol::{AptSource, Job, SignedBy};
use serde_json::{Map, Value, json};

/// Largest file that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// Fields of sources.list(5) that a job can say.
const KNOWN: [&str; 7] = ["Types", "URIs", "Suites", "Components", "Signed-By", "Trusted", "Enabled"];

/// Reads a file such as `/etc/apt/sources.list.d/own.sources`. Keys that it names by their files are read too.
///
/// # Errors
/// If it cannot be read, or says something that jobs cannot say.
pub fn read(path: &Path) -> Result<Vec<AptSource>> {
    let reading = || format!("reading the apt source {}", path.display());
    let bytes = small(path)?;
    let paragraphs = parse(&bytes, Comments::Allowed).with_context(reading)?;
    let enabled = paragraphs.iter().filter(|paragraph| paragraph.get("Enabled").map(str::trim) != Some("no"));
    let sources = enabled.map(source).collect::<Result<Vec<_>>>().with_context(reading)?;
    if sources.is_empty() {
        bail!(Advice::new(
            format!("{} has no source that is enabled", path.display()),
            "write Types, URIs, Suites, Components and Signed-By as in sources.list(5), deb822 style"
        ));
    }
    let base = path.parent().unwrap_or(Path::new("."));
    sources.into_iter().map(|source| with_key(source, base).with_context(reading)).collect()
}

/// Reads the keys of a job's apt sources that are in files, relative to a directory.
///
/// # Errors
/// If one cannot be read, or is not a key.
pub fn read_keys(job: &mut Job, base: &Path) -> Result<()> {
    for source in &mut job.apt_sources {
        *source = with_key(source.clone(), base)?;
    }
    Ok(())
}

fn with_key(mut source: AptSource, base: &Path) -> Result<AptSource> {
    let file = match &source.signed_by {
        SignedBy::KeyFile(path) => base.join(path),
        _ => return Ok(source),
    };
    let text = String::from_utf8(small(&file)?).ok();
    source.signed_by = match text.and_then(|text| text.parse().ok()) {
        Some(key @ SignedBy::Key(_)) => key,
        _ => bail!(Advice::new(
            format!("{} is not an OpenPGP public key in ASCII armour", file.display()),
            "write one with `gpg --armor --export KEY`, or `sq packet armor FILE`"
        )),
    };
    Ok(source)
}

/// A paragraph as a source.
fn source(paragraph: &Paragraph<'_>) -> Result<AptSource> {
    let unknown =
        paragraph.fields().iter().find(|field| !KNOWN.iter().any(|known| known.eq_ignore_ascii_case(field.name)));
    if let Some(field) = unknown {
        bail!(Advice::new(
            format!("the field {} cannot be part of a job", field.name),
            "remove it, or put the whole source into the image's recipe"
        ));
    }
    let mut fields = Map::new();
    for name in ["Types", "URIs", "Suites", "Components"] {
        let words: Vec<&str> = paragraph.get(name).unwrap_or_default().split_whitespace().collect();
        fields.insert(name.to_ascii_lowercase(), json!(words));
    }
    if let Some(field) = paragraph.field("Signed-By") {
        // A key in the field has "." in place of an empty line.
        let lines: Vec<&str> = field.lines().map(|line| if line.trim() == "." { "" } else { line.trim() }).collect();
        fields.insert("signed-by".to_owned(), json!(lines.join("\n").trim()));
    }
    if paragraph.get("Trusted").map(str::trim) == Some("yes") {
        fields.insert("trusted".to_owned(), json!(true));
    }
    serde_json::from_value(Value::Object(fields)).map_err(|error| anyhow!("{error}"))
}

fn small(path: &Path) -> Result<Vec<u8>> {
    let size = fs::metadata(path).at_path("reading", path)?.len();
    if size > LARGEST {
        bail!("{} has {size} bytes, and {LARGEST} are the most", path.display());
    }
    fs::read(path).at_path("reading", path)
}
