//! Checks a Debian source package's tests: `debian/tests/control`, the test programs, and what of `debian/` installs
//! them.
//!
//! ```
//! let mut tree = lint::Memory::default();
//! tree.add("debian/control", "Source: foo\n\nPackage: foo\nArchitecture: any\n");
//! tree.add("debian/tests/control", "Test-Command: foo --run\nRestriction: allow-stderr\n");
//! let report = lint::check(&tree);
//! assert_eq!(report.findings[0].rule.id, "unknown-field");
//! ```
//!
//! A rule is a row of [`RULES`]: its id, how grave it is, and an explanation. [`check`] is a function of a [`Tree`],
//! which is a [`Directory`], a [`Memory`] for tests, or what [`dsc::open`] unpacked. Rules about GPUs are for tests
//! that use one; all others are autopkgtest's own and for every package. [`fix()`] applies the findings' [`Edit`]s.
//!
//! Whatever a tree has in it is read with limits, and nothing of it is run. Links that lead out of it, pipes and
//! devices are not opened.

mod checks;
mod classes;
mod control;
mod directory;
pub mod dsc;
mod edit;
mod fix;
mod overrides;
mod package;
mod report;
mod rules;
mod sarif;
mod script;
mod tree;

pub use checks::check;
pub use classes::{TestClass, test_classes};
pub use directory::Directory;
pub use edit::Edit;
pub use fix::{Fixed, Mend, fix};
pub use overrides::OVERRIDES;
pub use report::{Finding, Report};
pub use rules::{RULES, Rule, Scope, Severity, rule};
pub use sarif::sarif;
pub use tree::{Entry, Memory, Tree};
