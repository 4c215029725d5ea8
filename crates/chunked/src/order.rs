//! The order in which earlier starts read chunks, so that later ones fetch them in advance.

use sha256::Digest;

/// How an order begins: its name and version.
const MAGIC: &str = "rocbed order 1\n";
/// What precedes the digest of the index.
const INDEX: &str = "index ";
/// Most chunks in an order: 32 GiB in chunks of 128 KiB. What is read after so many is not worth knowing.
const MOST: usize = 1 << 18;

/// Numbers of chunks, in the order in which they were first read. It belongs to one index.
///
/// It comes from a server that is not trusted, and is only advice: whatever it says, chunks are what the index names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    index: Digest,
    numbers: Vec<u32>,
    /// Whether a chunk is among the numbers, for each chunk.
    is_known: Vec<bool>,
}

/// The reason why bytes are not an order of an index's chunks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// It does not begin as an order of this version does.
    #[error("it is not an order of chunks, or one of another version")]
    Magic,
    /// It belongs to another index.
    #[error("the order is of another root's chunks")]
    Index,
    /// A line is not the number of a chunk, or of one that was there before.
    #[error("line {0} of the order is not the number of a further chunk")]
    Line(usize),
    /// It has more lines than an order may have.
    #[error("the order has more than {MOST} chunks")]
    Long,
}

impl Order {
    /// Longest order as a file, in bytes.
    pub const LONGEST: u64 = 2 << 20;

    /// An order without chunks, for the index with this digest, which has so many.
    pub fn new(index: Digest, chunks: usize) -> Self {
        Self { index, numbers: Vec::new(), is_known: vec![false; chunks] }
    }

    /// Reads the order of the index with this digest, which has so many chunks.
    ///
    /// # Errors
    ///
    /// If it is not one, or one of another index.
    pub fn parse(bytes: &[u8], index: Digest, chunks: usize) -> Result<Self, OrderError> {
        let text = std::str::from_utf8(bytes).map_err(|_| OrderError::Magic)?;
        let text = text.strip_prefix(MAGIC).ok_or(OrderError::Magic)?;
        let (first, rest) = text.split_once('\n').ok_or(OrderError::Index)?;
        if first.strip_prefix(INDEX) != Some(index.to_string().as_str()) {
            return Err(OrderError::Index);
        }
        let mut order = Self::new(index, chunks);
        for (line, text) in rest.lines().enumerate() {
            if order.numbers.len() >= MOST {
                return Err(OrderError::Long);
            }
            // Other ways to write the same number are not accepted, so that what is read is written the same.
            let number = text.parse::<u32>().ok().filter(|number| number.to_string() == text);
            if !number.is_some_and(|number| order.add(number as usize)) {
                return Err(OrderError::Line(line + 3));
            }
        }
        if order.to_bytes() == bytes { Ok(order) } else { Err(OrderError::Magic) }
    }

    /// The order as a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = format!("{MAGIC}{INDEX}{}\n", self.index);
        for number in &self.numbers {
            text.push_str(&number.to_string());
            text.push('\n');
        }
        text.into_bytes()
    }

    /// Adds a chunk that was read. Returns whether it was new; a chunk that does not exist is not.
    pub fn add(&mut self, number: usize) -> bool {
        let Some(is_known) = self.is_known.get_mut(number).filter(|is_known| !**is_known) else { return false };
        if self.numbers.len() >= MOST {
            return false;
        }
        *is_known = true;
        self.numbers.push(number as u32);
        true
    }

    /// The numbers of the chunks, in order.
    pub fn numbers(&self) -> impl ExactSizeIterator<Item = usize> + '_ {
        self.numbers.iter().map(|number| *number as usize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digest() -> Digest {
        [7; 32].into()
    }

    #[test]
    fn what_was_read_first_comes_first_and_once() {
        let mut order = Order::new(digest(), 10);
        let added: Vec<bool> = [3, 9, 3, 10, 0].into_iter().map(|number| order.add(number)).collect();
        assert_eq!(added, [true, true, false, false, true]);
        assert_eq!(order.numbers().collect::<Vec<_>>(), [3, 9, 0]);
        let text = format!("rocbed order 1\nindex {}\n3\n9\n0\n", "07".repeat(32));
        assert_eq!(order.to_bytes(), text.as_bytes());
        assert_eq!(Order::parse(text.as_bytes(), digest(), 10), Ok(order));
    }

    #[test]
    fn other_files_are_refused() {
        let head = format!("rocbed order 1\nindex {}\n", "07".repeat(32));
        for (text, error) in [
            (String::new(), OrderError::Magic),
            ("rocbed order 2\n".into(), OrderError::Magic),
            (head.replace("07", "08"), OrderError::Index),
            (format!("{head}1\n1\n"), OrderError::Line(4)),
            (format!("{head}10\n"), OrderError::Line(3)),
            (format!("{head}+1\n"), OrderError::Line(3)),
            (format!("{head}1"), OrderError::Magic),
        ] {
            assert_eq!(Order::parse(text.as_bytes(), digest(), 10), Err(error), "{text}");
        }
        let many: String = (0..=MOST).map(|number| format!("{number}\n")).collect();
        assert_eq!(Order::parse((head + &many).as_bytes(), digest(), MOST + 1), Err(OrderError::Long));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(added in proptest::collection::vec(0..60_usize, 0..80)) {
            let mut order = Order::new(digest(), 50);
            for number in added {
                order.add(number);
            }
            prop_assert_eq!(Order::parse(&order.to_bytes(), digest(), 50), Ok(order));
        }

        #[test]
        fn what_is_accepted_is_written_the_same(lines in "([0-9]{1,2}\n|.?\n?){0,6}") {
            let text = format!("rocbed order 1\nindex {}\n{lines}", "07".repeat(32));
            if let Ok(order) = Order::parse(text.as_bytes(), digest(), 50) {
                prop_assert_eq!(order.to_bytes(), text.as_bytes());
            }
        }
    }
}
