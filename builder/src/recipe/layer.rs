//! [`Layer`]: one recipe file as it was read, and [`RecipeError`]: what is wrong with one.

use std::ops::Range;
use std::path::PathBuf;

use advice::{Advise, Help};

use super::model::RecipeFile;

/// A recipe that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// The name is neither a shipped recipe nor a file.
    #[error("there is no recipe {asked:?}{}", suggestion(.nearest.as_deref()))]
    Unknown {
        /// Name that was asked for.
        asked: String,
        /// The most similar shipped name.
        nearest: Option<String>,
        /// All shipped names.
        shipped: Vec<String>,
    },
    /// The file cannot be read.
    #[error("reading {path}: {error}")]
    Read {
        /// Path of the recipe file.
        path: PathBuf,
        /// The cause.
        error: std::io::Error,
    },
    /// The file is not TOML, or has an unknown key or a value of the wrong type.
    #[error("{origin}:{line}:{column}: {message}\n  {line:>4} | {text}\n       | {caret:>indent$}", indent = .column, caret = '^')]
    Invalid {
        /// Path, or `NAME (shipped)`.
        origin: String,
        /// Line number, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// Description of the problem and of what would be right.
        message: String,
        /// Text of the line.
        text: String,
    },
    /// Each value is valid, but they do not fit together.
    #[error("{origin}: {message}")]
    Inconsistent {
        /// Path, or `NAME (shipped)`.
        origin: String,
        /// Description of the problem and what to do.
        message: String,
    },
    /// A keyring cannot be used.
    #[error(transparent)]
    Keyring(#[from] archive::release::KeyringError),
    /// A recipe names itself as its parent.
    #[error("{origin}: `inherits = {name:?}` means this file, so the recipe inherits from itself")]
    InheritsItself {
        /// Path of the file.
        origin: String,
        /// What it inherits from.
        name: String,
    },
    /// No image directory can have the recipe's name.
    #[error("{origin}: an image directory is named after its recipe, and it cannot be named {name:?}: {why}")]
    Name {
        /// Path of the recipe file.
        origin: String,
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl Advise for RecipeError {
    fn help(&self) -> Help {
        match self {
            Self::Unknown { shipped, .. } => {
                format!("give a path such as ./my.toml, or one of the shipped recipes: {}", shipped.join(", ")).into()
            }
            Self::Name { .. } => "rename the file".into(),
            Self::Keyring(error) => error.help(),
            Self::InheritsItself { .. } => {
                "rename the file: one beside the recipe comes before the shipped recipe of the same name".into()
            }
            Self::Read { error, .. } => Help::of_path(error),
            Self::Invalid { .. } | Self::Inconsistent { .. } => Help::none(),
        }
    }
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean {name:?}?")).unwrap_or_default()
}

/// One file of an inheritance chain.
pub(super) struct Layer {
    /// Name of the file in errors.
    pub origin: String,
    /// Directory that paths in it are relative to; `None` for a shipped recipe.
    pub directory: Option<PathBuf>,
    /// Parsed content.
    pub file: RecipeFile,
    /// Text of the file, for errors that are found only when layers are merged.
    pub text: String,
}

impl Layer {
    /// An error about the value at `span` in this file.
    pub fn wrong(&self, span: Range<usize>, message: impl Into<String>) -> RecipeError {
        invalid(&self.text, &self.origin, span.start, message.into())
    }
}

/// The value of the last layer that sets it.
pub(super) fn last<T>(layers: &[Layer], get: impl Fn(&Layer) -> Option<T>) -> Option<T> {
    layers.iter().rev().find_map(get)
}

/// The last layer that sets a value, with that value.
pub(super) fn last_in<'a, T>(
    layers: &'a [Layer],
    get: impl Fn(&'a Layer) -> Option<&'a T>,
) -> Option<(&'a Layer, &'a T)> {
    layers.iter().rev().find_map(|layer| get(layer).map(|value| (layer, value)))
}

pub(super) fn invalid(text: &str, origin: &str, at: usize, message: String) -> RecipeError {
    // If the span ends inside a character it is not from this file; then the start is the best guess.
    let before = text.get(..at).unwrap_or_default();
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    RecipeError::Invalid {
        origin: origin.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before.get(start..).unwrap_or_default().chars().count() + 1,
        message,
        text: text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default().to_owned(),
    }
}
