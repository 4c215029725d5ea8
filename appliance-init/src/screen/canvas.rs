//! [`Canvas`]: a grid of characters, as a display shows it.

/// Hides the cursor (`console_codes(4)`).
const NO_CURSOR: &str = "\x1b[?25l";

/// How text looks: parameters of SGR (ECMA-48, 8.3.117).
pub(super) type Style = &'static str;

pub(super) const PLAIN: Style = "";
pub(super) const BOLD: Style = "1";
pub(super) const DIM: Style = "2";
pub(super) const GREEN: Style = "32";
pub(super) const YELLOW: Style = "33";
pub(super) const RED: Style = "1;31";
/// As bright as the display can: what a camera is to read.
pub(super) const WHITE: Style = "1;37;40";

/// A grid of characters with their styles.
#[derive(Debug)]
pub(super) struct Canvas {
    width: usize,
    rows: Vec<Vec<(char, Style)>>,
}

impl Canvas {
    pub(super) fn new(width: usize, height: usize) -> Self {
        Self { width, rows: vec![vec![(' ', PLAIN); width]; height] }
    }

    /// Writes text from a place on; what does not fit is cut off. Characters that would move the cursor, or take two
    /// cells, are replaced: some of the text comes from outside.
    pub(super) fn put(&mut self, column: usize, row: usize, text: &str, style: Style) {
        let Some(row) = self.rows.get_mut(row) else { return };
        for (cell, char) in row.iter_mut().skip(column).zip(text.chars()) {
            *cell = (if takes_one_cell(char) { char } else { '?' }, style);
        }
    }

    /// The bytes that draw it, from the top left on. The cursor is placed for each row, so that nothing scrolls.
    pub(super) fn bytes(&self) -> String {
        let mut text = NO_CURSOR.to_owned();
        for (number, row) in self.rows.iter().enumerate() {
            let used = row.iter().rposition(|cell| cell.0 != ' ').map_or(0, |last| last + 1);
            text.push_str(&format!("\x1b[{};1H", number + 1));
            let mut current = PLAIN;
            for (char, style) in row.iter().take(used) {
                if *style != current {
                    text.push_str(if current.is_empty() { "" } else { "\x1b[0m" });
                    if !style.is_empty() {
                        text.extend(["\x1b[", style, "m"]);
                    }
                    current = style;
                }
                text.push(*char);
            }
            text.push_str(if current.is_empty() { "" } else { "\x1b[0m" });
            // After a full row the cursor is still in its last column, and would erase that.
            text.push_str(if used < self.width { "\x1b[K" } else { "" });
        }
        text + "\x1b[J"
    }

    /// What can be read on it, without blanks at the ends of rows.
    #[cfg(test)]
    pub(super) fn text(&self) -> String {
        let row = |row: &Vec<(char, Style)>| row.iter().map(|cell| cell.0).collect::<String>().trim_end().to_owned();
        self.rows.iter().map(row).collect::<Vec<_>>().join("\n")
    }
}

/// Wide characters begin with Hangul (Unicode Standard Annex 11).
fn takes_one_cell(char: char) -> bool {
    safetext::is_printable(char) && (char < '\u{1100}' || ('\u{2500}'..'\u{25a0}').contains(&char))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_in_its_row() {
        let mut canvas = Canvas::new(8, 2);
        canvas.put(5, 0, "abcdef", PLAIN);
        canvas.put(0, 1, "x\x1b[2J한", RED);
        canvas.put(0, 7, "below", PLAIN);
        assert_eq!(canvas.text(), "     abc\nx?[2J?");
        let bytes = canvas.bytes();
        assert!(bytes.ends_with("\x1b[2;1H\x1b[1;31mx?[2J?\x1b[0m\x1b[K\x1b[J"), "{bytes:?}");
        assert!(bytes.contains("\x1b[1;1H     abc\x1b[2;1H"), "{bytes:?}");
    }
}
