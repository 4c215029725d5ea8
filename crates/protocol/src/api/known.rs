//! Failures that are listed as known.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::Invalid;

/// A known failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct KnownFailure {
    /// Its number.
    pub id: i64,
    /// Which failure it is, and why it is known.
    #[serde(flatten)]
    pub failure: AddKnown,
    /// When it was added.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub added: Timestamp,
}

/// Request to list a failure as known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AddKnown {
    /// The source package.
    pub package: String,
    /// The test; all of the package's if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<String>,
    /// The target; all if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Number of the Debian bug, or the address of another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bug: Option<String>,
    /// A description for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// The first version that is not expected to fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

impl AddKnown {
    /// Checks the fields.
    ///
    /// # Errors
    ///
    /// With the name of the field that is wrong.
    pub fn check(&self) -> Result<(), Invalid> {
        let fields = [
            ("package", Some(&self.package)),
            ("test", self.test.as_ref()),
            ("target", self.target.as_ref()),
            ("bug", self.bug.as_ref()),
            ("text", Some(&self.text)),
            ("until", self.until.as_ref()),
        ];
        for (name, value) in fields {
            let Some(value) = value else { continue };
            if value.len() > 1000 || value.contains(char::is_control) {
                return Err(Invalid {
                    field: name,
                    message: "is longer than 1000 bytes, or has control characters".into(),
                });
            }
            if value.is_empty() && name != "text" {
                return Err(Invalid { field: name, message: "is empty".into() });
            }
        }
        if self.bug.is_none() && self.text.is_empty() {
            return Err(Invalid {
                field: "bug",
                message: "is missing: a known failure has a bug, or a text that says why it is known".into(),
            });
        }
        let is_bug = |bug: &String| {
            bug.chars().all(|char| char.is_ascii_digit()) || bug.starts_with("https://") || bug.starts_with("http://")
        };
        match &self.bug {
            Some(bug) if !is_bug(bug) => {
                Err(Invalid { field: "bug", message: "is neither the number of a Debian bug nor an address".into() })
            }
            _ => Ok(()),
        }
    }
}

/// All known failures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KnownList {
    /// By package, then by number.
    pub known: Vec<KnownFailure>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_failure_has_a_reason() {
        let known = AddKnown { package: "rocfft".into(), ..AddKnown::default() };
        let says = |known: AddKnown| known.check().unwrap_err().to_string();
        assert!(says(known.clone()).contains("bug"));
        assert!(says(AddKnown { bug: Some("soon".into()), ..known.clone() }).contains("neither"));
        assert!(says(AddKnown { test: Some(String::new()), text: "x".into(), ..known.clone() }).contains("test"));
        for bug in ["1112345", "https://github.com/ROCm/rocFFT/issues/1"] {
            assert_eq!(AddKnown { bug: Some(bug.into()), ..known.clone() }.check(), Ok(()));
        }
    }

    #[test]
    fn a_known_failure_is_one_object_in_json() -> Result<(), serde_json::Error> {
        let json = r#"{"id":7,"package":"rocfft","bug":"1112345","added":"2026-11-30T00:00:00Z"}"#;
        let known: KnownFailure = serde_json::from_str(json)?;
        assert_eq!((known.id, known.failure.bug.as_deref()), (7, Some("1112345")));
        assert_eq!(serde_json::to_string(&known)?, json);
        Ok(())
    }
}
