//! Writes an image: the old content is made unbootable first, and the new one bootable last.
//!
//! 1. The first MiB and the last are zeroed: from here on there is no partition table, old or new.
//! 2. A few marks all over the device show whether it is as large as it says ([`crate::probe`]).
//! 3. The partitions are written. Zeros in the image become zeros on the device; only an empty data partition is left
//!    as it is between its first and last MiB, where nothing looks for a file system.
//! 4. The image's digest, computed on the way, is checked.
//! 5. Everything is read back and compared.
//! 6. The backup table is written, then the first MiB, its first sectors last of all.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use progress::{Progress, Task, Unit};
use sha256::Digest;

use crate::buffer::{Buffer, is_zero};
use crate::disk::Disk;
use crate::fit::{Fit, Move};
use crate::image::{HEAD, Image, ImageError};
use crate::probe;
pub use crate::write_error::WriteError;

/// Bytes that are read, written and compared at once.
pub(crate) const CHUNK: usize = 4 << 20;

/// The number of chunks that may wait between reading and writing.
const AHEAD: usize = 3;

/// The first sectors, of either size, with the header of the partition table, in bytes: written last of all.
const VERY_LAST: usize = 16 << 10;

/// The amount that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Bytes of the partitions' content.
    pub data: u64,
    /// Bytes of them that were zeroed.
    pub zeros: u64,
}

/// Writes an image that was [fitted](Image::fit) to this device, and reads it back unless `verify` is false. Ends
/// with [`WriteError::Interrupted`] soon after `stop` is set.
///
/// # Errors
/// See [`WriteError`]. From the first byte on, and until this returns without an error, the device has no partition
/// table: it neither boots nor shows its old content.
pub fn write(
    mut image: Image<'_>,
    fit: &Fit,
    disk: &dyn Disk,
    verify: bool,
    stop: &AtomicBool,
    progress: &dyn Progress,
) -> Result<Written, WriteError> {
    let (first, last) = fit.tables()?;
    let tail = fit.tail();
    let mut writer = Writer { disk, stop, done: Vec::new() };
    writer.zero(0..HEAD)?;
    writer.zero(tail..fit.size)?;
    writer.flush()?;
    writer.done.clear(); // both are written once more
    probe::capacity(disk, HEAD..tail, progress)?;

    let exact: u64 = fit.moves.iter().filter(|one| !Image::is_data(&one.from)).map(|one| one.to.size).sum();
    let task = progress.task("writing", Some(exact), Unit::Bytes);
    writer.partitions(&mut image, fit, &*task)?;
    image.finish()?;
    task.detail("waiting for the device");
    writer.flush()?;
    drop(task);
    if verify {
        writer.compare(progress)?;
    }
    let bytes = |zeros: bool| {
        let extents = writer.done.iter().filter(|extent| extent.sha256.is_none() == zeros);
        extents.map(|extent| extent.range.end - extent.range.start).sum()
    };
    let written = Written { data: bytes(false), zeros: bytes(true) };
    writer.done.clear();

    writer.bytes(&Buffer::of(&last), tail)?;
    let (very_last, others) = first.split_at(VERY_LAST);
    writer.bytes(&Buffer::of(others), VERY_LAST as u64)?;
    writer.flush()?;
    writer.bytes(&Buffer::of(very_last), 0)?;
    writer.flush()?;
    if verify {
        writer.compare(&progress::Silent)?;
    }
    Ok(written)
}

/// The expected content of a range of the device.
#[derive(Debug)]
struct Extent {
    range: Range<u64>,
    /// The digest; `None` for zeros.
    sha256: Option<Digest>,
}

struct Writer<'a> {
    disk: &'a dyn Disk,
    stop: &'a AtomicBool,
    done: Vec<Extent>,
}

