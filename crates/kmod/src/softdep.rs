//! Soft dependencies: modules that should be loaded before or after another one, which loads without them too.

/// One `softdep` entry (modprobe.d(5), "softdep"). Names may be aliases and may be spelled with `-`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "index", derive(serde::Serialize, serde::Deserialize))]
pub struct Softdep {
    /// Modules to load before.
    pub pre: Vec<String>,
    /// Modules to load after.
    pub post: Vec<String>,
}

impl Softdep {
    /// Parses the value of a `softdep=` entry: `pre: a b post: c`. Like kmod, ignores names before the first `pre:` or
    /// `post:`.
    pub fn parse(text: &str) -> Self {
        let mut softdep = Self::default();
        let mut current: Option<&mut Vec<String>> = None;
        for word in text.split_ascii_whitespace() {
            match word {
                "pre:" => current = Some(&mut softdep.pre),
                "post:" => current = Some(&mut softdep.post),
                name => {
                    if let Some(list) = current.as_mut() {
                        list.push(name.to_owned());
                    }
                }
            }
        }
        softdep
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_directions() {
        let softdep = Softdep::parse("ignored pre: crypto-crc32c  nls post: b");
        assert_eq!(softdep.pre, ["crypto-crc32c", "nls"]);
        assert_eq!(softdep.post, ["b"]);
    }
}
