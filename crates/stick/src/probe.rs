//! Checks whether a device is as large as it says. A counterfeit stick may say that it has 256 GiB and have 8: data
//! that is written beyond is lost, or reappears at another offset.

use std::ops::Range;

use progress::Progress;
use sha256::Hasher;

use crate::buffer::Buffer;
use crate::disk::Disk;
use crate::write_error::WriteError;

/// Size of a mark in bytes.
const MARK: u64 = 4096;

/// Writes a mark at the start, at each power of two after it, and at the end, and reads all of them back. A device
/// that ignores the high bits of addresses returns the first mark at all offsets that it does not have. The marks are
/// zeroed again. The data in the range is lost.
///
/// # Errors
/// [`WriteError::Counterfeit`], or the device's error.
pub(crate) fn capacity(disk: &dyn Disk, range: Range<u64>, progress: &dyn Progress) -> Result<(), WriteError> {
    let places = places(&range);
    let task = progress.task("measuring the device", Some(places.len() as u64), progress::Unit::Items);
    let failed = |at| move |source| WriteError::Write { at, source };
    // From the end: where a device wraps around, the mark written later at the same place is the lower one, which is
    // real.
    for at in places.iter().rev() {
        disk.write_at(mark(*at).bytes(), *at).map_err(failed(*at))?;
    }
    disk.flush().map_err(failed(range.start))?;
    let mut lost = None;
    for at in places.iter().rev() {
        let mut buffer = Buffer::new(MARK as usize);
        // Some devices fail to read where they have no memory; these are detected as well.
        let read = disk.read_at(buffer.bytes_mut(), *at);
        if read.is_err() || buffer.bytes() != mark(*at).bytes() {
            lost = Some((*at, read));
        }
        task.advance(1);
    }
    for at in &places {
        // On a counterfeit this may fail where it has no memory.
        let zeroed = disk.zero(*at..at + MARK);
        if lost.is_none() {
            zeroed.map_err(failed(*at))?;
        }
    }
    match lost {
        None => Ok(()),
        // If not even the first one can be read back, it is another defect.
        Some((at, read)) if Some(&at) == places.first() => Err(match read {
            Err(source) => WriteError::Read { at, source },
            Ok(()) => WriteError::Differs { at },
        }),
        Some((at, _)) => Err(WriteError::Counterfeit { size: disk.size(), real: at }),
    }
}

fn places(range: &Range<u64>) -> Vec<u64> {
    let last = range.end.saturating_sub(MARK) / MARK * MARK;
    let powers = (20..63).filter_map(|power| range.start.checked_add(1 << power)).filter(|at| *at < last);
    [range.start].into_iter().chain(powers).chain([last]).filter(|at| range.contains(at)).collect()
}

/// Different at each offset, and not a pattern that a device would return by itself.
fn mark(at: u64) -> Buffer {
    let mut buffer = Buffer::new(MARK as usize);
    for (part, number) in buffer.bytes_mut().as_chunks_mut::<32>().0.iter_mut().zip(0_u64..) {
        let hash = Hasher::new().chain(b"rocbed capacity mark").chain(at.to_le_bytes());
        part.copy_from_slice(hash.chain(number.to_le_bytes()).finish().as_bytes());
    }
    buffer
}
