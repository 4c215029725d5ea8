//! [`Help`]: what to do about an error.

use std::borrow::Cow;
use std::fmt;

/// What to do about an error: alternatives or steps, each a sentence without a full stop. May be empty; none is there
/// twice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(from = "Vec<String>"))]
pub struct Help(Vec<Cow<'static, str>>);

impl Help {
    /// No help.
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each piece of help, the most important first.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// Adds pieces at the end, without those that are there already.
    pub fn extend(&mut self, more: Self) {
        for text in more.0 {
            if !text.is_empty() && !self.0.contains(&text) {
                self.0.push(text);
            }
        }
    }
}

/// All of it on one line, for places that have only one.
impl fmt::Display for Help {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl From<&'static str> for Help {
    fn from(text: &'static str) -> Self {
        [text].into()
    }
}

impl From<String> for Help {
    fn from(text: String) -> Self {
        let mut help = Self::none();
        help.extend(Self(vec![text.into()]));
        help
    }
}

impl<const N: usize> From<[&'static str; N]> for Help {
    fn from(texts: [&'static str; N]) -> Self {
        let mut help = Self::none();
        help.extend(Self(texts.into_iter().map(Cow::Borrowed).collect()));
        help
    }
}

impl From<Vec<String>> for Help {
    fn from(texts: Vec<String>) -> Self {
        let mut help = Self::none();
        help.extend(Self(texts.into_iter().map(Cow::Owned).collect()));
        help
    }
}

impl<H: Into<Self>> From<Option<H>> for Help {
    fn from(help: Option<H>) -> Self {
        help.map_or_else(Self::none, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_help_is_given_once() {
        let mut help = Help::from(["use sudo", "", "look at the log"]);
        help.extend("use sudo".into());
        help.extend(String::from("try again").into());
        assert_eq!(help.iter().collect::<Vec<_>>(), ["use sudo", "look at the log", "try again"]);
        assert!(Help::from("").is_empty() && Help::from(None::<String>).is_empty());
    }
}
