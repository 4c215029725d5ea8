//! [`Edit`]: a change of a file that mends a finding.

use std::ops::Range;

/// A change of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Replaces a range of bytes; an empty range inserts.
    Replace {
        /// Bytes of the text as it was checked.
        range: Range<usize>,
        /// What to put there.
        text: String,
    },
    /// Gives the file execute permission.
    MakeExecutable,
}

/// Applies replacements to a text. One that overlaps with an earlier one of the list, or inserts at the same place as
/// it does, is left out: it was made for the text as it was.
pub(crate) fn apply(text: &str, edits: &[(Range<usize>, &str)]) -> String {
    let mut taken: Vec<&(Range<usize>, &str)> = Vec::new();
    for edit in edits {
        let clash = |other: &&(Range<usize>, &str)| {
            edit.0 == other.0 || (edit.0.start < other.0.end && other.0.start < edit.0.end)
        };
        if !taken.iter().any(clash) && text.get(edit.0.clone()).is_some() {
            taken.push(edit);
        }
    }
    taken.sort_by_key(|(range, _)| (range.start, range.end));
    let (mut out, mut end) = (String::with_capacity(text.len() + 64), 0);
    for (range, new) in taken {
        out.push_str(text.get(end..range.start).unwrap_or_default());
        out.push_str(new);
        end = range.end;
    }
    out.push_str(text.get(end..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::apply;

    #[test]
    fn edits_are_applied_from_the_front_and_never_over_each_other() {
        let text = "one two three";
        assert_eq!(apply(text, &[(8..13, "3"), (0..3, "1"), (1..2, "x"), (3..3, "y")]), "1y two 3");
        assert_eq!(apply(text, &[(13..13, "!"), (13..13, "?")]), "one two three!");
        assert_eq!(apply("é", &[(1..1, "x"), (5..9, "x")]), "é");
    }
}
