//! [`wrap`]: lines of the status screen that are longer than the display is wide.

use super::Line;

/// Columns of the labels at the left (`Network   `), below which a continued line stays empty.
const LABEL: usize = 10;

/// Most rows of one line: some of the text comes from outside, and is not to take the display from all else.
const MOST_ROWS: usize = 8;

/// Continues a line below itself at its blanks, and a word that has no room in a line anywhere. What a problem's text
/// says last is what to do about it, so that nothing is cut off but from very long texts.
pub(super) fn wrap(line: Line, width: usize) -> Vec<Line> {
    let Line { text, style } = line;
    let indent = if width > 2 * LABEL { LABEL } else { 0 };
    let mut lines = Vec::new();
    let mut rest: Vec<char> = text.chars().collect();
    while rest.len() > width.max(1) && lines.len() < MOST_ROWS {
        // A blank in the indent would be no progress.
        let from = if lines.is_empty() { LABEL.min(width) } else { indent };
        let blank = rest.iter().take(width + 1).rposition(|char| *char == ' ').filter(|at| *at > from);
        let (end, next) = blank.map_or((width.max(1), width.max(1)), |at| (at, at + 1));
        lines.push(Line { text: rest.iter().take(end).collect(), style });
        rest = std::iter::repeat_n(' ', indent).chain(rest.into_iter().skip(next)).collect();
    }
    lines.push(Line { text: rest.into_iter().collect(), style });
    lines.truncate(MOST_ROWS);
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::screen::canvas::RED;

    fn wrapped(text: &str, width: usize) -> Vec<String> {
        let lines = wrap(Line { text: text.into(), style: RED }, width);
        lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn a_problem_is_continued_below_its_text() {
        let text = "Debci     no jobs from amqps://ci.example: the broker refuses this user";
        let expected =
            ["Debci     no jobs from", "          amqps://ci.example: the", "          broker refuses this user"];
        assert_eq!(wrapped(text, 34), expected);
        assert_eq!(wrapped("short", 34), ["short"]);
        assert_eq!(
            wrapped("Debci     amqps://a.very.long.name", 24),
            ["Debci     amqps://a.very", "          .long.name"]
        );
    }

    proptest! {
        #[test]
        fn no_row_is_too_long_and_a_text_is_whole_or_has_many(text in "[a-z ]{0,200}", width in 0_usize..90) {
            let lines = wrapped(&text, width);
            prop_assert!(lines.iter().all(|line| line.chars().count() <= width.max(1)));
            let letters = |text: &str| text.chars().filter(|char| *char != ' ').collect::<String>();
            let shown = letters(&lines.concat());
            prop_assert!(letters(&text).starts_with(&shown));
            prop_assert!(lines.len() == MOST_ROWS || shown == letters(&text));
        }
    }
}
