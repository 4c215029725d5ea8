//! Makes single-line text from outside safe for a terminal.

/// Whether a character neither controls a terminal nor changes how others look. Not printable are control characters
/// (C0 and C1), characters that change the direction of text (Unicode Standard Annex 9), other line separators, and
/// invisible characters that hide differences.
pub fn is_printable(char: char) -> bool {
    !char.is_control()
        && !matches!(
            char,
            '\u{ad}'                        // soft hyphen
                | '\u{61c}'                 // Arabic letter mark
                | '\u{180e}'                // Mongolian vowel separator
                | '\u{200b}'                // zero width space
                | '\u{200e}' | '\u{200f}'   // marks of direction
                | '\u{2028}' | '\u{2029}'   // separators of lines and paragraphs
                | '\u{202a}'..='\u{202e}'   // embeddings and overrides
                | '\u{2060}'..='\u{206f}'   // invisible operators, isolates, deprecated format characters
                | '\u{feff}'                // byte order mark
                | '\u{fff9}'..='\u{fffb}'   // interlinear annotation
                | '\u{e0000}'..='\u{e007f}' // tags
        )
}

/// Makes text from outside safe for one line of a terminal. Characters that would control the terminal, or reorder or
/// hide other text, are shown as escapes (`\u{1b}`); a line end or a tab becomes a space.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\n' | '\t' => out.push(' '),
            char if is_printable(char) => out.push(char),
            char => out.extend(char.escape_unicode()),
        }
    }
    out
}

/// Makes text of several lines safe for a terminal: each line is [`printable`], and secrets are
/// [removed](crate::redacted).
pub fn for_terminal(text: &str) -> String {
    let lines: Vec<String> = crate::redacted(text).split('\n').map(printable).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_would_be_done_is_shown() {
        for (text, expected) in [
            ("rocrand 6.4-1", "rocrand 6.4-1"),
            ("größer: 日本語 👩‍🔬", "größer: 日本語 👩‍🔬"),
            ("two\nlines\tand more", "two lines and more"),
            ("\u{1b}[2J\u{1b}]0;title\u{7}", r"\u{1b}[2J\u{1b}]0;title\u{7}"),
            ("over\rwritten\u{8}", r"over\u{d}written\u{8}"),
            ("\u{9b}31m", r"\u{9b}31m"),
            ("user\u{202e}txt.exe\u{2066}", r"user\u{202e}txt.exe\u{2066}"),
            ("a\u{200b}b\u{feff}", r"a\u{200b}b\u{feff}"),
        ] {
            assert_eq!(printable(text), expected);
        }
    }

    #[test]
    fn lines_stay_lines() {
        let text = "one\u{1b}[2J\n  two: http://me:pw@h/\n";
        assert_eq!(for_terminal(text), "one\\u{1b}[2J\n  two: http://(not shown)@h/\n");
    }

    proptest! {
        #[test]
        fn nothing_that_controls_is_left(text in "\\PC*|[\u{0}-\u{9f}]{0,20}|[\u{200b}-\u{206f}]{0,20}") {
            let shown = printable(&text);
            prop_assert!(shown.chars().all(is_printable), "{shown:?}");
            prop_assert_eq!(printable(&shown), shown, "twice is once");
        }
    }
}
