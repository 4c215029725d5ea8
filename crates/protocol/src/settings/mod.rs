//! All settings of the appliance in one table, for the appliance, for programs that write settings, and for the
//! reference page.
//!
//! ```
//! use protocol::settings::{SettingSource, check};
//! assert!(check("hub", "https://hub.example", SettingSource::Stick).is_ok());
//! let error = check("hubb", "https://hub.example", SettingSource::Stick).unwrap_err();
//! assert!(error.to_string().contains("did you mean `hub`?"));
//! ```

mod table;
mod value;

use std::borrow::Cow;

use advice::{Advice, Advise, Help};

pub use table::{ALL, KERNEL_PARAMETERS, KernelParameter, Key, kernel_parameter};
pub use value::{ValueKind, list, parse_bool};

/// A setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Identifies it, for `match`.
    pub key: Key,
    /// Name in files; on the kernel command line `rocbed.` is put before it.
    pub name: &'static str,
    /// The kind of its values.
    pub kind: ValueKind,
    /// Where it can be set.
    pub scope: Scope,
    /// The default, in Markdown.
    pub default: &'static str,
    /// The meaning, in Markdown.
    pub meaning: &'static str,
}

/// Where a setting can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// In the recipe, on the stick, and on the kernel command line.
    Everybody,
    /// In the recipe only: neither a stick nor an edited boot menu may get what the recipe does not allow.
    Recipe,
    /// Only by the build, beside the recipe's settings.
    Build,
    /// On the kernel command line only: it is needed before files can be read.
    CommandLine,
}

/// A place with settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingSource {
    /// `[settings]` of a recipe.
    Recipe,
    /// The file in an image, made from the recipe by the build.
    Image,
    /// `rocbed.toml` on a stick, or settings from the program that runs the virtual machine.
    Stick,
    /// The kernel command line.
    CommandLine,
}

impl Scope {
    /// Whether a setting with this scope can be set at this place.
    pub fn at(self, source: SettingSource) -> bool {
        match self {
            Self::Everybody => true,
            Self::Recipe => matches!(source, SettingSource::Recipe | SettingSource::Image),
            Self::Build => source == SettingSource::Image,
            Self::CommandLine => source == SettingSource::CommandLine,
        }
    }
}

/// A setting that the appliance does not accept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// There is no setting with this name.
    #[error("there is no setting `{name}`{}", meant(.name, *.at))]
    Unknown {
        /// The unknown name.
        name: String,
        /// Where it was set.
        at: SettingSource,
    },
    /// It cannot be set at this place.
    #[error("{}", elsewhere(.name, *.scope))]
    Misplaced {
        /// The setting.
        name: &'static str,
        /// Where it can be set.
        scope: Scope,
    },
    /// The value is not valid. Values of secrets are not part of the error.
    #[error("{name}: {problem}")]
    Value {
        /// The setting.
        name: &'static str,
        /// What is wrong with the value, and what would be right.
        problem: Advice,
    },
}

/// Settings by which an owner says what a machine must not do. One that cannot be read is not passed over.
const RULES: [&str; 6] = ["packages", "longest-job", "hours", "test-network", "test-hosts", "leave-out"];

/// Whether a setting says what the machine must not do.
pub fn is_rule(name: &str) -> bool {
    RULES.contains(&name.replace('_', "-").as_str())
}

impl SettingError {
    /// Whether it is about a rule of the machine's owner, perhaps with its name misspelt. A machine must not take jobs
    /// then: it might do what its owner does not want.
    pub fn is_about_rule(&self) -> bool {
        match self {
            Self::Unknown { name, at } => nearest_name(name, *at).is_some_and(is_rule),
            Self::Misplaced { name, .. } | Self::Value { name, .. } => is_rule(name),
        }
    }
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
    match nearest_name(name, source) {
        Some(nearest) => format!("; did you mean `{nearest}`?"),
        None => format!("; there are {}", names(source).collect::<Vec<_>>().join(", ")),
    }
}

fn names(source: SettingSource) -> impl Iterator<Item = &'static str> {
    ALL.iter().filter(move |setting| setting.scope.at(source)).map(|setting| setting.name)
}

/// The setting that a misspelt name means.
fn nearest_name(name: &str, source: SettingSource) -> Option<&'static str> {
    nearest::nearest(name, names(source)).into_iter().next()
}

fn elsewhere(name: &str, scope: Scope) -> String {
    match scope {
        Scope::Build => format!("{name}: only the build sets it"),
        Scope::CommandLine => format!("{name}: only the kernel command line can set it, as rocbed.{name}="),
        Scope::Recipe | Scope::Everybody => format!("{name}: only a recipe can set it"),
    }
}

/// The setting with this name, if it can be set at this place. Names may have `_` for `-`, as the kernel's parameters.
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

/// Finds a setting, and checks that it can have this value at this place.
///
/// # Errors
/// [`SettingError`].
pub fn check(name: &str, value: &str, source: SettingSource) -> Result<&'static Setting, SettingError> {
    let setting = find(name, source)?;
    setting.check(value)?;
    Ok(setting)
}

/// A value as logs and screens may show it: without tokens, keys and passwords. Of a setting that does not exist nothing
/// is shown: its name may be a misspelt `join-token`.
pub fn shown<'a>(name: &str, value: &'a str) -> Cow<'a, str> {
    let dashed = name.replace('_', "-");
    match ALL.iter().find(|setting| setting.name == dashed) {
        Some(setting) if !setting.kind.is_secret() => safetext::redacted(value),
        _ => Cow::Borrowed(safetext::NOT_SHOWN),
    }
}

impl Setting {
    /// Checks a value; the words of a list have commas between them.
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
    fn secrets_are_not_shown() {
        for (name, value, expected) in [
            ("join-token", "abc", "(not shown)"),
            ("join_token", "abc", "(not shown)"),
            ("jion-token", "abc", "(not shown)"),
            ("storage-key", "abc", "(not shown)"),
            ("debci", "amqps://me:pw@ci.example/v", "amqps://(not shown)@ci.example/v"),
            ("proxy", "http://me:pw@proxy.example:3128", "http://(not shown)@proxy.example:3128"),
            ("debci-key", "/etc/key.pem", "/etc/key.pem"),
            ("hub", "https://hub.example:8420", "https://hub.example:8420"),
            ("name", "bench-7", "bench-7"),
        ] {
            assert_eq!(shown(name, value), expected, "{name}");
        }
        let key = "-----BEGIN PRIVATE KEY-----\nMIIabc\n-----END PRIVATE KEY-----\n";
        assert!(!shown("debci-key", key).contains("MIIabc"));
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
