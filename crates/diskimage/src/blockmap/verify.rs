//! Verifies an image against its block map while it is read from the first byte to the last.

use sha256::Hasher;

use super::BlockMap;

/// A difference between an image and its map.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// A block that is not zero but not mapped, so it would not be written.
    #[error("the block map leaves out bytes {start} to {end}, which are not all zero")]
    LeftOut {
        /// Offset of the first byte.
        start: u64,
        /// Offset after the last byte.
        end: u64,
    },
    /// The bytes of a range do not match its checksum.
    #[error("bytes {start} to {end} do not have the checksum that the block map has for them")]
    Checksum {
        /// Offset of the first byte.
        start: u64,
        /// Offset after the last byte.
        end: u64,
    },
    /// The image is longer or shorter than the map says.
    #[error("the block map is for an image of {map} bytes, and this one has {image}")]
    Size {
        /// Size in the map, in bytes.
        map: u64,
        /// Size of the image, in bytes.
        image: u64,
    },
}

/// Compares the bytes of an image with a map.
#[derive(Debug)]
pub struct Verifier<'a> {
    map: &'a BlockMap,
    /// Index of the first range that does not lie before the current position.
    next: usize,
    /// Hash of the part of that range read so far.
    hash: Hasher,
    at: u64,
}

impl<'a> Verifier<'a> {
    /// Starts at the first byte of an image.
    pub fn new(map: &'a BlockMap) -> Self {
        Self { map, next: 0, hash: Hasher::new(), at: 0 }
    }

    /// Processes the image's next bytes.
    ///
    /// # Errors
    /// [`Mismatch`], as soon as it is found.
    pub fn update(&mut self, mut bytes: &[u8]) -> Result<(), Mismatch> {
        while !bytes.is_empty() {
            let mapped = self.map.ranges.get(self.next).map(|range| (self.map.bytes(range), range.sha256));
            let is_within = mapped.as_ref().is_some_and(|(range, _)| range.start <= self.at);
            let end = match &mapped {
                Some((range, _)) if is_within => range.end,
                Some((range, _)) => range.start,
                None => u64::MAX,
            };
            let length = bytes.len().min(usize::try_from(end - self.at).unwrap_or(usize::MAX));
            let (part, rest) = bytes.split_at(length);
            let start = self.at;
            (self.at, bytes) = (start + length as u64, rest);
            match mapped {
                Some((range, expected)) if is_within => {
                    if expected.is_some() {
                        self.hash.update(part);
                    }
                    if self.at == range.end {
                        self.next += 1;
                        let found = self.hash.finish_reset();
                        if expected.is_some_and(|expected| expected != found) {
                            return Err(Mismatch::Checksum { start: range.start, end: range.end });
                        }
                    }
                }
                _ if part.iter().any(|byte| *byte != 0) => return Err(Mismatch::LeftOut { start, end: self.at }),
                _ => {}
            }
        }
        Ok(())
    }

    /// Ends the verification after the image's last byte.
    ///
    /// # Errors
    /// [`Mismatch::Size`].
    pub fn finish(self) -> Result<(), Mismatch> {
        let (map, image) = (self.map.image_size, self.at);
        if map == image { Ok(()) } else { Err(Mismatch::Size { map, image }) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::MappedRange;
    use super::*;
    use proptest::prelude::*;
    use sha256::Digest;

    /// An image of five blocks and a bit, of which the second, the third and the last are mapped.
    fn example() -> (Vec<u8>, BlockMap) {
        let mut image = vec![0; 5 * 4096 + 100];
        image[4096..9000].fill(7);
        image[5 * 4096 + 3] = 9;
        let digest = |bytes: &[u8]| Some(Digest::of(bytes));
        let ranges = vec![
            MappedRange { first: 1, last: 2, sha256: digest(&image[4096..3 * 4096]) },
            MappedRange { first: 5, last: 5, sha256: digest(&image[5 * 4096..]) },
        ];
        let map = BlockMap { image_size: image.len() as u64, block_size: 4096, ranges };
        (image, map)
    }

    fn verify(image: &[u8], map: &BlockMap, step: usize) -> Result<(), Mismatch> {
        let mut verifier = Verifier::new(map);
        image.chunks(step).try_for_each(|bytes| verifier.update(bytes))?;
        verifier.finish()
    }

    #[test]
    fn what_differs_is_told() {
        let (mut image, map) = example();
        assert_eq!(verify(&image, &map, 1000), Ok(()));
        let size = Mismatch::Size { map: 20_580, image: 20_479 };
        assert_eq!(verify(&image[..20_479], &map, 1000), Err(size));
        image[4100] = 8;
        assert_eq!(verify(&image, &map, 9999), Err(Mismatch::Checksum { start: 4096, end: 12_288 }));
        image[4100] = 7;
        image[16_384] = 1;
        let told = verify(&image, &map, 30_000).unwrap_err();
        assert_eq!(told.to_string(), "the block map leaves out bytes 12288 to 20480, which are not all zero");
    }

    proptest! {
        #[test]
        fn the_size_of_the_parts_makes_no_difference(step in 1_usize..30_000, change in prop::option::of(0_usize..20_580)) {
            let (mut image, map) = example();
            if let Some(at) = change {
                image[at] ^= 1;
            }
            prop_assert_eq!(verify(&image, &map, step).is_err(), change.is_some());
        }
    }
}
