//! [`MemberKind`]: what an entry of an archive may be, and the error for all others.

use crate::ReadError;

/// Type of an entry, with a link's target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MemberKind {
    File,
    Directory,
    Link(Vec<u8>),
    HardLink(Vec<u8>),
}

/// The error for an archive that violates the rules.
pub(crate) fn wrong(message: impl Into<String>) -> ReadError {
    ReadError::Wrong(message.into())
}
