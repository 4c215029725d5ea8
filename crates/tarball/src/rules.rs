//! What an archive may contain, and how much of it.

/// Longest path, and longest target of a link, in bytes: one less than the kernel's `PATH_MAX`.
pub const LONGEST_PATH: usize = 4095;
/// Longest file name on Linux file systems, in bytes.
pub const LONGEST_NAME: usize = 255;

/// Limits for an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Most bytes, headers and padding included.
    pub bytes: u64,
    /// Most entries.
    pub entries: usize,
    /// Most bytes of all paths and link targets together.
    pub names: usize,
    /// Longest path in bytes, at most [`LONGEST_PATH`].
    pub path: usize,
    /// Accepted kind of archive.
    pub form: Form,
}

/// A kind of archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Part of a root directory, as in a `.deb` (deb(5)): all types of entries except sparse files. An absolute path is one
    /// inside the root, as for dpkg.
    Root,
    /// A source tree, from any tar: like [`Form::Root`], without devices and named pipes.
    Tree,
    /// An archive that only rocbed writes: regular files, directories and symbolic links, each written in one way. No hard
    /// links and no PAX headers; paths are written as they come out, except for a slash at the end of a directory; only
    /// files have a length.
    Plain,
}
