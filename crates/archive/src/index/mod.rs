//! Package indexes: the `Packages` and `Sources` files of an archive, and lookup of packages in several of them.
//!
//! A `Packages` file of sid has 77,000 stanzas in 65 MB, of which a build needs a few hundred. So [`Universe`] keeps
//! the text, records the positions of each stanza and of its name, version and provided names, and parses the rest on
//! demand.

mod package;
mod preference;
mod scan;
mod sources;
mod universe;

pub use package::{FieldError, MultiArch, Package};
pub use preference::Preference;
pub use scan::{IndexError, LeftOut};
pub use sources::{SourceFile, SourceIndex, SourcePackage};
pub use universe::{IndexText, PackageId, Universe};

/// Whether a path from an index or a Release file stays below the archive's root and is plain enough to put in a URL:
/// relative, no `.`, `..` or empty parts, no control characters, no backslash, nothing that was not UTF-8.
pub fn is_safe_path(path: &str) -> bool {
    !path.is_empty()
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
        && !path.chars().any(|c| c.is_control() || matches!(c, '\\' | char::REPLACEMENT_CHARACTER))
}
