//! A template for an entry of the catalogue, and for its test. Only tests compile it: it is not in the catalogue.
//!
//! Copy the entry into the file of its kind, a line of a log into the test of its kind in `messages/tests.rs`, and
//! replace what is made up here. `CONTRIBUTING.md` has the steps.

use super::super::Spoken;
use super::super::pattern::Pattern;
use super::{CatalogueEntry, FaultKind, Speaker, all, fault};

/// `fault` leaves the GPU, its driver or the machine not as it was; `contained` ends only the process that did it;
/// `detail` belongs to another message; `start` is why a GPU did not start. In `harmless.rs` the text after the words
/// says why it is no fault.
#[rustfmt::skip]
const ENTRY: CatalogueEntry = fault(
    // Which part of the kernel prints it, and so what the line begins with.
    Speaker::Driver,
    // What has happened.
    FaultKind::Hang,
    // Its constant words from the beginning on. `{n}` is a number, `{n+}` one that is not 0, `{w}` a word without blanks,
    // `{}` any text. What follows does not matter.
    "example block {w} did not answer within {n} ms",
    // The first kernel with these words; `4.x` is anything before 5.0.
    "6.12",
    // Where they are in the kernel's source, below `drivers/gpu/drm/amd`.
    "amdgpu/amdgpu_example.c",
);

/// Messages as a kernel's log has them after the time, which the entry has to find.
const FOUND: &[&str] = &[
    "amdgpu 0000:03:00.0: amdgpu: example block gfx_0 did not answer within 250 ms, status 0x3",
    "[drm:amdgpu_example_wait [amdgpu]] *ERROR* example block sdma1 did not answer within 1000 ms",
];

/// Messages that look like it and are something else.
const NOT_FOUND: &[&str] = &[
    // Nothing has happened yet.
    "amdgpu 0000:03:00.0: amdgpu: example block gfx_0 did not answer, trying again",
    // Text that a program has chosen stands in the middle of a message.
    "tmpfs: Unknown parameter 'example block gfx_0 did not answer within 250 ms'",
];

#[test]
fn the_templates_entry_finds_its_messages_and_no_others() {
    let pattern = Pattern::new(ENTRY.words);
    let finds = |message: &str| pattern.find(Spoken::read(message).body).is_some();
    assert_eq!(FOUND.iter().filter(|message| !finds(message)).collect::<Vec<_>>(), Vec::<&&str>::new());
    assert_eq!(NOT_FOUND.iter().filter(|message| finds(message)).collect::<Vec<_>>(), Vec::<&&str>::new());
    assert!(all().all(|entry| entry.words != ENTRY.words), "the template's entry is no message of the kernel");
}
