//! [`Preference`]: how readily the solver takes a package of an archive.

/// How readily a package is taken, best first. [`Policy`](crate::policy::Policy) decides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Preference {
    /// Before all others, whatever their versions.
    First,
    /// Before the usual ones, whatever their versions.
    Named,
    /// Of these the highest version.
    #[default]
    Usual,
    /// Where nothing else will do.
    Needed,
    /// Never: the package is to come from another archive.
    Elsewhere,
    /// Never: others are to come from its archive.
    NotNamed,
    /// Never: another version is asked for.
    OtherVersion,
}

impl Preference {
    /// Whether it may be taken.
    pub fn is_taken(self) -> bool {
        self <= Self::Needed
    }
}
