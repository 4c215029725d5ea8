//! Converts a log to HTML: text is escaped, colours (ECMA-48, section 8.3.117, SGR) become classes, other control
//! sequences are removed.

use std::fmt::Write;

/// Current text attributes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Look {
    front: Option<u8>,
    back: Option<u8>,
    bold: bool,
    dim: bool,
    italic: bool,
    underline: bool,
    reverse: bool,
}

impl Look {
    fn classes(self) -> String {
        let mut classes = Vec::new();
        let flags = [(self.bold, "b"), (self.dim, "d"), (self.italic, "i"), (self.underline, "u"), (self.reverse, "r")];
        classes.extend(flags.into_iter().filter(|(on, _)| *on).map(|(_, name)| name.to_owned()));
        classes.extend(self.front.map(|colour| format!("f{colour}")));
        classes.extend(self.back.map(|colour| format!("g{colour}")));
        classes.join(" ")
    }

    /// Applies the parameters of one SGR sequence.
    fn apply(&mut self, parameters: &str) {
        let mut codes =
            parameters.split([';', ':']).map(|text| if text.is_empty() { Some(0) } else { text.parse().ok() });
        while let Some(code) = codes.next() {
            let Some(code) = code else { continue };
            match code {
                0 => *self = Self::default(),
                1 => self.bold = true,
                2 => self.dim = true,
                3 => self.italic = true,
                4 => self.underline = true,
                7 => self.reverse = true,
                22 => (self.bold, self.dim) = (false, false),
                23 => self.italic = false,
                24 => self.underline = false,
                27 => self.reverse = false,
                30..=37 => self.front = Some(code as u8 - 30),
                38 => self.front = extended(&mut codes).or(self.front),
                39 => self.front = None,
                40..=47 => self.back = Some(code as u8 - 40),
                48 => self.back = extended(&mut codes).or(self.back),
                49 => self.back = None,
                90..=97 => self.front = Some(code as u8 - 90 + 8),
                100..=107 => self.back = Some(code as u8 - 100 + 8),
                _ => {}
            }
        }
    }
}

/// A 256-colour or RGB colour, as the nearest of the sixteen basic ones.
fn extended(codes: &mut impl Iterator<Item = Option<u16>>) -> Option<u8> {
    let mut next = || codes.next().flatten();
    match next()? {
        5 => match next()? {
            colour @ 0..=15 => Some(colour as u8),
            colour @ 16..=231 => {
                let cube = colour - 16;
                Some(nearest(cube / 36 * 51, cube / 6 % 6 * 51, cube % 6 * 51))
            }
            grey @ 232..=255 => Some(nearest((grey - 232) * 10, (grey - 232) * 10, (grey - 232) * 10)),
            _ => None,
        },
        2 => Some(nearest(next()?, next()?, next()?)),
        _ => None,
    }
}

fn nearest(red: u16, green: u16, blue: u16) -> u8 {
    let strong = red.max(green).max(blue);
    let on = |part: u16, bit: u8| if u32::from(part) * 2 > u32::from(strong) { bit } else { 0 };
    match strong {
        0..=60 => 0,
        61..=200 => on(red, 1) | on(green, 2) | on(blue, 4),
        _ => on(red, 1) | on(green, 2) | on(blue, 4) | 8,
    }
}

/// Converts consecutive pieces of one log to HTML; a colour that starts in one piece continues in the next.
#[derive(Debug, Default)]
pub(crate) struct Converter {
    look: Look,
}

impl Converter {
    /// Converts a piece, best cut at the ends of lines.
    pub(crate) fn html(&mut self, bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes);
        let mut out = String::with_capacity(text.len() + text.len() / 8);
        for line in text.split_inclusive('\n') {
            self.line(last_written(line), &mut out);
            if line.ends_with('\n') {
                out.push('\n');
            }
        }
        out
    }

    fn line(&mut self, line: &str, out: &mut String) {
        let (mut rest, mut open) = (line, false);
        while !rest.is_empty() {
            let plain = rest.find('\u{1b}').unwrap_or(rest.len());
            let (text, after) = rest.split_at(plain);
            if !text.is_empty() {
                if !open && self.look != Look::default() {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "<span class=\"{}\">", self.look.classes());
                    open = true;
                }
                escape(text, out);
            }
            let (parameters, after) = sequence(after);
            if let Some(parameters) = parameters {
                if open {
                    out.push_str("</span>");
                    open = false;
                }
                self.look.apply(parameters);
            }
            rest = after;
        }
        if open {
            out.push_str("</span>");
        }
    }
}

