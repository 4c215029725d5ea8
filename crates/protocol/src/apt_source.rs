//! [`AptSource`]: an additional apt source of a job, in the terms of deb822 style (sources.list(5)).

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::address;
use crate::api::Invalid;

/// Most sources of a job, and most URIs, suites and components of a source.
pub const MOST_SOURCES: usize = 16;
/// Largest signing key, in bytes.
const LARGEST_KEY: usize = 64 << 10;
/// Longest suite, component or path, in bytes.
const LONGEST_WORD: usize = 200;
/// First and last line of a public key in ASCII armour (RFC 9580, section 6.2).
const KEY_BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const KEY_END: &str = "-----END PGP PUBLIC KEY BLOCK-----";

/// An additional apt source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "AptSourceRepr", into = "AptSourceRepr")]
#[schemars(with = "AptSourceRepr")]
pub struct AptSource {
    /// What it has; never empty.
    pub types: Vec<AptSourceType>,
    /// Addresses of the archive, `http` or `https`; never empty.
    pub uris: Vec<String>,
    /// Suites, or a path that ends with a slash; never empty.
    pub suites: Vec<String>,
    /// Components; empty exactly if the suites are paths.
    pub components: Vec<String>,
    /// Who has signed it.
    pub signed_by: SignedBy,
}

/// The type of an apt source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AptSourceType {
    /// Binary packages.
    Deb,
    /// Source packages.
    DebSrc,
}

/// The signature that an apt source has to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignedBy {
    /// A signature by this OpenPGP public key, in ASCII armour.
    Key(String),
    /// A signature by a key of this file of the testbed, which is named by an absolute path.
    Keyring(String),
    /// A signature by the key in this file beside the job list. Whoever reads the list replaces it by the key.
    KeyFile(String),
    /// None: apt takes all that comes from there.
    Nobody,
}

/// An additional apt source as it is written in JSON and TOML.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "AptSource", description = "An additional apt source, in deb822 terms (sources.list(5)).")]
struct AptSourceRepr {
    /// `deb` for binary packages, `deb-src` for source packages; `deb` if it is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    types: Vec<AptSourceType>,
    /// Addresses of the archive.
    uris: Vec<String>,
    /// Suites: `sid`; or one path with a slash at its end, for an archive without suites.
    suites: Vec<String>,
    /// Components: `main`. None for an archive without suites.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    components: Vec<String>,
    /// The OpenPGP public key that has signed it: in ASCII armour, as a file beside the job list, or as the absolute path
    /// of a keyring of the testbed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signed_by: Option<String>,
    /// Whether it is used although nobody has signed it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    trusted: bool,
}

impl AptSource {
    /// Checks what a hub or a worker needs: the key itself, as files of the list's author are not there.
    ///
    /// # Errors
    /// If the key is in a file beside the job list.
    pub fn check(&self) -> Result<(), Invalid> {
        match &self.signed_by {
            SignedBy::KeyFile(path) => Err(Invalid {
                field: "apt-sources",
                message: format!("signed-by: the file `{path}` is not here; write the key itself"),
            }),
            _ => Ok(()),
        }
    }

    /// The source as a paragraph for apt, with a newline at its end.
    pub fn paragraph(&self) -> String {
        let types: Vec<&str> = self.types.iter().map(|kind| kind.name()).collect();
        let mut text =
            format!("Types: {}\nURIs: {}\nSuites: {}\n", types.join(" "), self.uris.join(" "), self.suites.join(" "));
        if !self.components.is_empty() {
            text.push_str(&format!("Components: {}\n", self.components.join(" ")));
        }
        match &self.signed_by {
            SignedBy::Key(key) => {
                text.push_str("Signed-By:\n");
                for line in key.lines().map(str::trim_end) {
                    text.push_str(&format!(" {}\n", if line.is_empty() { "." } else { line }));
                }
            }
            SignedBy::Keyring(path) | SignedBy::KeyFile(path) => text.push_str(&format!("Signed-By: {path}\n")),
            SignedBy::Nobody => text.push_str("Trusted: yes\n"),
        }
        text
    }
}

