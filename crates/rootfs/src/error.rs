//! Errors of making a root directory from packages.

use std::io;
use std::path::PathBuf;

use advice::{Advise, Help};
use fsimage::TreeError;
use sha256::Digest;

use crate::sandbox::SandboxError;
use debian::deb::DebError;

/// A root directory that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A package file cannot be read.
    #[error("package {package} ({}): {source}", path.display())]
    Deb {
        /// Package name.
        package: String,
        /// Path of the file.
        path: PathBuf,
        /// The cause.
        source: DebError,
    },
    /// A package file holds another package than expected.
    #[error("{} holds {found}, not {expected}: the file does not belong to the lock", path.display())]
    WrongPackage {
        /// Path of the file.
        path: PathBuf,
        /// Expected name, version and architecture.
        expected: String,
        /// Name, version and architecture in the file.
        found: String,
    },
    /// Package files do not match their digests.
    #[error("{}", damage(.0))]
    Damaged(Vec<Damaged>),
    /// A file cannot be opened, created or changed.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was being done, as a gerund.
        action: &'static str,
        /// Path of the file; relative ones are inside the root.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// The file system is full.
    #[error(
        "unpacking packages into {}: {source}; they need about {needed} MiB, and the file system at {} has {size} MiB in all",
        root.display(), mount.display()
    )]
    NoSpace {
        /// Root directory.
        root: PathBuf,
        /// Mount point of the file system.
        mount: PathBuf,
        /// Space that the packages need by their Installed-Size, in MiB.
        needed: u64,
        /// Size of the file system, in MiB.
        size: u64,
        /// The cause.
        source: io::Error,
    },
    /// Two packages ship the same file, and neither declares to replace the other.
    #[error("packages {first} and {second} both ship /{path}, and neither Replaces the other")]
    Conflict {
        /// Name of the package that comes first in the list.
        first: String,
        /// Name of the other one.
        second: String,
        /// Path of the file.
        path: String,
    },
    /// An archive's entries contradict each other or the root directory.
    #[error("package {package}, /{path}: {what}")]
    Entry {
        /// Package name.
        package: String,
        /// Path of the entry.
        path: String,
        /// Description of the problem.
        what: String,
    },
    /// An operation needs root.
    #[error("unpacking keeps owners, so it has to run as root or after becoming root in a user namespace")]
    NotRoot,
    /// The root directory is not empty.
    #[error("{} is not empty", .0.display())]
    NotEmpty(PathBuf),
    /// A maintainer script, or dpkg itself, failed in the root.
    #[error("{what}{}\nlast lines of its output (all of it is in {}):\n{tail}", script.as_ref().map(|script| format!(": {script}")).unwrap_or_default(), log.display())]
    Script {
        /// The command, and its exit status.
        what: String,
        /// Package, script and exit status, if dpkg reported them.
        script: Option<String>,
        /// Last lines of the output.
        tail: String,
        /// Log file with all output.
        log: PathBuf,
    },
    /// The sandbox could not be set up.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A change of the file tree failed.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A file to edit does not have the expected format.
    #[error("/{path}: {what}")]
    Malformed {
        /// Path in the root.
        path: String,
        /// Description of the problem.
        what: String,
    },
}

/// A package file with wrong content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// Package name.
    pub package: String,
    /// Path of the file.
    pub path: PathBuf,
    /// Expected SHA-256 of the content.
    pub sha256: Digest,
}

fn damage(files: &[Damaged]) -> String {
    let describe = |file: &Damaged| {
        let digest = file.sha256;
        format!(
            "the file of package {} is damaged: {} does not have the SHA-256 {digest}",
            file.package,
            file.path.display()
        )
    };
    files.iter().map(describe).collect::<Vec<_>>().join("\n")
}

/// All results, or the errors: all damaged files together, so that they can be fetched together.
pub(crate) fn whole_or_damaged<T>(results: impl Iterator<Item = Result<T, Error>>) -> Result<Vec<T>, Error> {
    let (mut whole, mut damaged, mut failed) = (Vec::new(), Vec::new(), None);
    for result in results {
        match result {
            Ok(result) => whole.push(result),
            Err(Error::Damaged(files)) => damaged.extend(files),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    match failed {
        _ if !damaged.is_empty() => Err(Error::Damaged(damaged)),
        Some(error) => Err(error),
        None => Ok(whole),
    }
}

impl Advise for Error {
    fn help(&self) -> Help {
        match self {
            Self::NoSpace { .. } => {
                "free space there (`rocbed cache prune` removes what was not used for long), or put the \
                cache on another file system with --cache"
                    .into()
            }
            Self::Conflict { .. } => "leave one of them out".into(),
            Self::NotEmpty(_) => "give a new or an empty directory".into(),
            Self::Sandbox(error) => error.help(),
            _ => Help::none(),
        }
    }
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
