//! What a job says about the packages to test, besides the archive: [`PackageFile`] and [`JobArchive`].

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha256::Digest;

use crate::api::Invalid;

/// Most versions that a job can name.
pub const MOST_VERSIONS: usize = 2000;
/// Most package files of a job.
pub const MOST_PACKAGE_FILES: usize = 200;
/// Longest version, in bytes.
const LONGEST_VERSION: usize = 200;
/// Longest path of a package file, in bytes.
const LONGEST_PATH: usize = 4000;
/// Longest name of a package file, in bytes.
const LONGEST_NAME: usize = 250;

/// A package file that the job brings along: a `.deb`, or a part of the source package that has its tests.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "PackageFileRepr", into = "PackageFileRepr")]
#[schemars(with = "PackageFileRepr")]
pub struct PackageFile {
    /// Its path, relative to the job list; only its name once its content is known.
    pub path: String,
    /// What is in it. Missing in a job list of a person; programs that read the list find it out.
    pub content: Option<FileContent>,
}

/// The content of a file, as far as telling it from others takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileContent {
    /// SHA-256 of its bytes.
    pub sha256: Digest,
    /// Length in bytes.
    pub size: u64,
}

/// A package file as it is written: its path, or name, digest and size.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "the path of a package file, or its file name, sha256 and size")]
#[schemars(rename = "PackageFile")]
enum PackageFileRepr {
    /// The path of a `.deb`, relative to the job list.
    Path(String),
    /// A file whose content is known.
    Known {
        /// Name of the file.
        file: String,
        /// SHA-256 of its content, in hexadecimal digits.
        sha256: Digest,
        /// Length in bytes.
        size: u64,
    },
}

/// The archive whose packages are tested, if it is not the image's as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum JobArchive {
    /// The image's archives as they were then, from the snapshot service that apt knows for them:
    /// `20261001T000000Z`.
    Snapshot(String),
    /// Packages of this suite are preferred to those of the image's: `experimental`.
    Suite(String),
}

impl PackageFile {
    /// The name of the file, without directories.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Whether it is a binary package.
    pub fn is_binary(&self) -> bool {
        has_end(self.name(), "deb")
    }

    /// Checks what a hub and its workers need: the digest.
    ///
    /// # Errors
    /// If the content is not known.
    pub fn check(&self) -> Result<FileContent, Invalid> {
        self.content.ok_or_else(|| Invalid {
            field: "packages",
            message: format!("`{}` is a file that is not here; write its file name, sha256 and size", self.path),
        })
    }
}

impl fmt::Display for PackageFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match &self.content {
            Some(content) => write!(f, " (sha256 {}...)", content.sha256.prefix(12)),
            None => Ok(()),
        }
    }
}

fn has_end(name: &str, end: &str) -> bool {
    std::path::Path::new(name).extension().is_some_and(|found| found == end)
}

/// Whether a name can be a file of a binary or source package: it becomes a file of workers, and a word of commands.
fn is_file_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= LONGEST_NAME
        && name.starts_with(|char: char| char.is_ascii_alphanumeric())
        && name.chars().all(|char| char.is_ascii_alphanumeric() || "._+~:%-".contains(char))
}

impl TryFrom<PackageFileRepr> for PackageFile {
    type Error = String;

    fn try_from(repr: PackageFileRepr) -> Result<Self, String> {
        let (path, content) = match repr {
            PackageFileRepr::Path(path) => (path, None),
            PackageFileRepr::Known { file, sha256, size } => (file, Some(FileContent { sha256, size })),
        };
        let file = Self { path, content };
        let shown = || safetext::printable(&file.path);
        if file.path.len() > LONGEST_PATH || !is_file_name(file.name()) || content.is_some() && file.path.contains('/')
        {
            return Err(format!("packages: `{}` is not the name of a package file", shown()));
        }
        if content.is_none() && !file.is_binary() {
            return Err(format!("packages: `{}` is not a .deb; `path` takes the source of the tests", shown()));
        }
        Ok(file)
    }
}

impl From<PackageFile> for PackageFileRepr {
    fn from(file: PackageFile) -> Self {
        match file.content {
            None => Self::Path(file.path),
            Some(FileContent { sha256, size }) => Self::Known { file: file.path, sha256, size },
        }
    }
}

impl JobArchive {
    /// Whether a text has the form of a date, such as `20261001T000000Z`.
    fn has_form_of_date(text: &str) -> bool {
        let form = b"00000000T000000Z";
        let fits = |(byte, wanted): (u8, &u8)| if *wanted == b'0' { byte.is_ascii_digit() } else { byte == *wanted };
        text.len() == form.len() && text.bytes().zip(form).all(fits)
    }
}

