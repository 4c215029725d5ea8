//! "Did you mean": finds the known words that are nearest to an unknown one.
//!
//! Package names, kernel modules, recipe keys and recipes use the same rule, so that they all tolerate the same
//! mistakes.

/// The largest number of words in the result.
const SHOWN: usize = 5;

/// The shortest word, in characters, that is also searched inside of longer ones.
const MIN_INSIDE: usize = 3;

/// At most five of `known` that a person who wrote `wanted` may have meant, best first: words with few typing
/// mistakes, then words that contain it. The order depends on the words alone.
pub fn nearest<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted_chars: Vec<char> = wanted.chars().collect();
    // In a short word, a single mistake may already make another word.
    let limit = (wanted_chars.len() / 3).clamp(1, 3);
    let mut found: Vec<(usize, usize, &str)> = known
        .into_iter()
        .filter(|word| *word != wanted)
        .filter_map(|word| {
            // Comparing lengths in bytes, which are never fewer than characters, rules out most words cheaply.
            let difference = word.len().abs_diff(wanted.len());
            if word.is_ascii() && wanted.is_ascii() && difference > limit {
                return inside(wanted, &wanted_chars, word).then_some((limit + 1, difference, word));
            }
            let chars: Vec<char> = word.chars().collect();
            let distance = distance(&wanted_chars, &chars);
            if distance <= limit && distance < wanted_chars.len() {
                return Some((distance, difference, word));
            }
            inside(wanted, &wanted_chars, word).then_some((limit + 1, difference, word))
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found.into_iter().map(|(_, _, word)| word).take(SHOWN).collect()
}

fn inside(wanted: &str, chars: &[char], word: &str) -> bool {
    chars.len() >= MIN_INSIDE && word.contains(wanted)
}

/// The number of characters to add, remove or change to get from one word to the other (Levenshtein); two swapped
/// neighbours count as one mistake.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX / 2);
            let mut best = (at(&last, j) + usize::from(x != y)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            if i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x) {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_come_before_longer_names() {
        let known = ["rocminfo", "rocm-smi", "librocm-smi-dev", "rocm-cmake", "zsh"];
        assert_eq!(nearest("rocmifno", known), ["rocminfo"]);
        assert_eq!(nearest("rocm-sim", known), ["rocm-smi"]);
        assert_eq!(nearest("rocm-", known), ["rocm-smi", "rocm-cmake", "librocm-smi-dev"]);
    }

    #[test]
    fn nothing_far_fetched() {
        assert!(nearest("xyzzy", ["rocminfo", "zsh"]).is_empty());
        assert!(nearest("sector-size", ["install", "remove", "exclude"]).is_empty());
        assert!(nearest("", ["a", "install"]).is_empty());
        assert!(nearest("x", ["y"]).is_empty(), "a word of one letter that differs in it is another word");
    }

    #[test]
    fn keys_and_modules() {
        let keys = ["install", "remove", "exclude"];
        assert_eq!(nearest("instal", keys), ["install"]);
        assert_eq!(nearest("exclud", keys), ["exclude"]);
        assert_eq!(nearest("e1000", ["e1000e", "mdio"]), ["e1000e"]);
    }

    #[test]
    fn distances() {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        for (a, b, expected) in [("kitten", "sitting", 3), ("ab", "ba", 1), ("", "abc", 3), ("", "", 0), ("ä", "a", 1)]
        {
            assert_eq!(distance(&chars(a), &chars(b)), expected, "{a} {b}");
        }
    }
}
