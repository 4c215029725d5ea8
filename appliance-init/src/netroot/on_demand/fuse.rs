//! A file system with one read-only file, for the kernel's FUSE (`include/uapi/linux/fuse.h`, protocol 7.31).
//!
//! The file is the root of the file system itself: it is mounted on a file.

use std::io;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Most bytes that the kernel asks for at once.
pub const MOST_READ: u32 = 128 << 10;

/// Length of the buffer that the kernel wants for requests (`FUSE_MIN_READ_BUFFER`, and room for a write, which none is).
pub const BUFFER: usize = 256 << 10;

/// The version of the protocol.
const VERSION: (u32, u32) = (7, 31);

/// Flags of `FUSE_INIT`: reads may be answered in any order; `max_pages` counts.
const ASYNC_READ: u32 = 1 << 0;
const MAX_PAGES: u32 = 1 << 22;

/// `FOPEN_KEEP_CACHE`: the content never changes.
const KEEP_CACHE: u32 = 1 << 1;

/// Requests that are answered, or need none.
mod operation {
    pub(super) const FORGET: u32 = 2;
    pub(super) const GETATTR: u32 = 3;
    pub(super) const OPEN: u32 = 14;
    pub(super) const READ: u32 = 15;
    pub(super) const STATFS: u32 = 17;
    pub(super) const RELEASE: u32 = 18;
    pub(super) const FLUSH: u32 = 25;
    pub(super) const INIT: u32 = 26;
    pub(super) const INTERRUPT: u32 = 36;
    pub(super) const DESTROY: u32 = 38;
    pub(super) const BATCH_FORGET: u32 = 42;
}

/// The content of the file.
pub trait Content {
    /// Its size in bytes.
    fn size(&self) -> u64;
    /// Appends `length` bytes from `offset` on, which are within its size.
    ///
    /// # Errors
    ///
    /// If they cannot be had: the reader gets `EIO`.
    fn read(&self, offset: u64, length: usize, into: &mut Vec<u8>) -> io::Result<()>;
}

/// `struct fuse_in_header`.
#[derive(FromBytes, KnownLayout, Immutable)]
#[repr(C)]
struct RequestHeader {
    length: u32,
    operation: u32,
    unique: u64,
    node: u64,
    user: u32,
    group: u32,
    process: u32,
    extension_length: u16,
    padding: u16,
}

/// `struct fuse_read_in`.
#[derive(FromBytes, KnownLayout, Immutable)]
#[repr(C)]
struct ReadRequest {
    handle: u64,
    offset: u64,
    size: u32,
    read_flags: u32,
    lock_owner: u64,
    flags: u32,
    padding: u32,
}

/// `struct fuse_out_header`.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct AnswerHeader {
    length: u32,
    /// 0, or a negative error number.
    error: i32,
    unique: u64,
}

/// `struct fuse_init_out`.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct InitAnswer {
    major: u32,
    minor: u32,
    max_readahead: u32,
    flags: u32,
    max_background: u16,
    congestion_threshold: u16,
    max_write: u32,
    time_granularity: u32,
    max_pages: u16,
    unused: [u16; 17],
}

/// `struct fuse_attr_out`.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct AttributeAnswer {
    valid_seconds: u64,
    valid_nanoseconds: u32,
    unused: u32,
    node: u64,
    size: u64,
    blocks: u64,
    times: [u64; 3],
    time_nanoseconds: [u32; 3],
    mode: u32,
    links: u32,
    user: u32,
    group: u32,
    device: u32,
    block_size: u32,
    flags: u32,
}

/// `struct fuse_open_out`.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct OpenAnswer {
    handle: u64,
    flags: u32,
    backing: i32,
}

/// `struct fuse_statfs_out`; all zero.
const STATFS_ANSWER: [u8; 80] = [0; 80];

/// Answers a request: the bytes to write, nothing if there is no answer to it.
pub fn answer(request: &[u8], content: &impl Content) -> Option<Vec<u8>> {
    let (header, body) = RequestHeader::read_from_prefix(request).ok()?;
    let mut bytes = vec![0; size_of::<AnswerHeader>()];
    let error = match header.operation {
        operation::INIT => add(&mut bytes, &INIT_ANSWER),
        operation::GETATTR => add(&mut bytes, &attributes(content.size())),
        operation::OPEN => add(&mut bytes, &OpenAnswer { handle: 1, flags: KEEP_CACHE, backing: 0 }),
        operation::READ => match ReadRequest::read_from_prefix(body) {
            Ok((read, _)) => read_into(&read, content, &mut bytes),
            Err(_) => libc::EINVAL,
        },
        operation::STATFS => add(&mut bytes, &STATFS_ANSWER),
        operation::RELEASE | operation::FLUSH | operation::DESTROY => 0,
        operation::FORGET | operation::BATCH_FORGET | operation::INTERRUPT => return None,
        _ => libc::ENOSYS,
    };
    if error != 0 {
        bytes.truncate(size_of::<AnswerHeader>());
    }
    let header = AnswerHeader { length: bytes.len() as u32, error: -error, unique: header.unique };
    bytes.get_mut(..size_of::<AnswerHeader>())?.copy_from_slice(header.as_bytes());
    Some(bytes)
}

