//! Matching of the patterns in `modules.alias`: fnmatch(3) without flags.

/// Whether a pattern matches the whole text: `*` is any run, `?` any byte, `[a-f0]` one of these, `[!a]` any other,
/// `\x` is `x`. An unclosed `[` stands for itself. Takes at most `pattern.len() * text.len()` steps.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Position to continue from after a mismatch: behind the last star, with that star taking one byte more.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, t));
            continue;
        }
        let step = text.get(t).and_then(|byte| match_one(pattern.get(p..).unwrap_or_default(), *byte));
        match (step, retry) {
            (Some(length), _) => {
                p += length;
                t += 1;
            }
            (None, _) if t == text.len() && p == pattern.len() => return true,
            (None, Some((after_star, taken))) if taken < text.len() => {
                retry = Some((after_star, taken + 1));
                (p, t) = (after_star, taken + 1);
            }
            (None, _) => return false,
        }
    }
}

/// Number of bytes of the pattern that match this one byte; `None` if it does not match.
fn match_one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'[', set @ ..] => match bracket(set, byte) {
            Some((true, length)) => Some(length + 1),
            Some((false, _)) => None,
            None => (byte == b'[').then_some(1),
        },
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [literal, ..] => (*literal == byte).then_some(1),
        [] => None,
    }
}

/// Whether a set, given from behind its `[`, contains the byte, and the set's length with the `]`. `None` if it is
/// unclosed.
fn bracket(set: &[u8], byte: u8) -> Option<(bool, usize)> {
    let negated = matches!(set.first(), Some(b'!' | b'^'));
    let mut at = usize::from(negated);
    let first = at;
    let mut found = false;
    loop {
        match set.get(at..)? {
            [b']', ..] if at > first => return Some((found != negated, at + 1)),
            [low, b'-', high, ..] if *high != b']' => {
                found |= (*low..=*high).contains(&byte);
                at += 3;
            }
            [one, ..] => {
                found |= *one == byte;
                at += 1;
            }
            [] => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn matches_like_fnmatch() {
        let table = [
            ("virtio:d00000002v*", "virtio:d00000002v00001AF4", true),
            ("virtio:d00000002v*", "virtio:d00000001v00001AF4", false),
            ("pci:v*d*sv*sd*bc01sc08i02*", "pci:v00001B36d00000010sv00001AF4sd00001100bc01sc08i02", true),
            ("usb:v054Cp002Ed01[0-9]*dc*", "usb:v054Cp002Ed0107dc00", true),
            ("usb:v054Cp002Ed01[0-9]*dc*", "usb:v054Cp002Ed01A7dc00", false),
            ("a[!b-d]e", "aae", true),
            ("a[!b-d]e", "ace", false),
            ("a[]]b", "a]b", true),
            ("a[b", "a[b", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("a*b*c", "a__b__b_c", true),
            ("a*b*c", "a__b__b_d", false),
            (r"a\*", "a*", true),
            (r"a\*", "ab", false),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        assert!(!matches(&format!("{}b", "*a".repeat(60)), &"a".repeat(2000)));
    }

    proptest! {
        #[test]
        fn a_text_without_special_bytes_matches_itself_only(text in "[a-z0-9:_]{0,20}", other in "[a-z0-9:_]{0,20}") {
            prop_assert!(matches(&text, &text));
            prop_assert_eq!(matches(&text, &other), text == other);
        }

        #[test]
        fn anything_goes_in(pattern in "[a\\[\\]!*?\\\\-]{0,12}", text in "[ab\\[\\]-]{0,12}") {
            matches(&pattern, &text);
            let literal = text.replace('[', "\\[");
            prop_assert!(matches(&(literal + "*"), &text));
        }
    }
}
