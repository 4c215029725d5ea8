//! [`Target`]: the target that GPU code is compiled for, `gfx1030` or `gfx90a:sramecc+:xnack-` (LLVM's "User Guide
//! for AMDGPU Backend", sections Processors and Target ID).

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::feature::Feature;
use crate::generic::Generic;

/// A target ID: a processor, or a generic processor that stands for several, and settings of target features.
///
/// Written and read (also by serde) as LLVM writes it: `gfx942`, `gfx90a:sramecc+:xnack-`, `gfx10-3-generic`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(into = "String", try_from = "String")]
pub struct Target {
    processor: Processor,
    sramecc: Option<bool>,
    xnack: Option<bool>,
}

/// The part of a target before the first colon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Processor {
    /// One kind of chip, by the version of its instruction set: gfx90a is 9, 0, 10.
    Version {
        /// First part, decimal in the name.
        major: u8,
        /// Second part, one hexadecimal digit in the name.
        minor: u8,
        /// Third part, one hexadecimal digit in the name.
        stepping: u8,
    },
    /// A name for what several chips have in common.
    Generic(Generic),
}

/// The reason why a text is not a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It does not have the form of one.
    #[error(
        "`{0}` is not a GPU target; targets are `gfx` and at least three digits (gfx1030, gfx90a) or one of {list}",
        list = Generic::list()
    )]
    NotATarget(String),
    /// The part after a colon is not a feature with a sign.
    #[error(
        "`{feature}` in GPU target `{target}` is not a target feature; there are sramecc and xnack, each followed by + or -"
    )]
    UnknownFeature {
        /// The whole text.
        target: String,
        /// The wrong part.
        feature: String,
    },
    /// A feature is repeated.
    #[error("GPU target `{target}` sets {feature} twice")]
    RepeatedFeature {
        /// The whole text.
        target: String,
        /// The feature's name.
        feature: &'static str,
    },
    /// The processor does not have the feature.
    #[error("GPU target `{target}`: {processor} has no {feature} setting; leave it out")]
    UnsupportedFeature {
        /// The whole text.
        target: String,
        /// The processor's name.
        processor: Processor,
        /// The feature's name.
        feature: &'static str,
    },
}

impl Target {
    /// The target of a kind of chip, without feature settings. `None` if minor or stepping don't fit in one
    /// hexadecimal digit or the major version is 0.
    pub fn new(major: u8, minor: u8, stepping: u8) -> Option<Self> {
        (major > 0 && minor < 16 && stepping < 16).then_some(Self {
            processor: Processor::Version { major, minor, stepping },
            sramecc: None,
            xnack: None,
        })
    }

    /// The target for KFD's `gfx_target_version`: 100300 is gfx1030, 90010 is gfx90a. `None` for 0, which CPU nodes
    /// have, and for numbers that no target has.
    pub(crate) fn from_gfx_target_version(version: u64) -> Option<Self> {
        let major = u8::try_from(version / 10_000).ok()?;
        let minor = u8::try_from(version / 100 % 100).ok()?;
        let stepping = u8::try_from(version % 100).ok()?;
        Self::new(major, minor, stepping)
    }

    /// The part without feature settings.
    pub fn processor(&self) -> Processor {
        self.processor
    }

    /// The setting of a feature; `None` means either, or unknown.
    pub fn feature(&self, feature: Feature) -> Option<bool> {
        match feature {
            Feature::Sramecc => self.sramecc,
            Feature::Xnack => self.xnack,
        }
    }

    /// This target with a feature set on or off; unchanged if the processor does not have the feature.
    #[must_use]
    pub fn with(mut self, feature: Feature, on: bool) -> Self {
        if self.processor.has(feature) {
            match feature {
                Feature::Sramecc => self.sramecc = Some(on),
                Feature::Xnack => self.xnack = Some(on),
            }
        }
        self
    }

    /// This target without feature settings.
    #[must_use]
    pub fn without_features(self) -> Self {
        Self { sramecc: None, xnack: None, ..self }
    }

    /// Whether it names a family instead of one kind of chip.
    pub fn is_generic(&self) -> bool {
        matches!(self.processor, Processor::Generic(_))
    }

    /// The generic target that stands for this kind of chip, if there is one.
    pub fn generic(&self) -> Option<Self> {
        let processor = Generic::ALL.into_iter().find(|generic| self.processor.is_covered_by(*generic))?;
        Some(Self { processor: Processor::Generic(processor), sramecc: None, xnack: None })
    }

