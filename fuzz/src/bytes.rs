//! What decides where a target needs more than bytes to parse: choices, and how bytes arrive.

use std::io::{self, Read};

/// Bytes to decide by; zeros for ever behind the end.
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    /// The next byte.
    pub fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// One of several.
    pub fn choose<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::from(self.next()) % from.len()]
    }

    /// As many as are asked for, zeros where there are no more.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.next())
    }

    /// Bytes behind a byte that says how many they are; fewer where there are no more.
    pub fn string(&mut self) -> &'a [u8] {
        let length = usize::from(self.next());
        let (string, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        string
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The bytes in pieces of 1 to 40, as they might arrive. Where they are cut follows from what they are.
pub fn pieces(data: &[u8]) -> Vec<&[u8]> {
    let mut state = crc32fast::hash(data) | 1;
    let (mut pieces, mut rest) = (Vec::new(), data);
    while !rest.is_empty() {
        state ^= state << 13; // xorshift32
        state ^= state >> 17;
        state ^= state << 5;
        let (piece, behind) = rest.split_at(rest.len().min(1 + (state >> 8) as usize % 40));
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

/// A reader that hands over one of [`pieces`] at a time, or less if there is no room.
pub struct InPieces<'a> {
    piece: &'a [u8],
    more: std::vec::IntoIter<&'a [u8]>,
}

impl<'a> InPieces<'a> {
    /// Of these bytes.
    pub fn of(data: &'a [u8]) -> Self {
        Self { piece: &[], more: pieces(data).into_iter() }
    }
}

impl Read for InPieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() {
            self.piece = self.more.next().unwrap_or_default();
        }
        self.piece.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_all_of_it() {
        let data: Vec<u8> = (0..=255).collect();
        assert!(pieces(&data).len() > 5);
        assert_eq!(pieces(&data).concat(), data);
        assert!(pieces(b"").is_empty());
        let mut read = Vec::new();
        InPieces::of(&data).read_to_end(&mut read).unwrap();
        assert_eq!(read, data);
    }
}