/// Appends a structure; returns the error number 0.
fn add(bytes: &mut Vec<u8>, answer: &(impl IntoBytes + Immutable)) -> i32 {
    bytes.extend(answer.as_bytes());
    0
}

fn read_into(read: &ReadRequest, content: &impl Content, bytes: &mut Vec<u8>) -> i32 {
    let length = content.size().saturating_sub(read.offset).min(u64::from(read.size.min(MOST_READ)));
    if length == 0 {
        return 0; // the end of the file
    }
    match content.read(read.offset, length as usize, bytes) {
        Ok(()) => 0,
        Err(_) => libc::EIO,
    }
}

const INIT_ANSWER: InitAnswer = InitAnswer {
    major: VERSION.0,
    minor: VERSION.1,
    max_readahead: 1 << 20,
    flags: ASYNC_READ | MAX_PAGES,
    max_background: 32,
    congestion_threshold: 24,
    max_write: 4096,
    time_granularity: 1,
    max_pages: (MOST_READ / 4096) as u16,
    unused: [0; 17],
};

fn attributes(size: u64) -> AttributeAnswer {
    AttributeAnswer {
        // For ever, nearly: it never changes.
        valid_seconds: 1 << 40,
        valid_nanoseconds: 0,
        unused: 0,
        node: 1,
        size,
        blocks: size.div_ceil(512),
        times: [0; 3],
        time_nanoseconds: [0; 3],
        mode: 0o100_444,
        links: 1,
        user: 0,
        group: 0,
        device: 0,
        block_size: 4096,
        flags: 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A file with bytes that count up; offsets from 6000 on cannot be read.
    struct Counting;

    impl Content for Counting {
        fn size(&self) -> u64 {
            10_000
        }

        fn read(&self, offset: u64, length: usize, into: &mut Vec<u8>) -> io::Result<()> {
            assert!(offset + length as u64 <= self.size());
            if offset >= 6000 {
                return Err(io::ErrorKind::TimedOut.into());
            }
            into.extend((offset..offset + length as u64).map(|at| at as u8));
            Ok(())
        }
    }

    fn request(operation: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = ((40 + body.len()) as u32).to_le_bytes().to_vec();
        bytes.extend(operation.to_le_bytes());
        bytes.extend(77_u64.to_le_bytes());
        bytes.resize(40, 0);
        bytes.extend(body);
        bytes
    }

    fn read(offset: u64, size: u32) -> Vec<u8> {
        let mut body = [1_u64.to_le_bytes(), offset.to_le_bytes()].concat();
        body.extend(size.to_le_bytes());
        body.resize(40, 0);
        request(operation::READ, &body)
    }

    /// Length, error and unique number of an answer, and its body.
    fn parts(answer: &[u8]) -> (u32, i32, u64, &[u8]) {
        let number = |at: usize| u32::from_le_bytes(answer[at..at + 4].try_into().unwrap());
        let unique = u64::from_le_bytes(answer[8..16].try_into().unwrap());
        (number(0), number(4).cast_signed(), unique, &answer[16..])
    }

    #[test]
    fn answers_have_the_lengths_that_the_kernel_expects() {
        for (operation, length) in [
            (operation::INIT, 64),
            (operation::GETATTR, 104),
            (operation::OPEN, 16),
            (operation::STATFS, 80),
            (operation::FLUSH, 0),
            (operation::RELEASE, 0),
        ] {
            let bytes = answer(&request(operation, &[]), &Counting).unwrap();
            let (told, error, unique, body) = parts(&bytes);
            assert_eq!((told, error, unique, body.len()), (16 + length, 0, 77, length as usize), "{operation}");
        }
    }

    #[test]
    fn reads_end_with_the_file() {
        let bytes = answer(&read(3, 5), &Counting).unwrap();
        assert_eq!(parts(&bytes), (21, 0, 77, &[3, 4, 5, 6, 7][..]));
        let bytes = answer(&read(5990, 4096), &Counting).unwrap();
        assert_eq!(parts(&bytes).3.len(), 4010);
        for offset in [10_000, u64::MAX] {
            assert_eq!(parts(&answer(&read(offset, 4096), &Counting).unwrap()), (16, 0, 77, &[][..]), "{offset}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_error_without_bytes() {
        assert_eq!(parts(&answer(&read(6000, 10), &Counting).unwrap()), (16, -libc::EIO, 77, &[][..]));
    }

    #[test]
    fn other_requests_are_refused_and_notices_are_not_answered() {
        let bytes = answer(&request(1, b"name\0"), &Counting).unwrap();
        assert_eq!(parts(&bytes), (16, -libc::ENOSYS, 77, &[][..]));
        for notice in [operation::FORGET, operation::BATCH_FORGET, operation::INTERRUPT] {
            assert_eq!(answer(&request(notice, &[0; 8]), &Counting), None);
        }
        assert_eq!(answer(&[0; 39], &Counting), None);
    }

    proptest! {
        #[test]
        fn any_request_gets_an_answer_of_the_length_that_it_tells(operation in 0_u32..64, body: Vec<u8>) {
            if let Some(bytes) = answer(&request(operation, &body), &Counting) {
                prop_assert_eq!(parts(&bytes).0 as usize, bytes.len());
            }
        }
    }
}
