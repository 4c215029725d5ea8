//! Lists of domains in DNS's form (RFC 3397, RFC 1035 section 4.1.4).

/// Parses the domains of option 119. An invalid name ends the list: what comes after it can't be trusted.
pub(super) fn parse(bytes: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let Some((name, end)) = name(bytes, at) else { break };
        at = end;
        if is_domain(&name) && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Whether a domain may go into resolv.conf: only letters, digits, hyphens, underscores and dots.
pub(super) fn is_domain(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// The name at `at`, and the offset of the next one.
fn name(bytes: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut name = String::new();
    let mut end = None;
    loop {
        let length = *bytes.get(at)?;
        match length {
            0 => return Some((name, end.unwrap_or(at + 1))),
            1..64 => {
                let label = bytes.get(at + 1..at + 1 + usize::from(length))?;
                if !name.is_empty() {
                    name.push('.');
                }
                name.push_str(std::str::from_utf8(label).ok()?);
                at += 1 + usize::from(length);
            }
            // A pointer. It has to point back, so a chain of them ends.
            192.. => {
                let target = usize::from(length & 63) << 8 | usize::from(*bytes.get(at + 1)?);
                end.get_or_insert(at + 2);
                at = if target < at { target } else { return None };
            }
            _ => return None,
        }
        // A pointer back into a name that runs into the pointer again is a loop that grows the name.
        if name.len() > 255 {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_rfc_3397() {
        // "eng.apple.com." and "marketing.apple.com.", the second with a pointer to the first's end.
        let bytes = b"\x03eng\x05apple\x03com\x00\x09marketing\xc0\x04";
        assert_eq!(parse(bytes), ["eng.apple.com", "marketing.apple.com"]);
    }

    #[test]
    fn circles_and_cuts_end_the_list() {
        assert_eq!(parse(b"\x03lab\x00\xc0\x05"), ["lab"]);
        assert_eq!(parse(b"\x03lab\x00\x01a\xc0\x05"), ["lab"]);
        assert_eq!(parse(b"\x03lab\x00\x07exam"), ["lab"]);
        assert_eq!(parse(b"\x05a\nb c\x00"), [""; 0]);
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0_u8..8, Just(192)], 0..400)) {
            prop_assert!(parse(&bytes).iter().all(|name| is_domain(name)));
        }
    }
}
