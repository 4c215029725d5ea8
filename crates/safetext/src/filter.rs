//! Filters logs of untrusted programs for a terminal: keeps colours, and removes all other control sequences.

use crate::is_printable;

/// Longest control sequence that is parsed, in bytes; no colour needs more.
const LONGEST: usize = 64;

/// State of the parser.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// In a control sequence (ECMA-48, 5.4), with its bytes so far.
    Sequence(Vec<u8>),
    /// In a control string, such as a title (ECMA-48, 5.6), which ends with BEL or ESC.
    String,
    /// In a UTF-8 character that may have to be filtered: a C1 control character of ECMA-48, or one that reorders or
    /// hides other text.
    Wide(Wide),
}

/// The first bytes of a UTF-8 character, which is still incomplete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wide {
    bytes: [u8; 3],
    /// Number of bytes so far.
    count: usize,
    /// Number of bytes of the whole character.
    whole: usize,
}

impl Wide {
    /// Starts a character with this byte, if it may be one that [`is_printable`](crate::is_printable) refuses.
    fn new(first: u8) -> Option<Self> {
        let whole = match first {
            0xc2 | 0xd8 => 2,
            0xe1 | 0xe2 | 0xef => 3,
            0xf3 => 4,
            _ => return None,
        };
        Some(Self { bytes: [first, 0, 0], count: 1, whole })
    }

    /// Adds the next byte, which continues the character.
    fn push(mut self, byte: u8, out: &mut Vec<u8>) -> State {
        if self.count + 1 < self.whole
            && let Some(place) = self.bytes.get_mut(self.count)
        {
            *place = byte;
            self.count += 1;
            return State::Wide(self);
        }
        let bytes: Vec<u8> = self.so_far().iter().copied().chain([byte]).collect();
        match std::str::from_utf8(&bytes).ok().and_then(|text| text.chars().next()) {
            // Dropped, like those of the C0 set: they are not meant to be read.
            Some(char) if char.is_control() => {}
            Some(char) if !is_printable(char) => out.extend(char.escape_unicode().to_string().into_bytes()),
            _ => out.extend(bytes),
        }
        State::Text
    }

    fn so_far(&self) -> &[u8] {
        self.bytes.get(..self.count).unwrap_or_default()
    }
}

/// Passes on text, line ends, tabs and colours (SGR, ECMA-48, 8.3.117), and drops everything else that a terminal would
/// act on: cursor movement, clearing, titles, queries that it would answer. Characters that reorder or hide text are
/// shown as escapes (`\u{202e}`). Takes a log in pieces.
#[derive(Debug, Default)]
pub struct Filter {
    state: State,
}

impl Filter {
    /// Filters a piece.
    pub fn pass(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(piece.len());
        for byte in piece {
            self.state = step(std::mem::take(&mut self.state), *byte, &mut out);
        }
        out
    }
}

