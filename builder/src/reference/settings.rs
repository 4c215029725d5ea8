//! `settings.md`: reference of the appliance's settings, generated from the table that the appliance uses.

use protocol::settings::{ALL, KERNEL_PARAMETERS, Scope, Setting};

const INTRODUCTION: &str = "# Settings of the appliance\n\n\
    Made from the program by `cargo xtask docs`. [The appliance](../appliance.md) says what they are for.\n\n\
    A setting has one name everywhere: `rocbed.hub=` on the kernel command line, `hub =` in `rocbed.toml` on the stick's \
    first partition, and `hub =` in `[settings]` of a recipe. The command line is over the stick, the stick over the \
    image. In files, *yes or no* is `true` or `false`, and several words are an array of strings, or one string with \
    commas between; on the command line there are commas, `_` will do for `-`, and a setting without a value is yes.\n";

/// Generates the page.
pub(super) fn markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    section(&mut page, "Anywhere", "Recipe, stick or kernel command line.", Scope::Everybody);
    section(
        &mut page,
        "Only in a recipe",
        "A stick or a boot menu cannot give what the image does not allow.",
        Scope::Recipe,
    );
    section(
        &mut page,
        "Only on the kernel command line",
        "What is needed before any file can be read. `rocbed.` comes before each.",
        Scope::CommandLine,
    );
    page.push_str("\nOf the kernel's own words, these are read too:\n\n| word | meaning |\n|---|---|\n");
    for (_, name, meaning) in KERNEL_PARAMETERS {
        page.push_str(&format!("| `{name}=` | {meaning} |\n"));
    }
    section(&mut page, "Only by the build", "It stands beside the recipe's settings in the image.", Scope::Build);
    page
}

fn section(page: &mut String, title: &str, text: &str, scope: Scope) {
    page.push_str(&format!(
        "\n## {title}\n\n{text}\n\n| setting | value | meaning | if it is missing |\n|---|---|---|---|\n"
    ));
    for Setting { name, kind, meaning, default, .. } in ALL.iter().filter(|setting| setting.scope == scope) {
        page.push_str(&format!("| `{name}` | {} | {meaning} | {default} |\n", kind.form()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_one_line() {
        let page = markdown();
        for setting in ALL {
            assert_eq!(page.matches(&format!("\n| `{}` |", setting.name)).count(), 1, "{}", setting.name);
        }
    }
}