    /// Whether a GPU with this target runs code that was compiled for `wanted`.
    ///
    /// As in ROCm, the processor has to be the same or covered by the wanted generic one, and a feature that both
    /// sides set has to have the same setting. A GPU whose setting is not known is accepted: the kernel does not
    /// report xnack, and processes may choose it.
    pub fn satisfies(&self, wanted: &Self) -> bool {
        let processor = self.processor == wanted.processor
            || matches!(wanted.processor, Processor::Generic(generic) if self.processor.is_covered_by(generic));
        processor && agree(self.sramecc, wanted.sramecc) && agree(self.xnack, wanted.xnack)
    }
}

fn agree(ours: Option<bool>, wanted: Option<bool>) -> bool {
    ours.zip(wanted).is_none_or(|(ours, wanted)| ours == wanted)
}

impl Processor {
    /// Whether code for the generic processor runs on this one.
    fn is_covered_by(self, generic: Generic) -> bool {
        matches!(self, Self::Version { major, minor, stepping } if generic.covers((major, minor, stepping)))
    }

    /// Whether its targets may set the feature. Processors newer than this code are assumed to.
    pub fn has(self, feature: Feature) -> bool {
        match (self, feature) {
            (Self::Generic(generic), feature) => generic.has(feature),
            (Self::Version { major: 13.., .. } | Self::Version { major: 9, .. }, Feature::Xnack)
            | (Self::Version { major: 13.., .. }, Feature::Sramecc) => true,
            (Self::Version { major, minor, stepping }, Feature::Xnack) => {
                matches!((major, minor, stepping), (8, 0, 1) | (8, 1, 0) | (10, 1, _))
            }
            (Self::Version { major, minor, stepping }, Feature::Sramecc) => {
                matches!((major, minor, stepping), (9, 0, 6 | 8 | 10) | (9, 4 | 5, _))
            }
        }
    }
}

impl fmt::Display for Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version { major, minor, stepping } => write!(f, "gfx{major}{minor:x}{stepping:x}"),
            Self::Generic(generic) => write!(f, "{generic}"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.processor.to_string();
        for feature in [Feature::Sramecc, Feature::Xnack] {
            if let Some(on) = self.feature(feature) {
                text.push(':');
                text.push_str(feature.name());
                text.push(if on { '+' } else { '-' });
            }
        }
        f.pad(&text)
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        let processor = parse_processor(name).ok_or_else(|| TargetError::NotATarget(text.to_owned()))?;
        let mut target = Self { processor, sramecc: None, xnack: None };
        for part in parts {
            let (feature, on) = parse_feature(part)
                .ok_or_else(|| TargetError::UnknownFeature { target: text.to_owned(), feature: part.to_owned() })?;
            if !processor.has(feature) {
                return Err(TargetError::UnsupportedFeature {
                    target: text.to_owned(),
                    processor,
                    feature: feature.name(),
                });
            }
            if target.feature(feature).is_some() {
                return Err(TargetError::RepeatedFeature { target: text.to_owned(), feature: feature.name() });
            }
            target = target.with(feature, on);
        }
        Ok(target)
    }
}

fn parse_processor(name: &str) -> Option<Processor> {
    if let Some(generic) = Generic::from_name(name) {
        return Some(Processor::Generic(generic));
    }
    let digits = name.strip_prefix("gfx")?;
    let (major, rest) = digits.split_at_checked(digits.len().checked_sub(2)?)?;
    // `parse` accepts these too, but no target has them: a sign, leading zeros.
    if !major.bytes().all(|byte| byte.is_ascii_digit()) || major.starts_with('0') || !is_lower_hex(rest) {
        return None;
    }
    let [minor, stepping] = rest.as_bytes() else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(Target::new(major.parse().ok()?, digit(*minor)?, digit(*stepping)?)?.processor)
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn parse_feature(text: &str) -> Option<(Feature, bool)> {
    let (name, on) = match text.strip_suffix('+') {
        Some(name) => (name, true),
        None => (text.strip_suffix('-')?, false),
    };
    [Feature::Sramecc, Feature::Xnack].into_iter().find(|feature| feature.name() == name).map(|feature| (feature, on))
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.to_string()
    }
}

impl TryFrom<String> for Target {
    type Error = TargetError;

    fn try_from(text: String) -> Result<Self, TargetError> {
        text.parse()
    }
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
