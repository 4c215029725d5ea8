//! Amounts of memory, and how a testbed's memory is divided among its file systems.

use crate::Error;

/// An amount of memory, as options have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// A number of bytes.
    Bytes(u64),
    /// A percentage of something that the option names.
    Percent(u8),
}

impl Memory {
    /// The amount in bytes, if it is of a whole with so many.
    pub(crate) fn of(self, whole: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => whole / 100 * u64::from(percent),
        }
    }
}

/// The machine's memory, now.
///
/// # Errors
/// If `/proc/meminfo` cannot be read.
pub(crate) fn of_machine() -> Result<machineinfo::Memory, Error> {
    machineinfo::Memory::read().map_err(Error::step("reading how much memory there is from /proc/meminfo"))
}

/// The limits of a file system in memory (tmpfs(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tmpfs {
    /// Most bytes of its files.
    pub(crate) size: u64,
    /// Most files. Each takes about a kilobyte of the kernel's memory, which `size` does not count.
    pub(crate) inodes: u64,
}

impl Tmpfs {
    /// A file system of this size, with a file for so many of its bytes.
    const fn new(size: u64, per_file: u64, fewest: u64) -> Self {
        let inodes = size / per_file;
        // For tmpfs, a limit of 0 is none.
        Self { size: if size < 4096 { 4096 } else { size }, inodes: if inodes < fewest { fewest } else { inodes } }
    }

    /// Its options for mount(2).
    pub(crate) fn options(self, mode: &str) -> String {
        format!("mode={mode},size={},nr_inodes={}", self.size, self.inodes)
    }
}

/// How many bytes of the overlay there are for a file: packages and source trees have files of about this size.
const OVERLAY_FILE: u64 = 8 << 10;
/// The same for the other file systems, which hold few files.
const OTHER_FILE: u64 = 32 << 10;
/// The fewest files of a file system.
const FEWEST: (u64, u64) = (16 << 10, 1 << 10);

/// The file systems of a testbed that are in memory.
///
/// What is in them stays when processes are ended, so they must not be able to use up the memory: then no command that
/// autopkgtest starts would survive, and nothing could be collected. Together they have at most four fifths of a limited
/// memory, and their files take less than a tenth besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileSystems {
    /// What the testbed writes, if that is in memory: `/tmp` and `/var/tmp` included.
    pub(crate) overlay: Tmpfs,
    /// `/dev/shm`.
    pub(crate) shared: Tmpfs,
    /// `/run`.
    pub(crate) run: Tmpfs,
    /// Whether the overlay is smaller than was asked for, because of the limit.
    pub(crate) is_cut: bool,
}

impl FileSystems {
    /// Divides the memory: a `limit`, or else all that the machine has. `overlay` is what was asked for, in bytes; 0 if
    /// the overlay is not in memory.
    pub(crate) fn within(limit: Option<u64>, machine: u64, overlay: u64) -> Self {
        let whole = limit.unwrap_or(machine).min(machine);
        let most = limit.map_or(u64::MAX, |_| whole / 3 * 2);
        let size = overlay.min(most);
        let rest = (whole / 5 * 4).saturating_sub(size);
        let shared = (rest / 3 * 2).clamp(whole / 16, whole / 5);
        let run = (rest / 3).clamp(whole / 32, whole / 10);
        Self {
            overlay: Tmpfs::new(size, OVERLAY_FILE, FEWEST.0),
            shared: Tmpfs::new(shared, OTHER_FILE, FEWEST.1),
            run: Tmpfs::new(run, OTHER_FILE, FEWEST.1),
            is_cut: size < overlay,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn a_percentage_is_of_the_whole() {
        assert_eq!((Memory::Bytes(7).of(GIB), Memory::Percent(50).of(1000)), (7, 500));
        let memory = of_machine().unwrap();
        assert!(memory.available < memory.total);
    }

    #[test]
    fn half_of_the_memory_is_the_overlays_and_three_tenths_the_others() {
        let systems = FileSystems::within(Some(10 * GIB), 64 * GIB, 5 * GIB);
        let sizes = [systems.overlay, systems.shared, systems.run].map(|system| system.size * 100 / (10 * GIB));
        assert_eq!((sizes, systems.is_cut), ([50, 20, 10], false));
        assert_eq!(systems.overlay.inodes, 5 * GIB / 8192);
        let run = Tmpfs::new(1 << 20, OTHER_FILE, FEWEST.1);
        assert_eq!(run.options("0755"), "mode=0755,size=1048576,nr_inodes=1024");
    }

    #[test]
    fn an_overlay_that_the_limit_has_no_room_for_is_smaller() {
        let systems = FileSystems::within(Some(3 * GIB), 64 * GIB, 32 * GIB);
        assert_eq!((systems.overlay.size, systems.is_cut), (2 * GIB, true));
        // Without a limit, the machine may have swap.
        let systems = FileSystems::within(None, 64 * GIB, 128 * GIB);
        assert_eq!((systems.overlay.size, systems.shared.size, systems.is_cut), (128 * GIB, 4 * GIB, false));
    }

    proptest! {
        #[test]
        fn files_leave_a_tenth_of_any_limit(limit in (256_u64 << 20)..(1 << 50), overlay: u64) {
            let systems = FileSystems::within(Some(limit), u64::MAX, overlay);
            let all = [systems.overlay, systems.shared, systems.run];
            let sum: u64 = all.iter().map(|system| system.size + system.inodes * 1024).sum();
            prop_assert!(sum <= limit / 10 * 9, "{sum} of {limit}");
            prop_assert!(all.iter().all(|system| system.size > 0 && system.inodes > 0));
        }
    }
}
