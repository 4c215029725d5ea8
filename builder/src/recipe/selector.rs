//! [`Selector`]: which packages of an archive, by their names or their source's.

use std::fmt;

use archive::index::Package;
use serde::Serialize;

/// Packages by name or source package, exactly or by a pattern with `*` and `?`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct Selector {
    by_source: bool,
    pattern: String,
}

/// Text that selects no package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names no packages: give a package's name, src: and a source package's name, or a pattern such as \"librocm*\""
)]
pub struct SelectorError(String);

impl Selector {
    /// Reads `rocminfo`, `src:rocr-runtime`, `librocm*`, `*`.
    ///
    /// # Errors
    /// If it is none of these.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let (by_source, pattern) = match text.strip_prefix("src:") {
            Some(name) => (true, name),
            None => (false, text),
        };
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.*?".contains(&byte);
        let is_pattern = pattern.contains(['*', '?']) && pattern.bytes().all(is_plain);
        if is_pattern || debian::relation::is_package_name(pattern) {
            return Ok(Self { by_source, pattern: pattern.to_owned() });
        }
        Err(SelectorError(text.to_owned()))
    }

    /// Whether it means a package.
    pub fn matches(&self, package: &Package<'_>) -> bool {
        self.matches_name(if self.by_source { package.source().0 } else { package.name() })
    }

    fn matches_name(&self, name: &str) -> bool {
        // A pattern has none of the other special characters of fnmatch(3).
        kmod::alias_matches(&self.pattern, name)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.by_source { "src:" } else { "" }, self.pattern)
    }
}

impl From<Selector> for String {
    fn from(selector: Selector) -> Self {
        selector.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_named_exactly_or_by_a_pattern() {
        for text in ["rocminfo", "src:rocr-runtime", "librocm*", "*", "src:*", "libstdc++6", "lib?"] {
            assert_eq!(Selector::parse(text).map(|selector| selector.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "src:", "a b", "a=1", "a/experimental", "[ab]*", "a\\*"] {
            assert!(Selector::parse(text).is_err(), "{text}");
        }
        let matches = |text: &str, name: &str| Selector::parse(text).is_ok_and(|selector| selector.matches_name(name));
        assert!(matches("librocm*", "librocm-core1") && matches("*", "x1") && matches("libstdc++6", "libstdc++6"));
        assert!(!matches("librocm", "librocm-core1") && !matches("lib.", "libx"));
    }
}
