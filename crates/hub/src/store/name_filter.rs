//! [`NameFilter`]: which names a filter selects.

/// A name, or a pattern for names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NameFilter {
    /// Exactly this one.
    Exact(String),
    /// What this pattern of `SQLite`'s `GLOB`, without capitals, matches.
    Pattern(String),
}

impl NameFilter {
    /// Reads the filter of a program: a name, or a pattern with `*` and `?`, which no package's name has. `None` if it is
    /// empty.
    pub(crate) fn of_program(text: &str) -> Option<Self> {
        match text {
            "" => None,
            text if is_pattern(text) => Some(Self::Pattern(glob(text))),
            text => Some(Self::Exact(text.to_owned())),
        }
    }

    /// Reads what somebody has typed: a pattern, or text that names contain, in upper or lower case. `None` if it is
    /// empty.
    pub(crate) fn typed(text: &str) -> Option<Self> {
        Self::of_program(&for_program(text))
    }

    /// The operator that compares a column with [`NameFilter::value`].
    pub(crate) fn operator(&self) -> &'static str {
        match self {
            Self::Exact(_) => "=",
            Self::Pattern(_) => "GLOB",
        }
    }

    /// The right side of the operator.
    pub(crate) fn value(&self) -> &String {
        match self {
            Self::Exact(text) | Self::Pattern(text) => text,
        }
    }
}

/// What a program has to ask for, to get what somebody wants who typed this. Names of packages have no capitals.
pub(crate) fn for_program(typed: &str) -> String {
    match typed.trim().to_lowercase().as_str() {
        "" => String::new(),
        text if is_pattern(text) => text.to_owned(),
        text => format!("*{text}*"),
    }
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// A pattern without capitals in which only `*` and `?` have a meaning.
fn glob(text: &str) -> String {
    text.to_lowercase().replace('[', "[[]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rusqlite::Connection;

    fn selects(filter: Option<NameFilter>, name: &str) -> bool {
        let db = Connection::open_in_memory().expect("a database");
        filter.is_none_or(|filter| {
            let sql = format!("SELECT ?1 {} ?2", filter.operator());
            db.query_row(&sql, [name, filter.value()], |row| row.get(0)).expect("an answer")
        })
    }

    #[test]
    fn text_is_looked_for_and_patterns_match_whole_names() {
        for (typed, name, found) in [
            ("fft", "rocfft", true),
            (" FFT ", "rocfft", true),
            ("fft*", "rocfft", false),
            ("*fft", "rocfft", true),
            ("roc?ft", "rocfft", true),
            ("", "rocfft", true),
            ("[a-z]", "rocfft", false),
            ("[x", "a[xb", true),
            ("'; DROP TABLE jobs", "rocfft", false),
        ] {
            assert_eq!(selects(NameFilter::typed(typed), name), found, "{typed}");
        }
        assert!(
            selects(NameFilter::of_program("rocfft"), "rocfft") && !selects(NameFilter::of_program("fft"), "rocfft")
        );
        assert!(selects(NameFilter::of_program("*fft"), "rocfft"));
    }

    proptest! {
        #[test]
        fn a_name_is_found_by_each_part_of_it(before in "[a-z0-9.+-]{0,9}", part in "[a-z0-9.+-]{1,9}", after in "[a-z]{0,9}") {
            let name = [before, part.clone(), after].concat();
            prop_assert!(selects(NameFilter::typed(&part), &name));
        }

        #[test]
        fn any_text_is_a_filter(text in ".{0,30}") {
            let _ = selects(NameFilter::typed(&text), "rocfft");
            let _ = selects(NameFilter::of_program(&text), "rocfft");
        }
    }
}
