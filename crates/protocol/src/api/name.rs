//! Short names of workers, which people can say and type.

/// Maximum length of a short name in characters, without the number that makes it unique.
pub const LONGEST_NAME: usize = 24;

/// Host names that say nothing about a machine.
const GENERIC: [&str; 6] = ["rocbed", "localhost", "debian", "none", "linux", "unknown"];

/// Makes a short name of a text, such as `ROG STRIX X570-E GAMING`: lower-case letters and digits with dashes between
/// words, at most [`LONGEST_NAME`] characters, cut between words where that is possible. What stands in parentheses is
/// left out. `None` if nothing remains that names a machine.
pub fn short_name(text: &str) -> Option<String> {
    let mut words: Vec<String> = vec![String::new()];
    let mut depth = 0_usize;
    for char in text.chars().take(200) {
        match char {
            '(' => depth = depth.saturating_add(1),
            ')' => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            _ if char.is_ascii_alphanumeric() => {
                if let Some(word) = words.last_mut() {
                    word.push(char.to_ascii_lowercase());
                }
            }
            _ => words.push(String::new()),
        }
    }
    words.retain(|word| !word.is_empty());
    let mut name = String::new();
    for word in &words {
        let dash = usize::from(!name.is_empty());
        if name.len().saturating_add(dash).saturating_add(word.len()) > LONGEST_NAME {
            break;
        }
        if dash > 0 {
            name.push('-');
        }
        name.push_str(word);
    }
    if name.is_empty() {
        // One long word.
        name = words.first()?.chars().take(LONGEST_NAME).collect();
    }
    (!GENERIC.contains(&name.as_str())).then_some(name)
}

/// Whether an id is a name that people can say, and not a serial number, an address of a network card or random digits.
pub fn is_sayable(id: &str) -> bool {
    let is_number = |part: &str| {
        part.len() >= 8
            && part.bytes().all(|byte| byte.is_ascii_hexdigit())
            && part.bytes().any(|byte| byte.is_ascii_digit())
    };
    id.len() <= LONGEST_NAME && !id.split(['-', '_', '.', ':', '@', '+']).any(is_number) && !id.contains(':')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::check_id;
    use proptest::prelude::*;

    #[test]
    fn products_and_boards_become_names() {
        for (text, expected) in [
            ("ROG STRIX X570-E GAMING\n", Some("rog-strix-x570-e-gaming")),
            ("Standard PC (Q35 + ICH9, 2009)", Some("standard-pc")),
            ("PowerEdge R7525", Some("poweredge-r7525")),
            ("Super Server with a very long product name", Some("super-server-with-a-very")),
            ("gpu7.lab.example", Some("gpu7-lab-example")),
            ("antidisestablishmentarianism", Some("antidisestablishmentaria")),
            ("rocbed", None),
            ("(none)", None),
            ("éü", None),
        ] {
            assert_eq!(short_name(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn serial_numbers_are_not_sayable() {
        for id in ["w1", "lab-mi300x", "desk-7900xtx", "clock-1h-slow", "facade-deadbeef"] {
            assert!(is_sayable(id), "{id}");
        }
        for id in [
            "4c4c4544-0051-3510-8052-b4c04f4e3732",
            "mac-3cecef001122",
            "random-0123456789abcdef0123456789abcdef",
            "00:11:22:33:44:55",
        ] {
            assert!(!is_sayable(id), "{id}");
        }
    }

    proptest! {
        #[test]
        fn any_text_becomes_a_name_that_is_an_id_or_none(text: String) {
            if let Some(name) = short_name(&text) {
                prop_assert!(check_id("name", &name).is_ok() && name.len() <= LONGEST_NAME, "{}", name);
                prop_assert_eq!(short_name(&name), Some(name.clone()));
            }
        }
    }
}
