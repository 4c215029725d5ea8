//! Memory that was freed, and that the allocator keeps for later. The unsafe call for it is only here.
#![allow(unsafe_code)]

/// Gives freed memory back to the kernel. Without this, what was allocated in small pieces may stay with this process after it
/// was freed, as pieces between them are still in use.
pub(super) fn give_back() {
    // SAFETY: it only looks at the allocator's own lists, under their locks, and never at memory that is in use
    // (malloc_trim(3)).
    unsafe { libc::malloc_trim(0) };
}
