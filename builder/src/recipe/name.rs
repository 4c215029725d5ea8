//! Names of recipes: the file name without `.toml`, so nearly any text. Image directories have the same name; where
//! only some characters are allowed, [`Recipe::key`] is used.

use std::path::Path;

use sha256::Digest;

use super::Recipe;

/// Maximum length in bytes of a name that is used as its own key.
const LONGEST: usize = 64;

/// Number of characters of any other name that its key begins with, for people who look into the cache.
const SHOWN: usize = 24;

/// Number of hexadecimal digits of the name's digest in a key.
const DIGITS: usize = 32;

impl Recipe {
    /// The name with only ASCII letters, digits, `.`, `_` and `-`, at most 64 characters, and not starting with `.`.
    /// Two names do not have the same key, unless one was made on purpose to collide.
    pub fn key(&self) -> String {
        key(&self.name)
    }

    /// The name as an argument on the command line, quoted for a shell if needed.
    pub fn asked(&self) -> String {
        for_shell(&self.path.as_ref().map_or_else(|| self.name.clone(), |path| path.display().to_string()))
    }
}

/// Reason why no directory can have this name, if there is one.
pub(super) fn refused(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("it has no name but its ending"),
        "." | ".." => Some("`.` and `..` stand for directories"),
        name if name.contains(['/', '\0']) => Some("names have neither a slash nor a NUL in them"),
        _ => None,
    }
}

fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || "._-".contains(character)
}

fn key(name: &str) -> String {
    if !name.is_empty() && name.len() <= LONGEST && !name.starts_with('.') && name.chars().all(is_plain) {
        return name.to_owned();
    }
    let plain = |character| if is_plain(character) { character } else { '_' };
    let shown: String = name.trim_start_matches('.').chars().take(SHOWN).map(plain).collect();
    let digest = Digest::of(name.as_bytes()).to_string();
    format!("_{shown}-{}", digest.get(..DIGITS).unwrap_or_default())
}

/// Quotes a word for a shell (POSIX.1-2017, Shell Command Language, 2.2.2).
fn for_shell(word: &str) -> String {
    let is_safe = |character: char| character.is_ascii_alphanumeric() || "._-/+,:@%=".contains(character);
    if !word.is_empty() && word.chars().all(is_safe) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Name of the recipe in this file.
pub(super) fn of_file(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn usual_names_are_their_own_keys() {
        for name in ["smoke", "rocm-full", "v1.2_3", &"x".repeat(64)] {
            assert_eq!(key(name), name);
        }
        assert_eq!(key("my recipe"), format!("_my_recipe-{}", &Digest::of(b"my recipe").to_string()[..32]));
        assert!(key("größe").starts_with("_gr__e-") && key("rocm+exp").starts_with("_rocm_exp-"));
        assert!(key(".hidden").starts_with("_hidden-"));
    }

    #[test]
    fn only_what_no_directory_can_be_named_is_refused() {
        for name in ["my recipe", "größe", "rocm+exp", "-x", "~", "...", "a\nb", "$(id)", &"ü".repeat(125)] {
            assert_eq!(refused(name), None, "{name:?}");
        }
        for name in ["", ".", "..", "a/b", "a\0b"] {
            assert!(refused(name).is_some(), "{name:?}");
        }
    }

    #[test]
    fn commands_in_messages_can_be_typed() {
        for (word, expected) in [
            ("./my.toml", "./my.toml"),
            ("my recipe", "'my recipe'"),
            ("größe", "'größe'"),
            ("it's", "'it'\\''s'"),
            ("$(id)", "'$(id)'"),
        ] {
            assert_eq!(for_shell(word), expected);
        }
    }

    proptest! {
        #[test]
        fn keys_are_kept_by_the_store_and_differ(one: String, other: String) {
            let plain = |key: &str| {
                !key.is_empty() && key.len() <= LONGEST && !key.starts_with('.') && key.chars().all(is_plain)
            };
            prop_assert!(plain(&key(&one)), "{}", key(&one));
            prop_assert_eq!(key(&one) == key(&other), one == other);
        }
    }
}