/// The visible text of a line with carriage returns, without the line's end.
fn last_written(line: &str) -> &str {
    let line = line.trim_end_matches(['\n', '\r']);
    line.rsplit('\r').next().unwrap_or(line)
}

fn escape(text: &str, out: &mut String) {
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' => out.push('\t'),
            // Control characters are dropped; those that change the direction of text could make it look different.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            _ if char.is_control() => {}
            _ => out.push(char),
        }
    }
}

/// Parses an escape sequence at the start of a text (ECMA-48, section 5.4). Returns its parameters if it is SGR, and
/// the text after it.
fn sequence(text: &str) -> (Option<&str>, &str) {
    let Some(after) = text.strip_prefix('\u{1b}') else { return (None, text) };
    if let Some(rest) = after.strip_prefix('[') {
        let end = rest.find(|char: char| !matches!(char, '\u{20}'..='\u{3f}'));
        let Some((parameters, rest)) = end.map(|end| rest.split_at(end)) else { return (None, "") };
        return match rest.strip_prefix('m') {
            Some(rest) => (Some(parameters), rest),
            // Another sequence, or an unterminated one, which is shown as text.
            None => (None, rest.strip_prefix(|char: char| matches!(char, '\u{40}'..='\u{7e}')).unwrap_or(rest)),
        };
    }
    if let Some(rest) = after.strip_prefix([']', 'P', '_', '^', 'X']) {
        // A string for the terminal, up to BEL or ST.
        let end = rest.find(['\u{7}', '\u{1b}', '\u{9c}']);
        let Some((_, rest)) = end.map(|end| rest.split_at(end)) else { return (None, "") };
        let rest = rest.strip_prefix("\u{1b}\\").or_else(|| rest.strip_prefix(['\u{7}', '\u{9c}'])).unwrap_or(rest);
        return (None, rest);
    }
    let mut chars = after.chars();
    chars.next();
    (None, chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn html(text: &str) -> String {
        Converter::default().html(text.as_bytes())
    }

    #[test]
    fn colours_become_classes() {
        for (text, expected) in [
            ("\x1b[31mred\x1b[0m plain", "<span class=\"f1\">red</span> plain"),
            ("\x1b[1;32mgood\x1b[m", "<span class=\"b f2\">good</span>"),
            ("\x1b[91;44mx", "<span class=\"f9 g4\">x</span>"),
            ("\x1b[38;5;196mx\x1b[39my", "<span class=\"f9\">x</span>y"),
            ("\x1b[38;2;0;120;0mx", "<span class=\"f2\">x</span>"),
            ("\x1b[7mx\x1b[27my", "<span class=\"r\">x</span>y"),
        ] {
            assert_eq!(html(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_colour_goes_on_in_the_next_line_and_piece() {
        let mut converter = Converter::default();
        assert_eq!(converter.html(b"\x1b[31ma\nb\n"), "<span class=\"f1\">a</span>\n<span class=\"f1\">b</span>\n");
        assert_eq!(converter.html(b"c"), "<span class=\"f1\">c</span>");
    }

    #[test]
    fn nothing_executes() {
        for (text, expected) in [
            ("<script>alert('1')</script>", "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;"),
            ("\x1b]8;;javascript:alert(1)\x07link\x1b]8;;\x07", "link"),
            ("\x1b]0;title\x1b\\x", "x"),
            ("\x1b[31\"onclick=1mx", "nclick=1mx"),
            ("a\x1b[2Kb\x1b[1;1Hc\u{202e}d\x08\0", "abcd"),
            ("10%\r50%\r100%\r\n", "100%\n"),
            ("\x1b[", ""),
            ("\x1b", ""),
        ] {
            assert_eq!(html(text), expected, "{text:?}");
        }
    }

    proptest! {
        /// Whatever a log contains, the only tags in the output are the converter's own.
        #[test]
        fn only_our_tags(text in "([<>&\"'a-z\x1b\\[\\];0-9m\r\n]|\\PC){0,80}") {
            let html = html(&text);
            let mut rest = html.as_str();
            while let Some(at) = rest.find('<') {
                rest = &rest[at..];
                let ours = rest.starts_with("</span>") || rest.strip_prefix("<span class=\"").is_some_and(|rest| {
                    let end = rest.find("\">");
                    end.is_some_and(|end| rest[..end].chars().all(|c| c.is_ascii_alphanumeric() || c == ' '))
                });
                prop_assert!(ours, "{}", html);
                rest = &rest[1..];
            }
            prop_assert!(!html.contains(['\r', '\x1b']));
        }

        #[test]
        fn any_bytes(bytes: Vec<u8>) {
            let _ = Converter::default().html(&bytes);
        }
    }
}
