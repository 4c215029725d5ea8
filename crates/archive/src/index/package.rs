//! [`Package`]: a stanza of a `Packages` file; its fields are parsed when they are asked for.

use super::is_safe_path;
use debian::relation::{RelationError, Relations, parse};
use sha256::Digest;

/// Value of the Multi-Arch field: deb-control(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MultiArch {
    /// No field, or `no`.
    No,
    /// Packages for several architectures can be installed together.
    Same,
    /// Satisfies relations of packages of any architecture.
    Foreign,
    /// Relations may say `name:any`.
    Allowed,
}

/// A field of a stanza that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The field is missing.
    #[error("{package}: the index gives no {field}")]
    Missing {
        /// Package name and version.
        package: String,
        /// Field name.
        field: &'static str,
    },
    /// The value is not valid.
    #[error("{package}: the index gives {value:?} as {field}")]
    Invalid {
        /// Package name and version.
        package: String,
        /// Field name.
        field: &'static str,
        /// Value of the field.
        value: String,
    },
    /// A relation field does not parse.
    #[error("{package}: {field}: {error}")]
    Relation {
        /// Package name and version.
        package: String,
        /// Field name.
        field: &'static str,
        /// The cause.
        #[source]
        error: RelationError,
    },
}

/// A binary package in an index: a view of its stanza, whose fields are looked up on demand.
#[derive(Debug, Clone, Copy)]
pub struct Package<'a> {
    pub(super) stanza: &'a str,
    pub(super) name: &'a str,
    pub(super) version: &'a str,
    pub(super) architecture: &'a str,
    pub(super) essential: bool,
    pub(super) archive: &'a str,
    pub(super) component: &'a str,
}

impl<'a> Package<'a> {
    /// Package name.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Package version, valid by deb-version(7).
    pub fn version(&self) -> &'a str {
        self.version
    }

    /// Architecture: a machine architecture or `all`.
    pub fn architecture(&self) -> &'a str {
        self.architecture
    }

    /// Name of its archive, as given to the [`Universe`](super::Universe).
    pub fn archive(&self) -> &'a str {
        self.archive
    }

    /// Component of the index, as given to the [`Universe`](super::Universe).
    pub fn component(&self) -> &'a str {
        self.component
    }

    /// Whether the package is marked `Essential: yes`.
    pub fn is_essential(&self) -> bool {
        self.essential
    }

    /// Value of `Multi-Arch`.
    pub fn multi_arch(&self) -> MultiArch {
        match self.field("Multi-Arch") {
            Some("same") => MultiArch::Same,
            Some("foreign") => MultiArch::Foreign,
            Some("allowed") => MultiArch::Allowed,
            _ => MultiArch::No,
        }
    }

    /// Value of `Priority`; by policy the default is optional.
    pub fn priority(&self) -> &'a str {
        self.field("Priority").unwrap_or("optional")
    }

    /// Value of `Section`, for example `contrib/libs`.
    pub fn section(&self) -> &'a str {
        self.field("Section").unwrap_or("misc")
    }

    /// Name and version of the source package: from `Source: name (version)`, else the package's own.
    pub fn source(&self) -> (&'a str, &'a str) {
        match self.field("Source") {
            None => (self.name, self.version),
            Some(source) => match source.split_once('(') {
                None => (source, self.version),
                Some((name, version)) => (name.trim(), version.trim_end_matches(')').trim()),
            },
        }
    }

    /// First line of `Description`.
    pub fn summary(&self) -> &'a str {
        self.field("Description").and_then(|text| text.lines().next()).unwrap_or_default().trim()
    }

    /// Path of the .deb below the archive's root. An error if it could lead outside.
    pub fn filename(&self) -> Result<&'a str, FieldError> {
        let path = self.require("Filename")?;
        // Indexes made by dpkg-scanpackages begin paths with "./".
        let path = path.strip_prefix("./").unwrap_or(path);
        if is_safe_path(path) { Ok(path) } else { Err(self.invalid("Filename", path)) }
    }

    /// Size of the .deb in bytes.
    pub fn size(&self) -> Result<u64, FieldError> {
        let size = self.require("Size")?;
        size.parse().map_err(|_| self.invalid("Size", size))
    }

    /// `Installed-Size` in KiB; 0 if the index does not have it.
    pub fn installed_size(&self) -> Result<u64, FieldError> {
        let Some(size) = self.field("Installed-Size") else { return Ok(0) };
        debian::size::installed_size(size).ok_or_else(|| self.invalid("Installed-Size", size))
    }

    /// SHA256 of the .deb.
    pub fn sha256(&self) -> Result<Digest, FieldError> {
        let digest = self.require("SHA256")?;
        digest.parse().map_err(|_| self.invalid("SHA256", digest))
    }

    /// A relation field such as `Depends`, `Pre-Depends`, `Conflicts`; empty if it is missing.
    pub fn relations(&self, field: &'static str) -> Result<Relations<'a>, FieldError> {
        let text = self.field(field).unwrap_or_default();
        parse(text).map_err(|error| FieldError::Relation { package: self.to_string(), field, error })
    }

    /// Raw value of the field called `name` (case-insensitive), with continuation lines.
    pub fn field(&self, name: &str) -> Option<&'a str> {
        let mut rest = self.stanza;
        loop {
            let (line, _) = rest.split_once('\n').unwrap_or((rest, ""));
            let after = line.len() + 1;
            if line.len() > name.len()
                && line.as_bytes().get(name.len()) == Some(&b':')
                && line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
            {
                let mut end = line.len();
                while rest.as_bytes().get(end) == Some(&b'\n')
                    && matches!(rest.as_bytes().get(end + 1), Some(b' ' | b'\t'))
                {
                    let more = rest.get(end + 1..).unwrap_or_default();
                    end += 1 + memchr::memchr(b'\n', more.as_bytes()).unwrap_or(more.len());
                }
                return rest.get(name.len() + 1..end).map(str::trim);
            }
            rest = rest.get(after..)?;
        }
    }

    fn require(&self, field: &'static str) -> Result<&'a str, FieldError> {
        self.field(field).ok_or_else(|| FieldError::Missing { package: self.to_string(), field })
    }

    fn invalid(&self, field: &'static str, value: &str) -> FieldError {
        FieldError::Invalid { package: self.to_string(), field, value: value.chars().take(100).collect() }
    }
}

impl std::fmt::Display for Package<'_> {
    /// Name and version as apt shows them: `bash (5.3-1)`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name, self.version)
    }
}
