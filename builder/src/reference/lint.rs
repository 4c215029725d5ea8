//! `lint.md`: the rules of `rocbed lint`, from the table that the checks use.

use lint::{RULES, Scope, Severity};

use crate::wording::capital;

/// Generates the page.
pub(super) fn markdown() -> String {
    let mut page = String::from(
        "# Rules of rocbed lint\n\nMade from the program by `cargo xtask docs`. [Checking a package's tests](../lint.md) says \
         how they are used.\n\nAn *error* makes a test be skipped, fail, or pass for the wrong reason; only errors make the \
         command fail. A *warning* is probably a mistake, or against [the guidelines](../test-guidelines.md). *Notes* are \
         told with `--level note`. Rules *for ROCm* are for packages of the ROCm stack and for tests that use a GPU.\n\n\
         | rule | severity | for | what is wrong |\n|---|---|---|---|\n",
    );
    for rule in RULES {
        let scope = match rule.scope {
            Scope::Every => "every package",
            Scope::Rocm => "ROCm",
        };
        page.push_str(&format!("| [{0}](#{0}) | {1} | {scope} | {2} |\n", rule.id, rule.severity, rule.summary));
    }
    for severity in Severity::ALL {
        page.push_str(&format!("\n## {}s\n", capital(severity.name())));
        for rule in RULES.iter().filter(|rule| rule.severity == severity) {
            page.push_str(&format!("\n### {}\n\n{}. {}", rule.id, capital(rule.summary), rule.explanation));
            if let Some(section) = rule.section {
                page.push_str(&format!(" [The guideline](../test-guidelines.md#{section})."));
            }
            page.push('\n');
        }
    }
    page
}
