//! [`Generic`]: processors that stand for several chips (LLVM's "User Guide for AMDGPU Backend", table "AMDGPU Generic
//! Processors").

use crate::target::{Feature, Processor};

/// A generic processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Generic {
    /// `gfx9-generic`: Vega and its APUs, but neither gfx908 nor gfx90a.
    Gfx9,
    /// `gfx9-4-generic`: gfx940 to gfx942 and gfx950.
    Gfx9_4,
    /// `gfx10-1-generic`: gfx1010 to gfx1013.
    Gfx10_1,
    /// `gfx10-3-generic`: gfx1030 to gfx1036.
    Gfx10_3,
    /// `gfx11-generic`: gfx1100 to gfx1103 and gfx1150 to gfx1153.
    Gfx11,
    /// `gfx12-generic`: gfx1200 and gfx1201.
    Gfx12,
    /// `gfx12-5-generic`: gfx1250 and gfx1251.
    Gfx12_5,
}

impl Generic {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Gfx9, Self::Gfx9_4, Self::Gfx10_1, Self::Gfx10_3, Self::Gfx11, Self::Gfx12, Self::Gfx12_5];

    /// LLVM's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gfx9 => "gfx9-generic",
            Self::Gfx9_4 => "gfx9-4-generic",
            Self::Gfx10_1 => "gfx10-1-generic",
            Self::Gfx10_3 => "gfx10-3-generic",
            Self::Gfx11 => "gfx11-generic",
            Self::Gfx12 => "gfx12-generic",
            Self::Gfx12_5 => "gfx12-5-generic",
        }
    }

    /// The one with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|generic| generic.name() == name)
    }

    /// Whether code for it runs on this processor.
    pub fn covers(self, processor: Processor) -> bool {
        let Processor::Version { major, minor, stepping } = processor else { return false };
        let version = (major, minor, stepping);
        match self {
            Self::Gfx9 => matches!(version, (9, 0, 0 | 2 | 4 | 6 | 9 | 12)),
            Self::Gfx9_4 => matches!(version, (9, 4, 0..=2) | (9, 5, 0)),
            Self::Gfx10_1 => matches!(version, (10, 1, 0..=3)),
            Self::Gfx10_3 => matches!(version, (10, 3, 0..=6)),
            Self::Gfx11 => matches!(version, (11, 0 | 5, 0..=3)),
            Self::Gfx12 => matches!(version, (12, 0, 0..=1)),
            Self::Gfx12_5 => matches!(version, (12, 5, 0..=1)),
        }
    }

    /// Whether it has the feature in LLVM's table.
    pub fn has(self, feature: Feature) -> bool {
        match feature {
            Feature::Xnack => matches!(self, Self::Gfx9 | Self::Gfx9_4 | Self::Gfx10_1),
            Feature::Sramecc => self == Self::Gfx9_4,
        }
    }

    pub(crate) fn list() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}
