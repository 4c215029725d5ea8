//! Options of `rocbed lint`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use lint::Severity;

/// `rocbed lint`
#[derive(Debug, Args)]
pub struct Lint {
    /// An unpacked source package, with debian/control in it, or a .dsc with its files beside it
    #[arg(value_name = "DIR|DSC", default_value = ".")]
    pub source: PathBuf,
    /// Mend what is mechanical in the source package, then say what is left
    #[arg(long)]
    pub fix: bool,
    /// Say what is at least this grave: error, warning or note
    #[arg(long, value_name = "SEVERITY", default_value_t = Severity::Warning)]
    pub level: Severity,
    /// How to print the findings
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LintFormat::Text, conflicts_with = "json")]
    pub format: LintFormat,
    /// Print JSON; the same as --format json
    #[arg(long)]
    pub json: bool,
    /// Say why a rule is there and what to do, and check nothing
    #[arg(long, value_name = "RULE", conflicts_with_all = ["fix", "list", "format"])]
    pub explain: Option<String>,
    /// List the rules, and check nothing
    #[arg(long, conflicts_with_all = ["fix", "format"])]
    pub list: bool,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LintFormat {
    /// Lines for people, as compilers print them.
    Text,
    /// JSON with a list of findings.
    Json,
    /// SARIF 2.1.0, for code hosts and editors.
    Sarif,
}
