//! [`Lockdown`]: what the kernel forbids even to root, as it does when Secure Boot is on (`kernel_lockdown(7)`).

use std::fmt;

use crate::sysfs::Sysfs;

/// Where the kernel says it, in securityfs.
const FILE: &str = "kernel/security/lockdown";

/// The mode of a kernel that is locked down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lockdown {
    /// Nothing can change the running kernel.
    Integrity,
    /// Nothing can read its memory either.
    Confidentiality,
}

impl Lockdown {
    /// What this takes away that people miss on a machine with GPUs.
    pub const TAKES_AWAY: &str = "debugfs, unsigned modules, kexec, hibernation, /dev/mem and writing MSRs";

    /// Reads the mode; `None` for a kernel that is not locked down, and where securityfs is not mounted.
    pub fn read(sysfs: &Sysfs) -> Option<Self> {
        Self::parse(&sysfs.value(FILE)?)
    }

    /// The word in brackets in `none [integrity] confidentiality`, if it is not `none`.
    fn parse(modes: &str) -> Option<Self> {
        let (_, rest) = modes.split_once('[')?;
        match rest.split_once(']')?.0 {
            "integrity" => Some(Self::Integrity),
            "confidentiality" => Some(Self::Confidentiality),
            _ => None,
        }
    }
}

impl fmt::Display for Lockdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Integrity => "integrity",
            Self::Confidentiality => "confidentiality",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_is_the_word_in_brackets() {
        assert_eq!(Lockdown::parse("none [integrity] confidentiality"), Some(Lockdown::Integrity));
        assert_eq!(Lockdown::parse("none integrity [confidentiality]"), Some(Lockdown::Confidentiality));
        for not_locked in ["[none] integrity confidentiality", "none", "", "[", "[more]"] {
            assert_eq!(Lockdown::parse(not_locked), None, "{not_locked:?}");
        }
    }
}