/// As `signed-by` is written: the key itself or the path of its file.
impl FromStr for SignedBy {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = |what: &str| Err(Invalid { field: "signed-by", message: what.to_owned() });
        let text = text.trim().to_owned();
        if !text.starts_with(KEY_BEGIN) {
            return match text.as_str() {
                path if !is_word(path) => wrong("it is neither a key in ASCII armour nor the path of one"),
                path if path.starts_with('/') => Ok(Self::Keyring(text)),
                _ => Ok(Self::KeyFile(text)),
            };
        }
        if text.len() > LARGEST_KEY {
            return wrong("the key has more than 64 KiB");
        }
        // Nor anything else beside it: a private key would be in every testbed.
        if !text.ends_with(KEY_END) || text.matches("-----BEGIN ").count() != 1 || text.matches(KEY_END).count() != 1 {
            return wrong("it is not one public key in ASCII armour (`gpg --armor --export KEY` writes one)");
        }
        if !text.chars().all(|char| char == '\n' || char == ' ' || char.is_ascii_graphic()) {
            return wrong("the key has characters that ASCII armour does not have");
        }
        Ok(Self::Key(text))
    }
}

/// For people: where it is, and what is taken from there.
impl fmt::Display for AptSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.uris.join(" "), self.suites.join(" "))?;
        if !self.components.is_empty() {
            write!(f, " {}", self.components.join(" "))?;
        }
        if self.signed_by == SignedBy::Nobody { f.write_str(" (not signed)") } else { Ok(()) }
    }
}

impl AptSourceType {
    /// The name in JSON and for apt.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deb => "deb",
            Self::DebSrc => "deb-src",
        }
    }
}

impl FromStr for AptSourceType {
    type Err = crate::UnknownWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        crate::UnknownWord::find(text, "a type of an apt source", [Self::Deb, Self::DebSrc], Self::name)
    }
}

/// Whether a text can stand in a field of a paragraph and in a command, as one word.
fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= LONGEST_WORD
        && text.chars().all(|char| char.is_ascii_alphanumeric() || "._/+~-".contains(char))
        && !text.starts_with('-')
}

impl TryFrom<AptSourceRepr> for AptSource {
    type Error = String;

    fn try_from(repr: AptSourceRepr) -> Result<Self, String> {
        for (name, list) in [("uris", &repr.uris), ("suites", &repr.suites), ("components", &repr.components)] {
            if list.len() > MOST_SOURCES {
                return Err(format!("{name}: there are more than {MOST_SOURCES}"));
            }
            if list.is_empty() && name != "components" {
                return Err(format!("{name}: there is none"));
            }
        }
        for uri in &repr.uris {
            address::check_archive(uri).map_err(|error| error.to_string())?;
        }
        for (name, list) in [("suites", &repr.suites), ("components", &repr.components)] {
            if let Some(bad) = list.iter().find(|word| !is_word(word)) {
                return Err(format!("{name}: `{}` is not one", safetext::printable(bad)));
            }
        }
        let paths = repr.suites.iter().filter(|suite| suite.ends_with('/')).count();
        if paths != 0 && (paths != repr.suites.len() || !repr.components.is_empty()) {
            return Err("suites: a path that ends with a slash has no components, and no suites beside it".into());
        }
        if paths == 0 && repr.components.is_empty() {
            return Err(
                "components: there is none; `main` is usual, and an archive without suites has \"./\" in suites".into(),
            );
        }
        let signed_by = match (repr.signed_by, repr.trusted) {
            (Some(text), false) => text.parse().map_err(|error: Invalid| error.to_string())?,
            (None, true) => SignedBy::Nobody,
            (Some(_), true) => return Err("signed-by and trusted exclude each other: leave one of them out".into()),
            (None, false) => {
                return Err("signed-by: name the key that has signed it; \
                            trusted = true takes everything from there without a signature"
                    .into());
            }
        };
        let types = if repr.types.is_empty() { vec![AptSourceType::Deb] } else { repr.types };
        Ok(Self { types, uris: repr.uris, suites: repr.suites, components: repr.components, signed_by })
    }
}