fn step(state: State, byte: u8, out: &mut Vec<u8>) -> State {
    const ESC: u8 = 0x1b;
    match (state, byte) {
        // ESC interrupts anything; it also starts the end of a string, which is ESC and a backslash. Other escapes have
        // intermediate bytes and a final one.
        (_, ESC) | (State::Escape, 0x20..=0x2f) => State::Escape,
        (State::Escape, b'[') => State::Sequence(Vec::new()),
        (State::Escape, b']' | b'P' | b'X' | b'^' | b'_') => State::String,
        (State::Sequence(mut sequence), 0x20..=0x3f) if sequence.len() < LONGEST => {
            sequence.push(byte);
            State::Sequence(sequence)
        }
        (State::Sequence(sequence), b'm') => {
            // Private sequences, which begin with `>` or `?`, are not colours.
            if sequence.iter().all(|byte| byte.is_ascii_digit() || b";:".contains(byte)) {
                out.extend_from_slice(b"\x1b[");
                out.extend(sequence);
                out.push(b'm');
            }
            State::Text
        }
        (State::String, 0x07) | (State::Escape, 0x30..=0x7e) | (State::Sequence(_), 0x20..=0x7e) => State::Text,
        (State::String, _) => State::String,
        (State::Wide(wide), 0x80..=0xbf) => wide.push(byte, out),
        (State::Wide(_), _) => {
            // An incomplete character, as a terminal shows it. Passed on unchanged, it could be completed by bytes
            // after the removed ones.
            out.extend(char::REPLACEMENT_CHARACTER.to_string().into_bytes());
            step(State::Text, byte, out)
        }
        (State::Text | State::Escape | State::Sequence(_), first) if Wide::new(first).is_some() => {
            Wide::new(first).map_or(State::Text, State::Wide)
        }
        // A carriage return alone would overwrite the line.
        (_, b'\n' | b'\t' | 0x20..=0x7e | 0x80..) => {
            out.push(byte);
            State::Text
        }
        // Control characters do not end a sequence that they occur in.
        (state, _) => state,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &[u8]) -> String {
        String::from_utf8_lossy(&Filter::default().pass(text)).into_owned()
    }

    #[test]
    fn colours_stay_and_what_moves_the_cursor_goes() {
        assert_eq!(shown(b"\x1b[1;31mred\x1b[0m\tand\n"), "\x1b[1;31mred\x1b[0m\tand\n");
        assert_eq!(shown(b"a\x1b[2J\x1b[10;10Hb\rc\x07d"), "abcd");
        assert_eq!(shown(b"\x1b]0;title\x07x\x1b]52;c;aGk=\x1b\\y"), "xy");
        assert_eq!(shown(b"\x1b[?25l\x1b[>0mx\x1b(By\x1bcz"), "xyz", "nor what only looks like a colour");
        assert_eq!(shown("é \u{9b}31mü\u{a0}".as_bytes()), "é 31mü\u{a0}");
    }

    #[test]
    fn what_turns_or_hides_text_is_shown() {
        assert_eq!(shown("a\u{202e}b\u{2066}c\u{61c}\u{feff}".as_bytes()), r"a\u{202e}b\u{2066}c\u{61c}\u{feff}");
        assert_eq!(shown("\u{e0041}“日本”…\u{ffff}👩‍🔬\u{10ffff}".as_bytes()), "\\u{e0041}“日本”…\u{ffff}👩‍🔬\u{10ffff}");
        // Sequences cut between two pieces, and invalid UTF-8.
        let mut filter = Filter::default();
        assert_eq!([filter.pass(b"x\xe2\x80"), filter.pass(b"\xaey")].concat(), br"x\u{202e}y");
        assert_eq!(
            shown(b"\xe2\x80x\xc2\xc2z\xe2\xc2\x80\x80\xae"),
            "\u{fffd}x\u{fffd}\u{fffd}z\u{fffd}\u{fffd}\u{fffd}"
        );
    }

    proptest! {
        #[test]
        fn nothing_but_colours_comes_through(bytes in prop::collection::vec(prop_oneof![
            any::<u8>(), Just(0x1b), Just(b'['), Just(b']'), Just(b'm'), Just(b';'), Just(0xc2), Just(0x9b),
            Just(0xe2), Just(0x80), Just(0xae)
        ], 0..80), cut in 0..80_usize) {
            let mut filter = Filter::default();
            let (first, second) = bytes.split_at(cut.min(bytes.len()));
            let mut out = filter.pass(first);
            out.extend(filter.pass(second));
            prop_assert_eq!(&out, &Filter::default().pass(&bytes), "pieces make no difference");
            prop_assert!(!out.windows(2).any(|two| two[0] == 0xc2 && (0x80..=0x9f).contains(&two[1])), "{:?}", out);
            let text = String::from_utf8_lossy(&out);
            prop_assert!(text.chars().all(|char| char.is_control() || is_printable(char)), "{:?}", text);
            let mut rest = &out[..];
            while let Some(at) = rest.iter().position(|byte| byte.is_ascii_control() && !b"\n\t".contains(byte)) {
                prop_assert!(rest[at..].starts_with(b"\x1b["), "{:?}", rest);
                let end = rest[at + 2..].iter().position(|byte| !byte.is_ascii_digit() && !b";:".contains(byte));
                prop_assert_eq!(end.map(|end| rest[at + 2 + end]), Some(b'm'));
                rest = &rest[at + 2..];
            }
        }
    }
}
