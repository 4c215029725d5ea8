//! A seccomp filter that makes syncing to disk free: a root directory that is not finished is worth nothing after a
//! power cut anyway, and dpkg syncs several times per package.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::io;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

const CALLS: [i64; 5] =
    [libc::SYS_fsync, libc::SYS_fdatasync, libc::SYS_sync, libc::SYS_syncfs, libc::SYS_sync_file_range];

/// The filter; `None` on an architecture it cannot be made for, where syncing then takes its time.
pub(super) fn without_sync() -> Option<BpfProgram> {
    let architecture = TargetArch::try_from(ARCH).ok()?;
    let rules = CALLS.into_iter().map(|call| (call, Vec::new())).collect::<BTreeMap<_, _>>();
    // The error number 0 is what a successful call returns.
    SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(0), architecture).ok()?.try_into().ok()
}

/// Applies the filter to this process and all it starts.
pub(super) fn apply(program: &BpfProgram) -> io::Result<()> {
    seccompiler::apply_filter(program).map_err(|error| match error {
        seccompiler::Error::Prctl(source) | seccompiler::Error::Seccomp(source) => source,
        other => io::Error::other(other.to_string()),
    })
}
