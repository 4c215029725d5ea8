//! [`Feature`]: settings that code for a GPU is compiled for.

/// A setting that code is compiled for and a GPU runs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// Error correction in the GPU's static memories.
    Sramecc,
    /// Retrying memory accesses after page faults.
    Xnack,
}

impl Feature {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sramecc => "sramecc",
            Self::Xnack => "xnack",
        }
    }
}
