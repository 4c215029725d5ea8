//! Pictures of half a character's height: large text, and QR codes.
//!
//! A console's character is twice as high as it is wide, so that the upper and the lower half of one are two squares.
//! The kernel's console fonts have these halves.

use font8x8::legacy::BASIC_LEGACY;
use qrcode::{Color, EcLevel, QrCode};

use super::canvas::{Canvas, Style, WHITE};

/// Squares on each side of a letter.
const LETTER: usize = 8;

/// Squares around a QR code, by which readers tell it from what is beside it (ISO/IEC 18004, 9.1).
const QUIET: usize = 4;

/// Draws the squares for which `is_set` is true, in an area of so many columns and rows of squares.
fn draw(
    canvas: &mut Canvas,
    at: (usize, usize),
    size: (usize, usize),
    style: Style,
    is_set: impl Fn(usize, usize) -> bool,
) {
    for row in 0..size.1.div_ceil(2) {
        let half = |column: usize| match (is_set(column, 2 * row), 2 * row + 1 < size.1 && is_set(column, 2 * row + 1))
        {
            (true, true) => '█',
            (true, false) => '▀',
            (false, true) => '▄',
            (false, false) => ' ',
        };
        let text: String = (0..size.0).map(half).collect();
        canvas.put(at.0, at.1 + row, &text, style);
    }
}

/// Columns and rows of a large text.
pub(super) fn text_size(letters: usize, scale: usize) -> (usize, usize) {
    (letters * LETTER * scale, LETTER * scale / 2)
}

/// Writes text in letters of `8 * scale` columns and `4 * scale` rows. Only ASCII has letters.
pub(super) fn text(canvas: &mut Canvas, at: (usize, usize), text: &str, scale: usize, style: Style) {
    let scale = scale.max(1);
    for (number, char) in text.chars().enumerate() {
        let letter = BASIC_LEGACY
            .get(char as usize)
            .or_else(|| BASIC_LEGACY.get(usize::from(b'?')))
            .copied()
            .unwrap_or_default();
        let side = LETTER * scale;
        draw(canvas, (at.0 + number * side, at.1), (side, side), style, |column, row| {
            letter.get(row / scale).is_some_and(|bits| bits >> (column / scale) & 1 == 1)
        });
    }
}

/// A QR code.
pub(super) struct Code {
    width: usize,
    colors: Vec<Color>,
}

impl Code {
    /// The code of an address; `None` for one that is too long.
    pub(super) fn new(text: &str) -> Option<Self> {
        let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
        Some(Self { width: code.width(), colors: code.to_colors() })
    }

    /// Columns and rows that it takes.
    pub(super) fn size(&self) -> (usize, usize) {
        let side = self.width + 2 * QUIET;
        (side, side.div_ceil(2))
    }

    /// Draws it, dark on light.
    pub(super) fn draw(&self, canvas: &mut Canvas, at: (usize, usize)) {
        let side = self.width + 2 * QUIET;
        draw(canvas, at, (side, side), WHITE, |column, row| {
            let inside = |at: usize| at.checked_sub(QUIET).filter(|at| *at < self.width);
            let (Some(column), Some(row)) = (inside(column), inside(row)) else { return true };
            self.colors.get(row * self.width + column) == Some(&Color::Light)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_made_of_half_characters() {
        let mut canvas = Canvas::new(16, 4);
        text(&mut canvas, (0, 0), "I", 1, "");
        assert_eq!(canvas.text(), " ▀██▀\n  ██\n  ██\n ▀▀▀▀");
        let mut canvas = Canvas::new(16, 8);
        text(&mut canvas, (0, 0), "I", 2, "");
        assert_eq!(canvas.text().lines().next(), Some("  ████████"));
    }

    #[test]
    fn a_code_is_light_around_and_has_its_three_marks() -> Result<(), &'static str> {
        let code = Code::new("http://192.0.2.7:8420").ok_or("too long")?;
        let (width, height) = code.size();
        let mut canvas = Canvas::new(width, height);
        code.draw(&mut canvas, (0, 0));
        let shown = canvas.text();
        let rows: Vec<&str> = shown.lines().collect();
        assert_eq!((width, rows.len()), (33, 17));
        assert!(rows[..2].iter().all(|row| row.chars().all(|char| char == '█')), "{shown}");
        // The upper edge of a mark is seven dark squares, and its sides one each.
        assert!(rows[2].starts_with("████ ▄▄▄▄▄ █") && rows[2].ends_with("█ ▄▄▄▄▄ ████"), "{shown}");
        Ok(())
    }

    #[test]
    fn an_address_that_is_too_long_has_no_code() {
        assert!(Code::new(&"x".repeat(4000)).is_none());
    }
}
