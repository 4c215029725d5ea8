//! Checks the memory for the root before anything is downloaded.

/// What the appliance needs in addition to its root, in bytes: programs, their files in memory, a small test.
pub const RESERVE: u64 = 200 << 20;

/// Size of a root in zram as a ratio to the compressed file, in tenths: zram compresses each page of 4 KiB on its
/// own. Measured: 13.2 (smoke).
const OF_COMPRESSED: u64 = 14;

/// Size of a root in zram as a ratio to the uncompressed file, in tenths. Measured: 4.8 (smoke).
const OF_PLAIN: u64 = 6;

/// The memory in bytes for a root whose file on the server has `length` bytes, with the appliance's own needs.
pub fn needed(length: u64, compressed: bool) -> u64 {
    let tenths = if compressed { OF_COMPRESSED } else { OF_PLAIN };
    (length / 10).saturating_mul(tenths).saturating_add(RESERVE)
}

/// The compression algorithm for a root of this size, with so much memory available, both in bytes. With plenty of
/// memory the kernel's default (lzo-rle): about twice as fast, in writing now and in reading whenever a program
/// starts, for a quarter more memory. Otherwise zstd, which [`needed`] assumes.
pub fn algorithm(size: u64, available: u64) -> Option<&'static str> {
    let plenty = size.saturating_add(RESERVE);
    (available < plenty).then_some("zstd")
}

/// Formats bytes for people: `1.1 GiB`, `361 MiB`.
pub fn shown(bytes: u64) -> String {
    match bytes >> 20 {
        mebibytes if mebibytes < 1000 => format!("{mebibytes} MiB"),
        mebibytes => format!("{:.1} GiB", mebibytes as f64 / 1024.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_short_is_used_well() {
        assert_eq!(algorithm(1 << 30, 1 << 30), Some("zstd"));
        assert_eq!(algorithm(1 << 30, 2 << 30), None);
    }

    #[test]
    fn people_see_mebibytes_or_gibibytes() {
        assert_eq!(shown(needed(120 << 20, true)), "368 MiB");
        assert_eq!(shown(needed(2 << 30, false)), "1.4 GiB");
        assert_eq!(needed(u64::MAX, true), u64::MAX);
    }
}
