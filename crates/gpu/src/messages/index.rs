//! An index of the catalogue for fast searching.

use std::sync::LazyLock;

use super::catalogue;
use super::entry::{CatalogueEntry, Speaker};
use super::pattern::Pattern;
use super::speaker::By;

/// Entries by the first byte of their messages.
type Buckets = Vec<Vec<u16>>;

struct Index {
    entries: Vec<(&'static CatalogueEntry, Pattern)>,
    driver: Buckets,
    bus: Buckets,
    kernel: Buckets,
    /// Messages of a device's driver and of the PCI core have the same prefix.
    gpu: Buckets,
}

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let entries: Vec<_> = catalogue::all().map(|entry| (entry, Pattern::new(entry.words))).collect();
    let buckets = |belongs: &dyn Fn(Speaker) -> bool| {
        let mut buckets: Buckets = vec![Vec::new(); 256];
        for (number, (_, pattern)) in entries.iter().enumerate().filter(|(_, (entry, _))| belongs(entry.speaker)) {
            for (byte, bucket) in buckets.iter_mut().enumerate() {
                if pattern.first().is_none_or(|first| usize::from(first) == byte) {
                    bucket.push(u16::try_from(number).unwrap_or(u16::MAX));
                }
            }
        }
        buckets
    };
    let driver = buckets(&|speaker| speaker.is_driver());
    let bus = buckets(&|speaker| speaker.is_bus());
    let kernel = buckets(&|speaker| speaker.is_kernel());
    let gpu = buckets(&|speaker| speaker.is_driver() || speaker.is_bus());
    Index { entries, driver, bus, kernel, gpu }
});

/// Finds the entry that matches a message, and the texts at its placeholders.
pub(crate) fn find<'t>(by: By<'_>, body: &'t str) -> Option<(&'static CatalogueEntry, Vec<&'t str>)> {
    let index = &*INDEX;
    let buckets = match by {
        By::Gpu(_) => &index.gpu,
        By::Device(..) | By::Apei => &index.bus,
        By::Driver => &index.driver,
        By::Kernel => &index.kernel,
    };
    let first = body.as_bytes().first()?.to_ascii_lowercase();
    let candidates = buckets.get(usize::from(first))?;
    candidates.iter().find_map(|number| {
        let (entry, pattern) = index.entries.get(usize::from(*number))?;
        Some((*entry, pattern.find(body)?))
    })
}
