//! Which settings there are on a stick, and what each takes: as the appliance reads them.

use std::net::IpAddr;

/// A setting that the appliance would not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// No such name.
    #[error("there is no setting `{name}`{}", meant(.name))]
    Unknown {
        /// What was written.
        name: String,
    },
    /// Another kind of value.
    #[error("{name}: `{value}` {problem}")]
    Value {
        /// The setting.
        name: String,
        /// What was written.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
    /// For recipes only.
    #[error("debug-shell: only a recipe can allow a shell; build an image with it")]
    OnlyRecipe,
}

/// What a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A host name.
    HostName,
    /// An http or https address.
    Url,
    /// Yes or no.
    Truth,
    /// Any words, with commas between.
    Words,
    /// What the kernel's `ip=` takes, with commas between.
    Links,
    /// A token for a header.
    Token,
    /// A PEM file's path on the appliance, or its text.
    Authority,
    /// Targets of GPUs, with commas between.
    Gpus,
    /// IP addresses, with commas between.
    Addresses,
    /// A time span, or `off`.
    Span,
    /// `wait` or `power-off`.
    WhenDone,
    /// Anything but nothing.
    Text,
}

const SETTINGS: [(&str, Kind); 17] = [
    ("name", Kind::HostName),
    ("hub", Kind::Url),
    ("join-token", Kind::Token),
    ("hub-ca", Kind::Authority),
    ("jobs", Kind::Url),
    ("results", Kind::Url),
    ("gpu", Kind::Gpus),
    ("mirror", Kind::Url),
    ("check-valid-until", Kind::Truth),
    ("ip", Kind::Links),
    ("ntp", Kind::Words),
    ("dns", Kind::Addresses),
    ("set-clock", Kind::Truth),
    ("watchdog", Kind::Span),
    ("overlay-size", Kind::Text),
    ("when-done", Kind::WhenDone),
    ("shell", Kind::Truth),
];

fn meant(name: &str) -> String {
    let names = || SETTINGS.iter().map(|(name, _)| *name);
    match nearest::nearest(name, names()).first() {
        Some(nearest) => format!("; did you mean `{nearest}`?"),
        None => format!("; there are {}", names().collect::<Vec<_>>().join(", ")),
    }
}

/// The kind of a setting.
pub(super) fn known(name: &str) -> Result<Kind, SettingError> {
    if name == "debug-shell" {
        return Err(SettingError::OnlyRecipe);
    }
    let found = SETTINGS.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind);
    found.ok_or_else(|| SettingError::Unknown { name: name.to_owned() })
}

/// Says what a setting takes, if it takes this value. `_` in names will do for `-`.
///
/// # Errors
/// [`SettingError`].
pub fn check(name: &str, value: &str) -> Result<Kind, SettingError> {
    let name = name.replace('_', "-");
    let kind = known(&name)?;
    let problem = match kind {
        Kind::HostName => (!is_host_name(value)).then(|| "is no host name: letters, digits and -".to_owned()),
        Kind::Url => (!is_url(value)).then(|| "is no address; it begins with http:// or https://".to_owned()),
        Kind::Truth => truth(value).is_none().then(|| "is neither yes nor no".to_owned()),
        Kind::Words => None,
        Kind::Links => value.split(',').any(|word| word.trim().is_empty()).then(|| "names no link".to_owned()),
        Kind::Token => {
            let good = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic());
            if !good {
                // Whatever it is, it was meant to be a secret.
                let problem = "is empty, or has blanks or other strange characters: copy it from the hub's first lines";
                return Err(SettingError::Value { name, value: "(not shown)".into(), problem: problem.into() });
            }
            None
        }
        Kind::Authority => {
            let good = value.starts_with('/') || value.trim_start().starts_with("-----BEGIN CERTIFICATE-----");
            (!good).then(|| "is no certificate: give an absolute path, or the text of the PEM file itself".to_owned())
        }
        Kind::Gpus => gpu::simulate(value).err().map(|error| format!("will not do: {error}")),
        Kind::Addresses => {
            let wrong = value.split(',').map(str::trim).find(|word| word.parse::<IpAddr>().is_err());
            wrong.map(|wrong| format!("has `{wrong}`, which is no IP address"))
        }
        Kind::Span if ["off", "no", "0", "false"].contains(&value) => None,
        Kind::Span => value.parse::<protocol::Span>().err().map(|error| format!("is no time: {error}")),
        Kind::WhenDone => {
            (!["wait", "power-off"].contains(&value)).then(|| "is neither `wait` nor `power-off`".to_owned())
        }
        Kind::Text => value.is_empty().then(|| "is empty".to_owned()),
    };
    match problem {
        Some(problem) => Err(SettingError::Value { name, value: value.to_owned(), problem }),
        None => Ok(kind),
    }
}

pub(super) fn truth(value: &str) -> Option<bool> {
    match value {
        "" | "yes" | "true" | "1" | "on" => Some(true),
        "no" | "false" | "0" | "off" => Some(false),
        _ => None,
    }
}

/// One label of a host name (RFC 1123, section 2.1).
fn is_host_name(value: &str) -> bool {
    let inner = |char: char| char.is_ascii_alphanumeric() || char == '-';
    !value.is_empty() && value.len() <= 63 && value.chars().all(inner) && !value.starts_with('-')
}

fn is_url(value: &str) -> bool {
    let scheme = value.starts_with("http://") || value.starts_with("https://");
    scheme && !value.chars().any(|char| char.is_whitespace() || char.is_control())
}
