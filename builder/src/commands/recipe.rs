//! `rocbed recipe`: the shipped recipes and the format.

use anyhow::{Context as _, Result};

use super::{print, print_json};
use crate::cmdline::RecipeCommand;
use crate::recipe;

pub fn run(command: &RecipeCommand) -> Result<()> {
    match command {
        RecipeCommand::List => {
            let mut lines = String::new();
            for name in recipe::shipped_names() {
                let description = recipe::load(name)?.description;
                lines.push_str(&format!("{name:<12} {description}\n"));
            }
            print(&lines)
        }
        RecipeCommand::Show { name } => {
            recipe::load(name)?;
            let text = recipe::shipped_text(name).with_context(|| format!("{name} is a file, not a shipped recipe"))?;
            print(text)
        }
        RecipeCommand::Schema => print_json(&recipe::schema()),
        RecipeCommand::Reference => print(&recipe::reference::markdown(&recipe::schema())),
    }
}
