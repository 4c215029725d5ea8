//! What may come from which of several archives, and which versions.
//!
//! Unless a [`Policy`] says otherwise, all archives count alike and the highest version is taken, as apt does with archives of one
//! priority. An archive with a [`Share`] gives what it is named for, whatever version the others have, and besides only
//! what these packages need and no other archive can give.

mod needed;

use std::collections::BTreeMap;

use advice::{Advise, Help};
use debian::version::compare;

use crate::index::{Package, PackageId, Preference, Universe};

/// What comes from an archive.
pub enum Share<'a> {
    /// All of it, before all other archives.
    First,
    /// The packages for which this holds.
    Named(Box<dyn Fn(&Package<'_>) -> bool + 'a>),
}

/// Packages that a [`Pin`] is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinKind {
    /// The package of this name.
    Package,
    /// All packages of the source package of this name.
    Source,
}

/// The exact version of a package, or of all packages of a source package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Which packages have the name.
    pub kind: PinKind,
    /// Name of the package or source package.
    pub name: String,
    /// Its version.
    pub version: String,
}

impl std::fmt::Display for Pin {
    /// As in a recipe: `rocminfo`, `src:rocr-runtime`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let prefix = if self.kind == PinKind::Source { "src:" } else { "" };
        write!(f, "{prefix}{}", self.name)
    }
}

/// What may come from which archive, and which versions.
#[derive(Default)]
pub struct Policy<'a> {
    /// By the name of the archive. One that is not here gives everything.
    pub shares: BTreeMap<String, Share<'a>>,
    /// Exact versions.
    pub pins: Vec<Pin>,
}

/// A version that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// There is no package of this name.
    #[error("{pin} is to have the version {version}, and is in no archive", version = pin.version)]
    UnknownPackage {
        /// What was asked for.
        pin: Pin,
        /// Similar names, best first.
        suggestions: Vec<String>,
    },
    /// No archive has the version.
    #[error("no archive has the version {version} of {pin}; there are {}", known.join(", "), version = pin.version)]
    UnknownVersion {
        /// What was asked for.
        pin: Pin,
        /// Versions with the names of their archives.
        known: Vec<String>,
    },
    /// Only an archive that is to give other packages has the version.
    #[error("{pin} {version} is in {archive} alone, which the recipe takes other packages from", version = pin.version)]
    NotNamed {
        /// What was asked for.
        pin: Pin,
        /// Name of the archive.
        archive: String,
    },
}

impl Advise for PolicyError {
    fn help(&self) -> Help {
        match self {
            Self::UnknownPackage { suggestions, .. } if suggestions.is_empty() => Help::none(),
            Self::UnknownPackage { suggestions, .. } => format!("did you mean {}?", suggestions.join(", ")).into(),
            Self::UnknownVersion { .. } => {
                "name one of these in packages.versions, or an archive that has it by [[extra-archive]]: another suite, or a \
                 day of the snapshot service"
                    .into()
            }
            Self::NotNamed { pin, archive } => {
                format!("add {:?} to packages of the [[extra-archive]] {archive}", pin.to_string()).into()
            }
        }
    }
}

impl Universe {
    /// Applies a policy.
    ///
    /// # Errors
    /// If a version cannot be had.
    pub fn prefer(&mut self, policy: &Policy<'_>) -> Result<(), PolicyError> {
        let ids: Vec<PackageId> = self.ids().collect();
        for id in &ids {
            let share = self.get(*id).and_then(|package| Some((package, policy.shares.get(package.archive())?)));
            let preference = match share {
                None => Preference::Usual,
                Some((_, Share::First)) => Preference::First,
                Some((package, Share::Named(is_named))) if is_named(&package) => Preference::Named,
                Some((_, Share::Named(_))) => Preference::NotNamed,
            };
            self.set_preference(*id, preference);
        }
        for pin in &policy.pins {
            self.pin(pin, &ids)?;
        }
        self.leave_to_others(&ids);
        needed::mark(self);
        Ok(())
    }

    /// Refuses all other versions of what a pin is for.
    fn pin(&mut self, pin: &Pin, ids: &[PackageId]) -> Result<(), PolicyError> {
        let version = |package: &Package<'_>| match pin.kind {
            PinKind::Package => (package.name() == pin.name).then(|| package.version().to_owned()),
            PinKind::Source => {
                let (name, version) = package.source();
                (name == pin.name).then(|| version.to_owned())
            }
        };
        let meant = |id: &PackageId| {
            let package = self.get(*id)?;
            Some((*id, version(&package)?, package.archive().to_owned()))
        };
        let meant: Vec<_> = ids.iter().filter_map(meant).collect();
        let is_right = |found: &str| compare(found, &pin.version).is_eq();
        let right: Vec<_> = meant.iter().filter(|(_, found, _)| is_right(found)).collect();
        if right.is_empty() {
            return Err(self.not_there(pin, &meant));
        }
        if let ([(_, _, archive), ..], true) =
            (right.as_slice(), right.iter().all(|(id, ..)| self.preference(*id) == Preference::NotNamed))
        {
            return Err(PolicyError::NotNamed { pin: pin.clone(), archive: archive.clone() });
        }
        let others: Vec<_> = meant.iter().filter(|(_, found, _)| !is_right(found)).map(|(id, ..)| *id).collect();
        for id in others {
            self.set_preference(id, Preference::OtherVersion);
        }
        Ok(())
    }

    /// Refuses the usual packages of a name that is to come from elsewhere: one that cannot be installed from there is an error, and
    /// not silently another one.
    fn leave_to_others(&mut self, ids: &[PackageId]) {
        let is_special = |id: &&PackageId| self.preference(**id) < Preference::Usual;
        let special: Vec<PackageId> = ids.iter().filter(is_special).copied().collect();
        for id in special {
            let (preference, name) = (self.preference(id), self.get(id).map(|package| package.name().to_owned()));
            let same: Vec<PackageId> = name.iter().flat_map(|name| self.named(name)).collect();
            for other in same {
                let is_later = self.preference(other) > preference && self.preference(other) <= Preference::Usual;
                if is_later {
                    self.set_preference(other, Preference::Elsewhere);
                }
            }
        }
    }

    fn not_there(&self, pin: &Pin, meant: &[(PackageId, String, String)]) -> PolicyError {
        let mut known: Vec<_> = meant.iter().map(|(_, version, archive)| format!("{version} ({archive})")).collect();
        known.sort();
        known.dedup();
        if known.is_empty() {
            let suggestions = match pin.kind {
                PinKind::Package => self.suggestions(&pin.name).into_iter().map(ToOwned::to_owned).collect(),
                PinKind::Source => Vec::new(),
            };
            return PolicyError::UnknownPackage { pin: pin.clone(), suggestions };
        }
        PolicyError::UnknownVersion { pin: pin.clone(), known }
    }
}
