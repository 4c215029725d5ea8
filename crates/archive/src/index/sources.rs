//! [`SourceIndex`]: the source packages of a `Sources` file.

use super::{FieldError, IndexError, is_safe_path, scan::decoded};
use debian::{
    deb822::{Comments, Paragraph, Paragraphs},
    version::compare,
};
use sha256::Digest;
use std::collections::HashMap;

/// A `Sources` file: the source packages of a component.
#[derive(Debug)]
pub struct SourceIndex {
    text: String,
    /// Offset and length of each stanza, by package name.
    by_name: HashMap<String, Vec<(usize, usize)>>,
}

/// A source package in an index.
#[derive(Debug, Clone)]
pub struct SourcePackage<'a> {
    paragraph: Paragraph<'a>,
    name: &'a str,
    version: &'a str,
}

/// One file of a source package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Path below the archive's root.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA256, 64 lower case hexadecimal digits.
    pub sha256: Digest,
}

impl SourceIndex {
    /// Records the position of each source package; the stanzas are parsed on demand. Those without a name are left out.
    pub fn new(text: Vec<u8>) -> Result<Self, IndexError> {
        let text = decoded("Sources", text)?;
        let mut by_name: HashMap<String, Vec<(usize, usize)>> = HashMap::new();
        let mut start = 0;
        while start < text.len() {
            let rest = text.get(start..).unwrap_or_default();
            let end = memchr::memmem::find(rest.as_bytes(), b"\n\n").map_or(rest.len(), |end| end + 1);
            let stanza = rest.get(..end).unwrap_or_default();
            if let Some(name) = stanza.lines().find_map(|line| line.strip_prefix("Package:")) {
                by_name.entry(name.trim().to_owned()).or_default().push((start, end));
            }
            start += end + 1;
        }
        Ok(Self { text, by_name })
    }

    /// Number of source packages.
    pub fn len(&self) -> usize {
        self.by_name.values().map(Vec::len).sum()
    }

    /// Whether there are no source packages.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Names of all source packages, each once, in no particular order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// Versions of the source package `name`, highest first. Stanzas that do not parse or lack a version are left out.
    pub fn candidates(&self, name: &str) -> Vec<SourcePackage<'_>> {
        let places = self.by_name.get(name).map(Vec::as_slice).unwrap_or_default();
        let mut found: Vec<_> = places
            .iter()
            .filter_map(|(start, length)| self.text.get(*start..start + length))
            .filter_map(|stanza| Paragraphs::new(stanza, Comments::Forbidden).next()?.ok())
            .filter_map(|paragraph| {
                let (found, version) = (paragraph.get("Package")?, paragraph.get("Version")?);
                // A name with a continuation line is not valid, though its first line was recorded.
                (found == name).then_some(SourcePackage { paragraph, name: found, version })
            })
            .collect();
        found.sort_by(|a, b| compare(b.version, a.version));
        found
    }
}

impl<'a> SourcePackage<'a> {
    /// Package name.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Package version.
    pub fn version(&self) -> &'a str {
        self.version
    }

    /// `Maintainer`.
    pub fn maintainer(&self) -> &'a str {
        self.paragraph.get("Maintainer").unwrap_or_default()
    }

    /// `Uploaders`, split at commas, except inside a name.
    pub fn uploaders(&self) -> Vec<&'a str> {
        let field = self.paragraph.get("Uploaders").unwrap_or_default();
        field
            .split_inclusive('>')
            .map(|one| one.trim_matches([',', ' ', '\n', '\t']))
            .filter(|one| !one.is_empty())
            .collect()
    }

    /// `Binary`: names of the packages built from it.
    pub fn binaries(&self) -> Vec<&'a str> {
        list(self.paragraph.get("Binary"))
    }

    /// Value of `Testsuite`: for example `autopkgtest`, `autopkgtest-pkg-perl`.
    pub fn testsuite(&self) -> Vec<&'a str> {
        list(self.paragraph.get("Testsuite"))
    }

    /// Raw value of any field.
    pub fn field(&self, name: &str) -> Option<&'a str> {
        self.paragraph.get(name)
    }

    /// Files with their SHA256, from `Directory` and `Checksums-Sha256`.
    pub fn files(&self) -> Result<Vec<SourceFile>, FieldError> {
        let package = || format!("source {} ({})", self.name, self.version);
        let missing = |field| FieldError::Missing { package: package(), field };
        let directory = self.paragraph.get("Directory").ok_or_else(|| missing("Directory"))?;
        let sums = self.paragraph.field("Checksums-Sha256").ok_or_else(|| missing("Checksums-Sha256"))?;
        let mut files = Vec::new();
        for line in sums.lines().filter(|line| !line.is_empty()) {
            let invalid = || FieldError::Invalid {
                package: package(),
                field: "Checksums-Sha256",
                value: line.chars().take(100).collect(),
            };
            let mut words = line.split_whitespace();
            let (Some(sha256), Some(size), Some(name), None) = (words.next(), words.next(), words.next(), words.next())
            else {
                return Err(invalid());
            };
            let path = format!("{directory}/{name}");
            if !is_safe_path(&path) || name.contains('/') {
                return Err(invalid());
            }
            let (size, sha256) = (size.parse().map_err(|_| invalid())?, sha256.parse().map_err(|_| invalid())?);
            files.push(SourceFile { path, size, sha256 });
        }
        Ok(files)
    }
}

fn list(field: Option<&str>) -> Vec<&str> {
    field.unwrap_or_default().split(',').map(str::trim).filter(|item| !item.is_empty()).collect()
}
