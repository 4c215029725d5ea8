//! Writes XML 1.0 that is well-formed for any text.

use std::fmt::Write as _;

/// Escapes text for content and attributes. Characters that XML 1.0 cannot represent (section 2.2, `Char`) become
/// U+FFFD.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // In attributes, parsers turn these into spaces unless they are escaped.
            '\t' | '\n' | '\r' => write!(out, "&#{};", u32::from(char)).unwrap_or_default(),
            '\0'..='\x1f' | '\u{7f}'..='\u{84}' | '\u{86}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            _ => out.push(char),
        }
    }
    out
}

/// Formats seconds with milliseconds, for users and XML Schema.
pub(crate) fn seconds(seconds: f64) -> String {
    format!("{:.3}", if seconds.is_finite() { seconds.max(0.0) } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_can_be_read_back(text: String) {
            let xml = format!("<a b=\"{0}\">{0}</a>", escape(&text));
            let document = roxmltree::Document::parse(&xml).unwrap();
            let expected: String = text.chars().map(|char| match char {
                '\t' | '\n' | '\r' | '\u{85}' => char,
                '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
                char if char.is_control() => '\u{fffd}',
                char => char,
            }).collect();
            prop_assert_eq!(document.root_element().attribute("b").unwrap_or_default(), expected.as_str());
            prop_assert_eq!(document.root_element().text().unwrap_or_default(), expected.as_str());
        }
    }

    #[test]
    fn times_are_numbers() {
        assert_eq!(seconds(1.23456), "1.235");
        assert_eq!(seconds(f64::NAN), "0.000");
    }
}
