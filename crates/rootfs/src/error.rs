//! What can go wrong between packages and a root directory.

use std::io;
use std::path::PathBuf;

use fsimage::TreeError;

use crate::deb::DebError;
use crate::sandbox::SandboxError;

/// Why a root directory could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A package file cannot be read.
    #[error("package {package} ({}): {source}", path.display())]
    Deb {
        /// The package's name.
        package: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: DebError,
    },
    /// A package file holds another package than it should.
    #[error("{} holds {found}, not {expected}: the file does not belong to the lock", path.display())]
    WrongPackage {
        /// The file.
        path: PathBuf,
        /// Name, version and architecture that were asked for.
        expected: String,
        /// Those in the file.
        found: String,
    },
    /// Files of packages are not what their digests say.
    #[error("{}", damage(.0))]
    Damaged(Vec<Damaged>),
    /// A file cannot be opened, made or changed.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was tried, as a gerund.
        action: &'static str,
        /// The file; relative ones are inside the root.
        path: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The file system became full.
    #[error(
        "unpacking packages into {}: {source}; they need about {needed} MiB, and the file system at {} has {size} MiB in all\
         \n  help: free space there (`rocbed cache prune` removes what was not used for long), or put the cache on another \
         file system with --cache", root.display(), mount.display()
    )]
    NoSpace {
        /// The directory.
        root: PathBuf,
        /// Where the file system is mounted.
        mount: PathBuf,
        /// What the packages need by their Installed-Size, in MiB.
        needed: u64,
        /// What the file system holds, in MiB.
        size: u64,
        /// The system's answer.
        source: io::Error,
    },
    /// Two packages ship the same file, and neither says that it replaces the other.
    #[error("packages {first} and {second} both ship /{path}, and neither Replaces the other; leave one of them out")]
    Conflict {
        /// The package that comes first in the list.
        first: String,
        /// The other one.
        second: String,
        /// The file.
        path: String,
    },
    /// An archive's entries contradict each other or the root directory.
    #[error("package {package}, /{path}: {what}")]
    Entry {
        /// The package.
        package: String,
        /// The entry.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// Work that needs root was started without it.
    #[error("unpacking keeps owners, so it has to run as root or after becoming root in a user namespace")]
    NotRoot,
    /// The root directory is not empty.
    #[error("{} is not empty: give a new or an empty directory", .0.display())]
    NotEmpty(PathBuf),
    /// A maintainer script, or dpkg itself, failed inside the root.
    #[error("{what}{}\nlast lines of its output (all of it is in {}):\n{tail}", script.as_ref().map(|script| format!(": {script}")).unwrap_or_default(), log.display())]
    Script {
        /// The command, and how it ended.
        what: String,
        /// Package, script and exit status, where dpkg said so.
        script: Option<String>,
        /// The last lines of the output.
        tail: String,
        /// The file with all output.
        log: PathBuf,
    },
    /// The sandbox could not be set up.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The file tree refused a change.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A file that has to be changed does not look as expected.
    #[error("/{path}: {what}")]
    Malformed {
        /// The file inside the root.
        path: String,
        /// What is wrong with it.
        what: String,
    },
}

/// A package's file that has not the content it should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// The package's name.
    pub package: String,
    /// The file.
    pub path: PathBuf,
    /// The SHA-256 that its content should have.
    pub sha256: [u8; 32],
}

fn damage(files: &[Damaged]) -> String {
    let describe = |file: &Damaged| {
        let digest = hex::encode(file.sha256);
        format!(
            "the file of package {} is damaged: {} does not have the SHA-256 {digest}",
            file.package,
            file.path.display()
        )
    };
    files.iter().map(describe).collect::<Vec<_>>().join("\n")
}

impl Error {
    pub(crate) fn io<E: Into<io::Error>>(action: &'static str, path: impl AsRef<[u8]>) -> impl FnOnce(E) -> Self {
        move |source| Self::Io {
            action,
            path: String::from_utf8_lossy(path.as_ref()).into_owned(),
            source: source.into(),
        }
    }
}
