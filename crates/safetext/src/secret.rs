//! [`Secret`]: a value that must not appear in logs or on screens.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::NOT_SHOWN;

/// A value that must not appear in logs or on screens: a token, a password. It is printed as `(not shown)`. Serde
/// writes it unchanged: a document with a secret in it is meant to pass the secret on.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Creates a secret without surrounding blanks, as files with tokens end with a newline.
    pub fn new(value: impl AsRef<str>) -> Self {
        Self(value.as_ref().trim().to_owned())
    }

    /// The value itself, for sending it or storing it in a private file.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self::new(value)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NOT_SHOWN)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NOT_SHOWN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        #[derive(Debug)]
        #[allow(dead_code)] // it is there to be printed
        struct Holder {
            token: Option<Secret>,
        }
        let secret = Secret::new("abc123\n");
        assert_eq!(secret.reveal(), "abc123");
        for text in [format!("{secret}"), format!("{secret:>20}"), format!("{:#?}", Holder { token: Some(secret) })] {
            assert!(text.contains(NOT_SHOWN) && !text.contains("abc123"), "{text}");
        }
    }
}
