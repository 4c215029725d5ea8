//! What dpkg refuses in a control file. It reads the fields from its database again and again, and there it stops at them
//! with a line number of `/var/lib/dpkg/status`, long after the package was taken.

use super::{DebError, Paragraph};
use crate::relation;

/// The relation fields of a binary package, and whether they may have alternatives (Debian Policy 7).
const RELATIONS: [(&str, bool); 9] = [
    ("Pre-Depends", true),
    ("Depends", true),
    ("Recommends", true),
    ("Suggests", true),
    ("Enhances", false),
    ("Breaks", false),
    ("Conflicts", false),
    ("Provides", false),
    ("Replaces", false),
];

/// The fields with a few possible values, which are in lower case here: dpkg does not mind the case.
const CHOICES: [(&str, &[&str]); 3] = [
    ("Essential", &["yes", "no"]),
    ("Protected", &["yes", "no"]),
    ("Multi-Arch", &["foreign", "allowed", "same", "no"]),
];

/// Checks the fields that dpkg checks, but the name, version and architecture.
pub(super) fn check(control: &Paragraph) -> Result<(), DebError> {
    for (field, values) in CHOICES {
        if let Some(value) = control.get(field).filter(|value| !value.is_empty())
            && !values.contains(&value.to_ascii_lowercase().as_str())
        {
            let values = values.join(", ");
            return Err(DebError::Control(format!("{field} is {value:?}, and dpkg takes only one of {values}")));
        }
    }
    let is = |field, value: &str| control.get(field).is_some_and(|found| found.eq_ignore_ascii_case(value));
    if is("Multi-Arch", "same") && is("Architecture", "all") {
        let why = "Multi-Arch is \"same\", which dpkg does not take for a package of the architecture all";
        return Err(DebError::Control(why.into()));
    }
    for (field, alternatives) in RELATIONS {
        let value = control.get(field).unwrap_or_default();
        relations(value, alternatives).map_err(|why| DebError::Control(format!("{field}: {why}")))?;
    }
    Ok(())
}

fn relations(value: &str, alternatives: bool) -> Result<(), String> {
    if value.trim().is_empty() {
        return Ok(());
    }
    if value.split(',').any(|item| item.trim().is_empty()) {
        return Err("a comma with nothing before or after it, which dpkg does not take".into());
    }
    for item in relation::parse(value).map_err(|error| error.to_string())?.0 {
        if item.0.len() > 1 && !alternatives {
            return Err(format!("{:?}: alternatives are not allowed in this field", item.to_string()));
        }
        if let Some(one) = item.0.iter().find(|one| !one.architectures.is_empty() || !one.profiles.is_empty()) {
            return Err(format!("{:?}: only source packages may have [] and <> here", one.to_string()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What dpkg 1.21.22 says of the same lines in its status file.
    #[test]
    fn as_dpkg_takes_or_refuses_them() {
        let checked = |fields: &str| Paragraph::parse(&format!("Package: p\n{fields}\n")).and_then(|it| check(&it));
        for taken in [
            "Multi-Arch: Same",
            "Essential: YES",
            "Depends: a (= 1) ",
            "Depends: a (2.0)",
            "Depends: a(>=1)|b",
            "Depends: a:any, b:amd64",
            "Provides: v:any",
            "Priority: bogus",
            "Installed-Size: 12k",
            "Depends: A_b",
            "Conflicts: a (>= v1)",
            "Depends: ",
        ] {
            assert!(checked(taken).is_ok(), "{taken}");
        }
        for refused in [
            "Depends: a,",
            "Depends: a,, b",
            "Depends: ,a",
            "Enhances: x,",
            "Multi-Arch: bogus",
            "Essential: maybe",
            "Protected: maybe",
            "Multi-Arch: same\nArchitecture: all",
            "Suggests: b c",
            "Depends: a [amd64]",
            "Depends: a <!nocheck>",
            "Conflicts: a | b",
            "Provides: a | b",
            "Recommends: a |",
            "Suggests: a (>= )",
        ] {
            let error = checked(refused).expect_err(refused).to_string();
            let field = refused.split(':').next().unwrap();
            assert!(error.starts_with("control file: ") && error.contains(field), "{refused}: {error}");
        }
    }
}