impl From<AptSource> for AptSourceRepr {
    fn from(source: AptSource) -> Self {
        let (signed_by, trusted) = match source.signed_by {
            SignedBy::Key(text) | SignedBy::Keyring(text) | SignedBy::KeyFile(text) => (Some(text), false),
            SignedBy::Nobody => (None, true),
        };
        Self {
            types: source.types,
            uris: source.uris,
            suites: source.suites,
            components: source.components,
            signed_by,
            trusted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(json: &str) -> Result<AptSource, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn a_source_with_its_key_is_one_paragraph() {
        let json = format!(
            r#"{{"types": ["deb", "deb-src"], "uris": ["https://apt.example/x"], "suites": ["sid"], "components": ["main"],
                "signed-by": "{KEY_BEGIN}\n\nmQ==\n{KEY_END}\n"}}"#
        );
        let read = source(&json).expect("a source");
        let expected = format!(
            "Types: deb deb-src\nURIs: https://apt.example/x\nSuites: sid\nComponents: main\n\
             Signed-By:\n {KEY_BEGIN}\n .\n mQ==\n {KEY_END}\n"
        );
        assert_eq!(read.paragraph(), expected);
        assert_eq!(read.to_string(), "https://apt.example/x sid main");
        let again = serde_json::to_string(&read).expect("JSON");
        assert_eq!(source(&again), Ok(read));
    }

    #[test]
    fn a_source_that_nobody_has_signed_says_so() {
        let json = r#"{"uris": ["http://192.0.2.7:8000"], "suites": ["./"], "trusted": true}"#;
        let read = source(json).expect("a source");
        assert_eq!(read.paragraph(), "Types: deb\nURIs: http://192.0.2.7:8000\nSuites: ./\nTrusted: yes\n");
        assert_eq!(read.to_string(), "http://192.0.2.7:8000 ./ (not signed)");
    }

    #[test]
    fn a_key_in_a_file_has_to_be_read_first() {
        let json = |key: &str| {
            format!(r#"{{"uris": ["http://x"], "suites": ["sid"], "components": ["main"], "signed-by": "{key}"}}"#)
        };
        let beside = source(&json("keys/own.asc")).expect("a source");
        assert_eq!(beside.signed_by, SignedBy::KeyFile("keys/own.asc".into()));
        assert!(beside.check().is_err_and(|error| error.to_string().contains("write the key itself")));
        let inside = source(&json("/usr/share/keyrings/x.pgp")).expect("a source");
        assert_eq!((inside.check(), inside.signed_by), (Ok(()), SignedBy::Keyring("/usr/share/keyrings/x.pgp".into())));
    }

    #[test]
    fn mistakes_say_what_is_right() {
        let rest = r#""suites": ["sid"], "components": ["main"]"#;
        for (json, says) in [
            (format!(r#"{{"uris": ["http://x"], {rest}}}"#), "trusted = true"),
            (
                format!(r#"{{"uris": ["http://x"], {rest}, "trusted": true, "signed-by": "k.asc"}}"#),
                "exclude each other",
            ),
            (format!(r#"{{"uris": [], {rest}, "trusted": true}}"#), "uris: there is none"),
            (format!(r#"{{"uris": ["file:///srv"], {rest}, "trusted": true}}"#), "file:///srv"),
            (format!(r#"{{"uris": ["https://me:pw@x/"], {rest}, "trusted": true}}"#), "user or a password"),
            (r#"{"uris": ["http://x"], "suites": ["sid"], "trusted": true}"#.into(), "components: there is none"),
            (
                r#"{"uris": ["http://x"], "suites": ["./"], "components": ["main"], "trusted": true}"#.into(),
                "no components",
            ),
            (
                r#"{"uris": ["http://x"], "suites": ["sid\nTrusted: yes"], "components": ["main"], "trusted": true}"#
                    .into(),
                "suites: `",
            ),
            (format!(r#"{{"uris": ["http://x"], {rest}, "signed-by": "{KEY_BEGIN}\n\nmQ==\n"}}"#), "one public key"),
            (
                format!(
                    r#"{{"uris": ["http://x"], {rest}, "signed-by": "{KEY_BEGIN}\n\nmQ==\n-----BEGIN PGP PRIVATE KEY BLOCK-----\n{KEY_END}"}}"#
                ),
                "one public key",
            ),
            (format!(r#"{{"uris": ["http://x"], {rest}, "signed-by": "my key"}}"#), "neither a key"),
            (format!(r#"{{"uris": ["http://x"], {rest}, "types": ["rpm"], "trusted": true}}"#), "rpm"),
        ] {
            let error = source(&json).expect_err(&json);
            assert!(error.contains(says) && !error.contains("pw"), "{json}: {error}");
        }
    }
}
