//! [`Generic`]: processors that stand for several chips (LLVM's "User Guide for AMDGPU Backend", table "AMDGPU Generic
//! Processors").

use std::fmt;

use crate::feature::Feature;

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
    /// `gfx11-generic`: gfx1100 to gfx1103 and gfx1150 to gfx1154.
    Gfx11,
    /// `gfx12-generic`: gfx1200 and gfx1201.
    Gfx12,
    /// `gfx12-5-generic`: gfx1250 and gfx1251.
    Gfx12_5,
    /// One that is newer than this list, `gfx13-generic` or `gfx11-7-generic`: major version, and minor if the name
    /// has one. No GPU matches it.
    Other(u8, Option<u8>),
}

impl Generic {
    /// All known ones.
    pub const ALL: [Self; 7] =
        [Self::Gfx9, Self::Gfx9_4, Self::Gfx10_1, Self::Gfx10_3, Self::Gfx11, Self::Gfx12, Self::Gfx12_5];

    const fn known(self) -> &'static str {
        match self {
            Self::Gfx9 => "gfx9-generic",
            Self::Gfx9_4 => "gfx9-4-generic",
            Self::Gfx10_1 => "gfx10-1-generic",
            Self::Gfx10_3 => "gfx10-3-generic",
            Self::Gfx11 => "gfx11-generic",
            Self::Gfx12 => "gfx12-generic",
            Self::Gfx12_5 => "gfx12-5-generic",
            Self::Other(..) => "",
        }
    }

    /// The generic processor with this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|generic| generic.known() == name).or_else(|| {
            let version = name.strip_prefix("gfx")?.strip_suffix("-generic")?;
            let number = |digits: &str| -> Option<u8> {
                let is_number = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
                is_number.then(|| digits.parse().ok())?
            };
            match version.split_once('-') {
                Some((major, minor)) => Some(Self::Other(number(major)?, Some(number(minor)?))),
                None => Some(Self::Other(number(version)?, None)),
            }
        })
    }

    /// Whether code for it runs on chips of this version: major, minor, stepping.
    pub fn covers(self, version: (u8, u8, u8)) -> bool {
        match self {
            Self::Gfx9 => matches!(version, (9, 0, 0 | 2 | 4 | 6 | 9 | 12)),
            Self::Gfx9_4 => matches!(version, (9, 4, 0..=2) | (9, 5, 0)),
            Self::Gfx10_1 => matches!(version, (10, 1, 0..=3)),
            Self::Gfx10_3 => matches!(version, (10, 3, 0..=6)),
            Self::Gfx11 => matches!(version, (11, 0 | 5, 0..=3) | (11, 5, 4)),
            Self::Gfx12 => matches!(version, (12, 0, 0..=1)),
            Self::Gfx12_5 => matches!(version, (12, 5, 0..=1)),
            Self::Other(..) => false,
        }
    }

    /// Whether it has the feature in LLVM's table.
    pub fn has(self, feature: Feature) -> bool {
        match feature {
            // An unknown one is assumed to have every feature.
            _ if matches!(self, Self::Other(..)) => true,
            Feature::Xnack => matches!(self, Self::Gfx9 | Self::Gfx9_4 | Self::Gfx10_1),
            Feature::Sramecc => self == Self::Gfx9_4,
        }
    }

    pub(crate) fn list() -> String {
        Self::ALL.map(Self::known).join(", ")
    }
}

/// Prints LLVM's name.
impl fmt::Display for Generic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(major, None) => write!(f, "gfx{major}-generic"),
            Self::Other(major, Some(minor)) => write!(f, "gfx{major}-{minor}-generic"),
            known => f.write_str(known.known()),
        }
    }
}
