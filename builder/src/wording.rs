//! Words as people read them: [`counted`] and [`capital`].

/// A number and what it counts: `1 entry`, `0 entries`.
pub fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// The text with a capital letter first.
pub fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular_and_none_is_not() {
        let entries = |count| counted(count, "entry", "entries");
        assert_eq!([entries(0), entries(1), entries(2)], ["0 entries", "1 entry", "2 entries"]);
    }

    #[test]
    fn a_capital_may_be_outside_of_ascii() {
        assert_eq!([capital(""), capital("error"), capital("état")], ["", "Error", "État"]);
    }
}
