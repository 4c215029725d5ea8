//! Every setting of the appliance in one table: what the appliance takes, what programs that write settings check
//! against, and what the reference page says.
//!
//! ```
//! use protocol::settings::{SettingSource, check};
//! assert!(check("hub", "https://hub.example", SettingSource::Stick).is_ok());
//! let error = check("hubb", "https://hub.example", SettingSource::Stick).unwrap_err();
//! assert!(error.to_string().contains("did you mean `hub`?"));
//! ```

mod table;
mod value;

use advice::{Advice, Advise, Help};

pub use table::{ALL, KERNEL_PARAMETERS, KernelParameter, Key, kernel_parameter};
pub use value::{ValueKind, list, parse_bool};

/// A setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// For programs that have to do something about each.
    pub key: Key,
    /// As it is written in files; on the kernel command line `rocbed.` comes before it.
    pub name: &'static str,
    /// What values it takes.
    pub kind: ValueKind,
    /// Who may set it.
    pub scope: Scope,
    /// What holds where nobody sets it, in Markdown.
    pub default: &'static str,
    /// What it is, in Markdown.
    pub meaning: &'static str,
}

/// Who may set a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The recipe, whoever has the stick, whoever writes the kernel command line.
    Everybody,
    /// The recipe alone: a stick found in a drawer, or whoever edits the boot menu, must not get what it did not allow.
    Recipe,
    /// The build, which writes it beside the recipe's settings.
    Build,
    /// The kernel command line alone: it is needed before any file can be read.
    CommandLine,
}

/// Where settings stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingSource {
    /// `[settings]` of a recipe.
    Recipe,
    /// The file in an image, made from the recipe by the build.
    Image,
    /// `rocbed.toml` on a stick, or what a program outside of a virtual machine hands in.
    Stick,
    /// The kernel command line.
    CommandLine,
}

impl Scope {
    /// Whether a setting that these may set can stand there.
    pub fn at(self, source: SettingSource) -> bool {
        match self {
            Self::Everybody => true,
            Self::Recipe => matches!(source, SettingSource::Recipe | SettingSource::Image),
            Self::Build => source == SettingSource::Image,
            Self::CommandLine => source == SettingSource::CommandLine,
        }
    }
}

/// A setting that the appliance would not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// No such name.
    #[error("there is no setting `{name}`{}", meant(.name, *.at))]
    Unknown {
        /// What was written.
        name: String,
        /// Where.
        at: SettingSource,
    },
    /// It cannot be set there.
    #[error("{}", elsewhere(.name, *.scope))]
    Misplaced {
        /// The setting.
        name: &'static str,
        /// Who may set it.
        scope: Scope,
    },
    /// Another kind of value. What is wrong with a secret is told without it.
    #[error("{name}: {problem}")]
    Value {
        /// The setting.
        name: &'static str,
        /// What is wrong with the value, and what would be right.
        problem: Advice,
    },
}

impl Advise for SettingError {
    fn help(&self) -> Help {
        match self {
            Self::Misplaced { scope: Scope::Recipe | Scope::Everybody, .. } => "build an image with it".into(),
            Self::Unknown { .. } | Self::Misplaced { .. } => Help::none(),
            Self::Value { problem, .. } => problem.help(),
        }
    }
}

fn meant(name: &str, source: SettingSource) -> String {
    let names = || ALL.iter().filter(|setting| setting.scope.at(source)).map(|setting| setting.name);
    match nearest::nearest(name, names()).first() {
        Some(nearest) => format!("; did you mean `{nearest}`?"),
        None => format!("; there are {}", names().collect::<Vec<_>>().join(", ")),
    }
}

fn elsewhere(name: &str, scope: Scope) -> String {
    match scope {
        Scope::Build => format!("{name}: only the build sets it"),
        Scope::CommandLine => format!("{name}: only the kernel command line can set it, as rocbed.{name}="),
        Scope::Recipe | Scope::Everybody => format!("{name}: only a recipe can set it"),
    }
}

/// The setting of this name, if it can be set there. `_` in names will do for `-`, as in the kernel's own.
///
/// # Errors
/// [`SettingError::Unknown`] and [`SettingError::Misplaced`].
pub fn find(name: &str, source: SettingSource) -> Result<&'static Setting, SettingError> {
    let dashed = name.replace('_', "-");
    match ALL.iter().find(|setting| setting.name == dashed) {
        Some(setting) if setting.scope.at(source) => Ok(setting),
        Some(setting) => Err(SettingError::Misplaced { name: setting.name, scope: setting.scope }),
        None => Err(SettingError::Unknown { name: dashed, at: source }),
    }
}

/// Finds a setting, if it takes this value there.
///
/// # Errors
/// [`SettingError`].
pub fn check(name: &str, value: &str, source: SettingSource) -> Result<&'static Setting, SettingError> {
    let setting = find(name, source)?;
    setting.check(value)?;
    Ok(setting)
}

impl Setting {
    /// Whether it takes this value; of a list, its words with commas between.
    ///
    /// # Errors
    /// [`SettingError::Value`].
    pub fn check(&self, value: &str) -> Result<(), SettingError> {
        self.kind.check(value).map_err(|problem| SettingError::Value { name: self.name, problem })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_different_and_everything_says_something() {
        let names: std::collections::BTreeSet<_> = ALL.iter().map(|setting| setting.name).collect();
        assert_eq!(names.len(), ALL.len());
        for setting in ALL {
            assert!(!setting.meaning.is_empty() && !setting.default.is_empty(), "{}", setting.name);
            assert!(setting.meaning.ends_with('.') && !setting.default.ends_with('.'), "{}", setting.name);
            assert!(!setting.name.contains('_'), "{}", setting.name);
        }
    }

    #[test]
    fn a_setting_says_where_it_can_be_set() {
        let told = |name, source| find(name, source).unwrap_err().to_string();
        assert!(find("set_clock", SettingSource::CommandLine).is_ok());
        assert!(told("debug-shell", SettingSource::Stick).contains("only a recipe can set it"));
        assert!(told("recipe", SettingSource::Recipe).contains("only the build"));
        assert!(told("root-timeout", SettingSource::Stick).ends_with("as rocbed.root-timeout="));
        assert!(told("nmae", SettingSource::Stick).ends_with("did you mean `name`?"));
        assert!(!told("zzzzzzzz", SettingSource::Stick).contains("debug-shell"), "it could not be set there");
    }
}
