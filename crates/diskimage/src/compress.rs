//! Compression of disk images for distribution: Zstandard (RFC 8878).
//!
//! The output has several frames, which every decoder joins: data is compressed by `zstd`, and each large hole becomes
//! a frame of repeated zeros written here, since compressing 8 GiB of zeros takes `zstd` 20 s.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use progress::{Progress, Task, Unit};
use zstd::stream::raw::CParameter;

use crate::sparse;

/// Bytes of input per worker job. Fixed, because it affects the output.
const JOB_SIZE: u32 = 8 << 20;

/// Minimum size in bytes of a hole that gets a frame of its own.
const LARGE_HOLE: u64 = 16 << 20;

/// Compression options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompressOptions {
    /// Zstandard compression level, 1 (fast) to 19 (small).
    pub level: i32,
    /// Number of worker threads, at least 1. It does not affect the output.
    pub threads: u32,
}

impl Default for CompressOptions {
    /// Level 9 with one thread.
    fn default() -> Self {
        Self { level: 9, threads: 1 }
    }
}

/// Compresses a whole image. Long stretches of zeros are not passed to zstd. The output depends only on the image's
/// bytes, not on where its file has holes. Returns the size of the image in bytes.
///
/// # Errors
/// If reading, compressing or writing fails.
pub fn compress(
    image: &File,
    mut output: impl Write,
    options: CompressOptions,
    progress: &dyn Progress,
) -> io::Result<u64> {
    let length = image.metadata()?.len();
    let task = progress.task("looking for zeros in the disk image", Some(length), Unit::Bytes);
    let data = sparse::nonzero_ranges(image, &*task)?;
    drop(task);
    let task = progress.task("compressing the disk image", Some(length), Unit::Bytes);
    let mut at = 0;
    for data in join_over_small_holes(data, length) {
        write_hole(data.start - at, &mut output)?;
        task.advance(data.start - at);
        at = data.end;
        write_data(image, data, &mut output, options, &*task)?;
    }
    write_hole(length - at, &mut output)?;
    task.advance(length - at);
    if length == 0 {
        write_data(image, 0..0, &mut output, options, &*task)?; // no frame at all would be no zstd file
    }
    output.flush()?;
    Ok(length)
}

fn join_over_small_holes(ranges: Vec<Range<u64>>, length: u64) -> Vec<Range<u64>> {
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start - last.end < LARGE_HOLE => last.end = range.end,
            None if range.start < LARGE_HOLE => joined.push(0..range.end),
            _ => joined.push(range),
        }
    }
    if let Some(last) = joined.last_mut()
        && length - last.end < LARGE_HOLE
    {
        last.end = length;
    }
    joined
}

fn write_data(
    image: &File,
    range: Range<u64>,
    output: &mut impl Write,
    options: CompressOptions,
    task: &dyn Task,
) -> io::Result<()> {
    let mut encoder = zstd::Encoder::new(output, options.level)?;
    encoder.set_pledged_src_size(Some(range.end - range.start))?;
    encoder.include_contentsize(true)?;
    encoder.include_checksum(true)?;
    // Without workers, zstd splits its input differently: always use at least one, so that their number has no effect.
    encoder.multithread(options.threads.max(1))?;
    encoder.set_parameter(CParameter::JobSize(JOB_SIZE))?;
    let mut buffer = vec![0; 1 << 20];
    let mut at = range.start;
    while at < range.end {
        let part = buffer.len().min((range.end - at) as usize);
        image.read_exact_at(&mut buffer[..part], at)?;
        encoder.write_all(&buffer[..part])?;
        task.advance(part as u64);
        at += part as u64;
    }
    encoder.finish().map(drop)
}

/// Writes a frame of `length` zeros (RFC 8878, sections 3.1.1.1 and 3.1.1.2), 4 bytes for each 128 KiB.
fn write_hole(length: u64, output: &mut impl Write) -> io::Result<()> {
    const RAW: u32 = 0;
    const REPEATED: u32 = 1;
    const MAX_BLOCK: u64 = 128 << 10;
    let Some(mut left) = length.checked_sub(1) else { return Ok(()) };
    // Header: 8 bytes of content size, no checksum; a window of 128 KiB.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0b1100_0000, 7 << 3];
    frame.extend_from_slice(&length.to_le_bytes());
    let mut block = |kind: u32, size: u64, last: bool| {
        let header = u32::from(last) | kind << 1 | (size as u32) << 3;
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.push(0); // the only byte of a raw block, the byte to repeat of another
    };
    // Decoders up to 1.4.3 fail on a frame that starts with a repeated byte.
    block(RAW, 1, left == 0);
    while left > 0 {
        let part = left.min(MAX_BLOCK);
        left -= part;
        block(REPEATED, part, left == 0);
    }
    output.write_all(&frame)
}

#[cfg(test)]
mod tests {
    use super::*;
    use progress::Silent;
    use std::os::unix::fs::FileExt;

    #[test]
    fn the_number_of_threads_does_not_show() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(90 << 20).unwrap();
        // Data that compresses a little, in several jobs, with a hole between.
        let mut state = 1_u32;
        let data: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 27) as u8
        })
        .take(20 << 20)
        .collect();
        file.write_all_at(&data, 1 << 20).unwrap();
        file.write_all_at(&data[..9 << 20], 24 << 20).unwrap();
        let compressed = |threads| {
            let mut output = Vec::new();
            compress(&file, &mut output, CompressOptions { level: 1, threads }, &Silent).unwrap();
            output
        };
        let one = compressed(1);
        assert!(compressed(0) == one && compressed(2) == one && compressed(5) == one);
        assert!(one.len() < 20 << 20);
        let mut whole = vec![0; 90 << 20];
        file.read_exact_at(&mut whole, 0).unwrap();
        assert!(zstd::decode_all(&one[..]).unwrap() == whole);
    }

    #[test]
    fn images_of_any_shape_come_back() {
        for (length, data) in [
            (0, vec![]),
            (1, vec![]),
            ((128 << 10) + 1, vec![]),
            (40 << 20, vec![]),
            (40 << 20, vec![0]),
            (40 << 20, vec![39 << 20]),
            (70 << 20, vec![0, 20 << 20, 50 << 20]),
        ] {
            let file = tempfile::tempfile().unwrap();
            file.set_len(length).unwrap();
            for at in &data {
                file.write_all_at(&[7; 5000], *at).unwrap();
            }
            let mut output = Vec::new();
            compress(&file, &mut output, CompressOptions::default(), &Silent).unwrap();
            let mut whole = vec![0; length as usize];
            file.read_exact_at(&mut whole, 0).unwrap();
            assert!(zstd::decode_all(&output[..]).unwrap() == whole, "{length} {data:?}");
        }
    }
}
