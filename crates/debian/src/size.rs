//! `Installed-Size` (deb-control(5)).

/// Kibibytes that an `Installed-Size` says. As with apt, digits count up to the first other letter: `12k` and `12.5` are 12.
/// `None` if there are none, or too many.
pub fn installed_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::installed_size;

    #[test]
    fn as_apt_reads_it() {
        for (text, expected) in [("88", Some(88)), ("12k", Some(12)), ("1.5", Some(1)), ("", None), ("-1", None)] {
            assert_eq!(installed_size(text), expected, "{text:?}");
        }
        assert_eq!(installed_size(&"9".repeat(30)), None);
    }
}
