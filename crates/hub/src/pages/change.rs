//! Something that differs between two runs, for tables.

use protocol::api::{ChangeKind, Difference};

/// A line of a table of changes.
pub(crate) struct Change {
    pub(crate) name: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) is_package: bool,
    /// Who passed with it.
    pub(crate) note: String,
}

impl Change {
    pub(crate) fn new(change: &Difference) -> Self {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
        let note = match (&change.cleared_by, &change.passed_with[..]) {
            (Some(job), _) => format!("passed with it: {job}"),
            (None, []) => String::new(),
            (None, list) => format!("passed with it: {}", list.join(", ")),
        };
        Self {
            name: change.name.clone(),
            from: value(&change.from),
            to: value(&change.to),
            is_package: change.kind == ChangeKind::Package,
            note,
        }
    }
}
