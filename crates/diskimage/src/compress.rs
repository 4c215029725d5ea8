//! Making a disk image small for shipping: Zstandard (RFC 8878), one frame, with its length and a checksum in it.

use std::fs::File;
use std::io::{self, Read, Write};

use progress::{Progress, Task, Unit};
use zstd::stream::raw::CParameter;

use crate::sparse::SparseReader;

/// Bytes of input for one worker at a time. Fixed, because it shows in the output.
const JOB_SIZE: u32 = 8 << 20;

/// How to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Zstandard's level, 1 (fast) to 19 (small).
    pub level: i32,
    /// Worker threads, at least 1. The output is the same for every number of them.
    pub threads: u32,
}

impl Default for Options {
    /// Level 9 with one thread.
    fn default() -> Self {
        Self { level: 9, threads: 1 }
    }
}

/// Compresses a whole image. Its holes are not read: they are zeros, which cost next to nothing. Returns how many
/// bytes the image has.
///
/// # Errors
/// What reading, compressing or writing says.
pub fn compress(image: &File, output: impl Write, options: &Options, progress: &dyn Progress) -> io::Result<u64> {
    let length = image.metadata()?.len();
    let task = progress.task("compressing the disk image", Some(length), Unit::Bytes);
    let mut encoder = zstd::Encoder::new(output, options.level)?;
    encoder.set_pledged_src_size(Some(length))?;
    encoder.include_contentsize(true)?;
    encoder.include_checksum(true)?;
    // Without workers, zstd cuts its input elsewhere: always have one, so that their number does not show.
    encoder.multithread(options.threads.max(1))?;
    encoder.set_parameter(CParameter::JobSize(JOB_SIZE))?;
    let mut reader = Watched { reader: SparseReader::new(image)?, task: &*task };
    let mut buffer = vec![0; 1 << 20];
    loop {
        match reader.read(&mut buffer)? {
            0 => break,
            part => encoder.write_all(&buffer[..part])?,
        }
    }
    encoder.finish()?.flush()?;
    Ok(length)
}

struct Watched<'a> {
    reader: SparseReader<'a>,
    task: &'a dyn Task,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let part = self.reader.read(buffer)?;
        self.task.advance(part as u64);
        Ok(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use progress::Silent;
    use std::os::unix::fs::FileExt;

    #[test]
    fn the_number_of_threads_does_not_show() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(60 << 20).unwrap();
        // Data that compresses a little, in several jobs, with a hole between.
        let mut state = 1_u32;
        let data: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 27) as u8
        })
        .take(20 << 20)
        .collect();
        file.write_all_at(&data, 1 << 20).unwrap();
        file.write_all_at(&data[..9 << 20], 45 << 20).unwrap();
        let compressed = |threads| {
            let mut output = Vec::new();
            compress(&file, &mut output, &Options { level: 1, threads }, &Silent).unwrap();
            output
        };
        let one = compressed(1);
        assert!(compressed(0) == one && compressed(2) == one && compressed(5) == one);
        assert!(one.len() < 20 << 20);
        let mut whole = vec![0; 60 << 20];
        file.read_exact_at(&mut whole, 0).unwrap();
        assert!(zstd::decode_all(&one[..]).unwrap() == whole);
    }
}
