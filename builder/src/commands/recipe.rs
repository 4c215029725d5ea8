//! `rocbed recipe`: shows the shipped recipes and the recipe format.

use std::fs;

use anyhow::{Context as _, Result};

use super::{print, print_json};
use crate::cmdline::RecipeCommand;
use crate::{recipe, reference};

pub fn run(command: &RecipeCommand) -> Result<()> {
    match command {
        RecipeCommand::List => {
            let mut lines = String::new();
            for name in recipe::shipped_names() {
                let description = recipe::load_shipped(name)?.description;
                lines.push_str(&format!("{name:<12} {description}\n"));
            }
            print(&lines)
        }
        RecipeCommand::Show { name } => {
            if let Some(path) = recipe::load(name)?.path {
                eprintln!("# {}", path.display());
                let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
                return print(&text);
            }
            print(recipe::shipped_text(name).with_context(|| format!("{name} is not a shipped recipe"))?)
        }
        RecipeCommand::Schema => print_json(&recipe::schema()),
        RecipeCommand::Reference => print(&reference::page("recipe.md").context("there is no page of recipe keys")?),
    }
}
