//! Soft dependencies: modules that should be loaded around another, without which it still loads.

/// What one `softdep` entry asks for (modprobe.d(5), "softdep"). Names may be aliases and may be spelled with `-`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Softdep {
    /// To be loaded before the module.
    pub pre: Vec<String>,
    /// To be loaded after the module.
    pub post: Vec<String>,
}

impl Softdep {
    /// Reads the value of a `softdep=` entry: `pre: a b post: c`. Like kmod, names before any `pre:` or `post:` are
    /// ignored.
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
