//! Limits on unpacking a package: a small file can be made that fills any disk and memory.

use tarball::{Form, Rules};

/// Maximum number of entries of a data archive; the largest in Debian have 120,000.
const ENTRIES: usize = 1_000_000;
/// Maximum number of bytes of all its paths and link targets; the largest in Debian have 20 MiB.
const NAMES: usize = 512 << 20;
/// Maximum length of a path in bytes: the kernel's limit (4095), minus room for the path of the root directory.
const PATH: usize = 3072;

/// Maximum size of a data archive in bytes, whatever the package says.
const DATA: u64 = 64 << 30;
/// Factor by which a package may exceed its own Installed-Size: that is computed in several ways, and without tar's
/// headers.
const FACTOR: u64 = 4;
const SLACK: u64 = 64 << 20;

/// Rules for a control archive. The largest in Debian have a few MiB of symbols; about 20 names have a meaning.
pub(super) const CONTROL_RULES: Rules =
    Rules { bytes: 64 << 20, entries: 1000, names: 1 << 20, path: PATH, form: Form::Root };

/// Rules for a data archive, for an Installed-Size in KiB (deb-control(5)).
pub(super) fn data(installed_size: Option<u64>) -> Rules {
    let bytes = installed_size.map_or(DATA, |size| size.saturating_mul(1024 * FACTOR).saturating_add(SLACK).min(DATA));
    Rules { bytes, entries: ENTRIES, names: NAMES, path: PATH, form: Form::Root }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_package_s_own_size_with_room() {
        assert_eq!(data(Some(0)).bytes, SLACK);
        assert_eq!(data(Some(1 << 20)).bytes, (4 << 30) + SLACK);
        assert_eq!([data(None).bytes, data(Some(u64::MAX)).bytes], [DATA, DATA]);
    }
}