impl FromStr for JobArchive {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong =
            |what: &str| Err(Invalid { field: "archive", message: format!("`{}` {what}", safetext::printable(text)) });
        if Self::has_form_of_date(text) {
            return match jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text) {
                Ok(_) => Ok(Self::Snapshot(text.to_owned())),
                Err(_) => wrong("is not a date"),
            };
        }
        if text.starts_with(|char: char| char.is_ascii_digit()) {
            return wrong("is neither a date such as 20261001T000000Z nor a suite");
        }
        let allowed = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || "-.".contains(char);
        if text.is_empty() || text.len() > 80 || !text.chars().all(allowed) || text.starts_with(['-', '.']) {
            return wrong("is neither a date such as 20261001T000000Z nor a suite such as experimental");
        }
        Ok(Self::Suite(text.to_owned()))
    }
}

impl fmt::Display for JobArchive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Snapshot(text) | Self::Suite(text)) = self;
        f.write_str(text)
    }
}

impl TryFrom<String> for JobArchive {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<JobArchive> for String {
    fn from(archive: JobArchive) -> Self {
        archive.to_string()
    }
}

impl JsonSchema for JobArchive {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "JobArchive".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "The archive whose packages are tested: a date, `20261001T000000Z`, or another suite, \
                            `experimental`.",
        })
    }
}

/// Checks a version that a job names.
pub(crate) fn check_version(name: &str, version: &str) -> Result<(), String> {
    if !debian::relation::is_package_name(name) {
        return Err(format!("versions: `{}` is not the name of a binary package", safetext::printable(name)));
    }
    let wrong = |error: &dyn fmt::Display| Err(format!("versions: {name}: {error}"));
    match debian::version::Version::parse(version) {
        Ok(_) if version.len() > LONGEST_VERSION => wrong(&"the version is too long"),
        Ok(_) => Ok(()),
        Err(error) => wrong(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_a_path_until_its_content_is_known() {
        let read = |json: &str| serde_json::from_str::<PackageFile>(json).map_err(|error| error.to_string());
        let path = read(r#""../rocfft_7.2-1_amd64.deb""#).expect("a path");
        assert_eq!((path.name(), path.is_binary()), ("rocfft_7.2-1_amd64.deb", true));
        assert!(path.check().is_err_and(|error| error.to_string().contains("sha256 and size")));
        let digest = Digest::of("x");
        let known =
            read(&format!(r#"{{"file": "rocfft_7.2-1.dsc", "sha256": "{digest}", "size": 1}}"#)).expect("a file");
        assert_eq!(known.check(), Ok(FileContent { sha256: digest, size: 1 }));
        assert!(known.to_string().starts_with("rocfft_7.2-1.dsc (sha256 2d711642b726"), "{known}");
        assert_eq!(read(&serde_json::to_string(&known).expect("JSON")), Ok(known));
        for (json, says) in [
            (r#""rocfft.dsc""#.to_owned(), "not a .deb"),
            (r#""../""#.to_owned(), "not the name of a package file"),
            (r#""--option.deb""#.to_owned(), "not the name of a package file"),
            (format!(r#"{{"file": "../x.deb", "sha256": "{digest}", "size": 1}}"#), "not the name of a package file"),
            (r#"{"file": "x.deb"}"#.to_owned(), "the path of a package file, or its"),
        ] {
            let error = read(&json).expect_err(&json);
            assert!(error.contains(says), "{json}: {error}");
        }
    }

    #[test]
    fn an_archive_is_a_date_or_a_suite() {
        assert_eq!("20261001T000000Z".parse(), Ok(JobArchive::Snapshot("20261001T000000Z".into())));
        assert_eq!("trixie-backports".parse(), Ok(JobArchive::Suite("trixie-backports".into())));
        for text in ["20261301T000000Z", "2026-10-01", "", "-x", "a b", "Sid/main"] {
            assert!(text.parse::<JobArchive>().is_err(), "{text}");
        }
    }

    #[test]
    fn versions_are_of_binary_packages() {
        assert_eq!(check_version("libamdhip64-7", "7.2.4-1+b1"), Ok(()));
        assert!(check_version("src:rocr-runtime", "1").is_err_and(|error| error.contains("binary package")));
        assert!(check_version("gzip", "1 2").is_err_and(|error| error.starts_with("versions: gzip: ")));
    }
}