impl Writer<'_> {
    fn partitions(&mut self, image: &mut Image<'_>, fit: &Fit, task: &dyn Task) -> Result<(), WriteError> {
        let mut moves: VecDeque<_> = fit.moves.iter().cloned().collect();
        if let Some(esp) = moves.pop_front() {
            let mut spool = io::BufReader::new(&image.esp);
            io::Seek::rewind(&mut spool).map_err(ImageError::Spool)?;
            self.copy(&mut spool, &esp, task)?;
        }
        for one in moves {
            image.skip_to(one.from.start)?;
            self.partition(image, &one, task)?;
        }
        Ok(())
    }

    /// Copies a partition, reading and writing at the same time.
    fn partition(&mut self, image: &mut Image<'_>, one: &Move, task: &dyn Task) -> Result<(), WriteError> {
        let (from, to) = (one.from.clone(), one.to.clone());
        // An old file system would be recognized by its first MiB, or an old RAID by its last.
        if to.size > from.size {
            self.zero(to.start + from.size..to.start + from.size + HEAD.min(to.size - from.size))?;
            self.zero((to.start + to.size).saturating_sub(HEAD).max(to.start + from.size)..to.start + to.size)?;
        }
        let (sender, receiver) = sync_channel(AHEAD);
        thread::scope(|scope| {
            let reading = scope.spawn(move || read_chunks(image, from.size, &sender));
            let written = self.chunks(&receiver, &one.to, Image::is_data(&one.from), one.from.size, task);
            // The reader ends as soon as its chunks have no receiver.
            drop(receiver);
            let read = reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            written.and(read.map_err(WriteError::from))
        })
    }

    fn chunks(
        &mut self,
        receiver: &Receiver<Chunk>,
        to: &diskimage::gpt::Partition,
        data: bool,
        length: u64,
        task: &dyn Task,
    ) -> Result<(), WriteError> {
        let mut empty = false;
        for chunk in receiver {
            let (at, bytes) = (chunk.at, chunk.buffer.bytes());
            let range = to.start + at..to.start + at + bytes.len() as u64;
            let zeros = is_zero(bytes);
            if at == 0 {
                // A data partition that begins with zeros is empty: the rest need not be zeroed, except where
                // something would look for a file system.
                empty = data && bytes.get(..HEAD as usize).is_none_or(is_zero);
            }
            let edge = at == 0 || at + bytes.len() as u64 == length;
            match (zeros, empty) {
                (true, true) if !edge => {}
                (true, true) => {
                    let front = range.start..range.end.min(range.start + HEAD);
                    let back = range.end.saturating_sub(HEAD).max(range.start)..range.end;
                    self.zero(if at == 0 { front } else { back.clone() })?;
                    if at == 0 && at + bytes.len() as u64 == length {
                        self.zero(back)?;
                    }
                }
                (true, false) if chunk.mapped => self.zero(range)?,
                (false, _) if chunk.mapped || data => self.bytes(&chunk.buffer, range.start)?,
                _ => {}
            }
            if !data {
                task.advance(bytes.len() as u64);
            }
        }
        Ok(())
    }

    /// Copies the EFI system partition from its prepared content.
    fn copy(&mut self, reader: &mut impl io::Read, esp: &Move, task: &dyn Task) -> Result<(), WriteError> {
        let mut at = 0;
        while at < esp.to.size {
            let mut buffer = Buffer::new(CHUNK.min((esp.to.size - at) as usize));
            reader.read_exact(buffer.bytes_mut()).map_err(ImageError::Spool)?;
            let range = esp.to.start + at..esp.to.start + at + buffer.bytes().len() as u64;
            if is_zero(buffer.bytes()) {
                self.zero(range)?;
            } else {
                self.bytes(&buffer, range.start)?;
            }
            task.advance(buffer.bytes().len() as u64);
            at += buffer.bytes().len() as u64;
        }
        Ok(())
    }

    fn check_stop(&self) -> Result<(), WriteError> {
        if self.stop.load(Ordering::Relaxed) { Err(WriteError::Interrupted) } else { Ok(()) }
    }

    fn bytes(&mut self, buffer: &Buffer, at: u64) -> Result<(), WriteError> {
        self.check_stop()?;
        self.disk.write_at(buffer.bytes(), at).map_err(|source| WriteError::Write { at, source })?;
        let sha256 = Some(Digest::of(buffer.bytes()));
        self.done.push(Extent { range: at..at + buffer.bytes().len() as u64, sha256 });
        Ok(())
    }

    fn zero(&mut self, range: Range<u64>) -> Result<(), WriteError> {
        self.check_stop()?;
        if range.is_empty() {
            return Ok(());
        }
        self.disk.zero(range.clone()).map_err(|source| WriteError::Write { at: range.start, source })?;
        self.done.push(Extent { range, sha256: None });
        Ok(())
    }

    fn flush(&self) -> Result<(), WriteError> {
        self.disk.flush().map_err(|source| WriteError::Write { at: 0, source })
    }

    /// Reads back and compares everything that was written.
    fn compare(&self, progress: &dyn Progress) -> Result<(), WriteError> {
        let total = self.done.iter().map(|extent| extent.range.end - extent.range.start).sum();
        let task = progress.task("reading back", Some(total), Unit::Bytes);
        for Extent { range, sha256 } in &self.done {
            let mut at = range.start;
            // Data was written in chunks; a range of zeros may be longer.
            while at < range.end {
                self.check_stop()?;
                let mut buffer = Buffer::new(CHUNK.min((range.end - at) as usize));
                self.disk.read_at(buffer.bytes_mut(), at).map_err(|source| WriteError::Read { at, source })?;
                let same = match sha256 {
                    Some(expected) => Digest::of(buffer.bytes()) == *expected,
                    None => is_zero(buffer.bytes()),
                };
                if !same {
                    return Err(WriteError::Differs { at });
                }
                task.advance(buffer.bytes().len() as u64);
                at += buffer.bytes().len() as u64;
            }
        }
        Ok(())
    }
}

struct Chunk {
    /// Offset in the partition.
    at: u64,
    buffer: Buffer,
    /// Whether it has to be written.
    mapped: bool,
}

fn read_chunks(image: &mut Image<'_>, size: u64, sender: &SyncSender<Chunk>) -> Result<(), ImageError> {
    let mut at = 0;
    while at < size {
        let mut buffer = Buffer::new(CHUNK.min((size - at) as usize));
        let length = buffer.bytes().len() as u64;
        let mapped = image.is_mapped(image.position, length);
        image.read(buffer.bytes_mut(), "a partition")?;
        if sender.send(Chunk { at, buffer, mapped }).is_err() {
            return Ok(()); // writing has failed, and says why
        }
        at += length;
    }
    Ok(())
}
