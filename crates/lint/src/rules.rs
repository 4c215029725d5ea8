//! [`RULES`]: the rules as a table. The reference page and `rocbed lint --explain` are made from it.

use std::fmt;
use std::str::FromStr;

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Something that may be meant so, and that people should know.
    Note,
    /// Probably a mistake, or against the guidelines.
    Warning,
    /// A test is skipped, fails or passes for the wrong reason.
    Error,
}

impl Severity {
    /// All, the gravest first.
    pub const ALL: [Self; 3] = [Self::Error, Self::Warning, Self::Note];

    /// The name in reports and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that is not a severity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a severity; there are {all}", all = Severity::ALL.map(Severity::name).join(", "))]
pub struct UnknownSeverity(String);

impl FromStr for Severity {
    type Err = UnknownSeverity;

    fn from_str(text: &str) -> Result<Self, UnknownSeverity> {
        let found = Self::ALL.into_iter().find(|severity| severity.name() == text);
        found.ok_or_else(|| UnknownSeverity(text.to_owned()))
    }
}

/// Which packages a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every package with tests: autopkgtest's own rules.
    Every,
    /// Packages of the ROCm stack, and tests that use a GPU.
    Rocm,
}

/// A rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name, in kebab-case; stable.
    pub id: &'static str,
    /// How grave it is.
    pub severity: Severity,
    /// Which packages it is for.
    pub scope: Scope,
    /// What is wrong, in one line.
    pub summary: &'static str,
    /// Why it matters and what to do, in Markdown without paragraphs.
    pub explanation: &'static str,
    /// The section of the guidelines for ROCm tests that it comes from, as an anchor of that page.
    pub section: Option<&'static str>,
}

/// The rule with this id.
pub fn rule(id: &str) -> Option<&'static Rule> {
    RULES.iter().copied().find(|rule| rule.id == id)
}

macro_rules! rules {
    ($($name:ident $id:literal $severity:ident $scope:ident $section:expr, $summary:literal, $explanation:literal;)+) => {
        $(
            #[allow(clippy::doc_markdown)] // made of the summary, which is not Rust's Markdown
            #[doc = $summary]
            pub(crate) static $name: Rule = Rule {
                id: $id,
                severity: Severity::$severity,
                scope: Scope::$scope,
                summary: $summary,
                explanation: $explanation,
                section: $section,
            };
        )+
        /// All rules: those about the control file first, then test programs, GPUs, and the override file.
        pub static RULES: &[&Rule] = &[$(&$name),+];
    };
}

rules! {
    CONTROL_SYNTAX "control-syntax" Error Every None,
    "a control file cannot be read",
    "autopkgtest stops when it cannot read `debian/tests/control`, and of a field that is there twice it takes only one. Mend the line that is named.";

    UNUSABLE_FILE "unusable-file" Error Every None,
    "a file of the tests is not a regular file of the source package",
    "A link that leads out of the source tree, a directory, a pipe or a binary file stands where a text file belongs. Replace it with the file itself.";

    NO_TEST "no-test" Error Every None,
    "a stanza has neither Tests nor Test-Command, both, or an empty one",
    "autopkgtest ends with an error at such a stanza, and runs none of the package's tests. Give it exactly one of the two fields.";

    UNKNOWN_FIELD "unknown-field" Error Every Some("restrictions"),
    "a stanza has a field that autopkgtest does not know",
    "autopkgtest **skips** the whole stanza, and a skipped test looks harmless in a summary. Correct the name or remove the field; `X-` fields are not allowed either. `--fix` corrects a name where only one is near.";

    UNKNOWN_RESTRICTION "unknown-restriction" Error Every Some("restrictions"),
    "a restriction that autopkgtest does not know",
    "autopkgtest **skips** a test with a restriction that it does not know, and a skipped test looks harmless in a summary. Correct the word or remove it. `--fix` corrects it where only one is near.";

    DEPRECATED_RESTRICTION "deprecated-restriction" Warning Every Some("restrictions"),
    "a restriction that autopkgtest has deprecated",
    "`needs-recommends`: write `@recommends@` into Depends instead, which `--fix` does. `skip-not-installable` hides that the package cannot be installed: name the architectures in `Architecture` instead.";

    DEPENDS_SYNTAX "depends-syntax" Error Every None,
    "a dependency that autopkgtest cannot read",
    "autopkgtest ends with an error at it, and runs none of the package's tests. Depends takes names, versions in parentheses, architectures in brackets, `@`, `@builddeps@` and `@recommends@`; no build profiles and no substitution variables.";

    ARCHITECTURE_FIELD "architecture-field" Error Every None,
    "an Architecture field that no machine fits",
    "autopkgtest skips the test everywhere if the field has `all`, brackets, or some architectures with `!` and others without. List architectures, or exclude some with `!` before each.";

    TEST_NAME_FEATURE "test-name-feature" Error Every Some("names"),
    "a test-name feature that autopkgtest refuses",
    "It needs a value, may be there once, and only beside `Test-Command`: tests of a `Tests` field have their file's name. autopkgtest ends with an error otherwise.";

    TEST_NAME "test-name" Warning Every Some("names"),
    "a test's name has characters that names of packages do not have",
    "Names become directories and are compared from run to run: lower-case letters, digits, `-`, `+` and `.`. A name with a slash is skipped.";

    DUPLICATE_TEST "duplicate-test" Warning Every Some("names"),
    "two tests have the same name",
    "Logs and artifacts of a test are stored under its name, and results are compared by it: of two, one is lost. Give a Test-Command a name of its own with `Features: test-name=NAME`.";

    UNNAMED_COMMAND "unnamed-command" Warning Rocm Some("names"),
    "a Test-Command without a name",
    "It is called `command1`, and `command2` as soon as somebody puts another one before it; then its history is another test's. Add `Features: test-name=NAME`, after the binary package that it tests. `--fix` does where the command names that package.";

    HASH_IN_VALUE "hash-in-value" Warning Every None,
    "a `#` cuts a value short",
    "autopkgtest takes everything from a `#` to the end of the line for a comment, in quotes too. A command that needs one belongs into a script.";

    MISSING_TEST "missing-test" Error Every None,
    "Tests names a file that is not there",
    "autopkgtest looks for it in debian/tests, or in `Tests-Directory`, and the test fails. Add the file or correct the name.";

    PACKAGE_NOT_INSTALLED "package-not-installed" Warning Every Some("a-packages-tests"),
    "the tests depend on no binary package of the source",
    "With a Depends field nothing of the source package is installed unless it is in it, and the test would test nothing, or what the testbed happens to have. Add the package that is tested, or `@` for all.";

    UNDECLARED_COMMAND "undeclared-command" Warning Every None,
    "a test runs a program that nothing in Depends brings",
    "A testbed has the essential packages and what Depends names, not the build dependencies. Add the package, or `@builddeps@` where the tests need most of them. A dependency that comes with another one is worth naming all the same: that other one may drop it.";

    ALWAYS_PASSES "always-passes" Error Every None,
    "the test passes whatever its program does",
    "The command's exit status is thrown away: by `|| true`, a last `exit 0`, or a pipe into `tee` without `set -o pipefail` (a Test-Command runs under `bash -e`, where the status of a pipe is its last program's). Remove it. What is known to fail belongs into a `flaky` test, or into a filter with a bug number.";

    FAILURE_IGNORED "failure-ignored" Warning Every None,
    "a line of a test throws a test program's failure away",
    "`|| true` after it, or a pipe into `tee` without `set -o pipefail`, makes it pass always. Remember the status (`prog || failed=1`) and exit with it at the end.";

    SUPERFICIAL "superficial" Warning Every Some("names"),
    "a test that only prints help or a version is not marked superficial",
    "It shows that a program starts, and no more; a pass of it alone must not count as tested. `--fix` adds `Restrictions: superficial`.";

    CARRIAGE_RETURNS "carriage-returns" Error Every None,
    "a script's first line ends in a carriage return",
    "The kernel looks for an interpreter whose name ends in it, and does not find one. `--fix` removes carriage returns from the file.";

    NO_SHEBANG "no-shebang" Warning Every None,
    "a test's script does not say what runs it",
    "Without `#!` in the first line the kernel cannot run it, and only the shell that tries to may take it for a shell script. Begin it with `#!/bin/sh` or what it is written for.";

    INTERPRETER "interpreter" Error Every None,
    "a script's interpreter is not in Debian",
    "There is no `python` in Debian any more, only `python3`; and `/usr/local` is empty in a testbed. Name the interpreter that the test depends on.";

    NOT_EXECUTABLE "not-executable" Note Every None,
    "a test's script is not executable",
    "autopkgtest makes it so before it runs it; people who start it by hand do not. `--fix` does it.";

    DOWNLOADS "downloads" Warning Every Some("the-network"),
    "a test downloads something without needs-internet",
    "What is downloaded today is not there in a year, and workers may have no way out. Put test data into a package; if a test is about the internet, declare `needs-internet`. Code that is downloaded must not be run at all.";

    TIMEOUT "timeout" Warning Every Some("time-and-memory"),
    "a timeout that is never reached",
    "autopkgtest ends a test after 10,000 seconds, so a longer timeout in a script does nothing, and what it was to protect is lost. Stay below, and write reports as you go.";

    FLAKY_WITHOUT_BUG "flaky-without-bug" Note Every Some("names"),
    "a flaky test without the number of a bug",
    "A flaky test's failure counts as skipped, so nobody looks at it again unless a bug does. Name it in a comment above the stanza.";

    SKIP_NOT_DECLARED "skip-not-declared" Error Every Some("skipping-and-what-neutral-means"),
    "a test that exits with 77 does not declare skippable",
    "Without `Restrictions: skippable` an exit status of 77 is a failure like any other: the test fails on every machine without a GPU. `--fix` adds it.";

    SKIPPABLE_UNUSED "skippable-unused" Note Every Some("skipping-and-what-neutral-means"),
    "skippable is declared, and nothing is seen that exits with 77",
    "If a program of the test happens to exit with 77, its failure is taken for a skip. Remove `skippable` unless something else than the script exits so.";

    LAUNCHER_MISSING "launcher-missing" Warning Rocm Some("a-packages-tests"),
    "a test for GPUs starts its program without rocm-test-launcher",
    "On a machine without a GPU it fails, or passes without having tested anything. The launcher skips it there, in the same way for all packages. `--fix` puts it before the command.";

    LAUNCHER_NOT_INSTALLED "launcher-not-installed" Error Rocm Some("a-packages-tests"),
    "rocm-test-launcher is used without a dependency on pkg-rocm-tools",
    "The command is not found, and the test fails everywhere. `--fix` adds the dependency.";

    TESTS_PACKAGE_NOT_INSTALLED "tests-package-not-installed" Error Rocm Some("a-packages-tests"),
    "the package with the test programs is not in Depends",
    "The program is not found, and the test fails everywhere. `--fix` adds the dependency where the package is one of this source.";

    ALLOW_STDERR_MISSING "allow-stderr-missing" Warning Rocm Some("restrictions"),
    "a test for GPUs does not declare allow-stderr",
    "Without it one word on stderr is a failure, and the ROCm runtime, the driver and GoogleTest's programs print warnings there. `--fix` adds it.";

    GPU_NEED "gpu-need" Warning Rocm Some("targets"),
    "which GPU the tests need is said nowhere",
    "Neither does a binary package have XB-X-ROCm-GPU-Architecture nor the stanza Classes. Whoever hands out the tests cannot tell them from tests that need no GPU. Write `Classes: gpu` if any GPU will do, or the targets.";

    CLASS "class" Warning Rocm Some("targets"),
    "a word in Classes that looks like a GPU and is none",
    "Words that are not known are passed over, so the need is lost: targets are LLVM's (`gfx1030`, `gfx11-generic`), in lower case, and any GPU is `gpu`, `amdgpu` or `rocm`. `--fix` corrects the case.";

    GPU_ARCHITECTURE_FIELD "gpu-architecture-field" Warning Rocm Some("targets"),
    "X-ROCm-GPU-Architecture does not reach the binary package",
    "Fields of debian/control that begin with `X-` are left out of packages. It is `XB-X-ROCm-GPU-Architecture: ${rocm:GPU-Architecture}`, and debian/rules fills it in with `dh_gencontrol -- -Vrocm:GPU-Architecture=\"$(shell rocm-target-arch)\"`. `--fix` corrects the name.";

    ARCHITECTURE_MISSING "architecture-missing" Note Rocm Some("a-packages-tests"),
    "the test does not say that its package exists on some architectures only",
    "On the others its dependencies cannot be installed. `--fix` copies the Architecture of the package with the test programs.";

    REPORTS_MISSING "reports-missing" Warning Rocm Some("artifacts"),
    "a script for GoogleTest's programs does not write their reports into the artifacts",
    "Without the XML in `$AUTOPKGTEST_ARTIFACTS` a result says that something failed, and not which case. Write `export GTEST_OUTPUT=\"${GTEST_OUTPUT:-xml:$AUTOPKGTEST_ARTIFACTS/}\"` before the programs, if `$AUTOPKGTEST_ARTIFACTS` is set.";

    REPORTS_ELSEWHERE "reports-elsewhere" Warning Rocm Some("artifacts"),
    "reports are written where nobody keeps them",
    "Only what is below `$AUTOPKGTEST_ARTIFACTS` comes out of the testbed. Write `xml:$AUTOPKGTEST_ARTIFACTS/`.";

    ARGUMENTS_DROPPED "arguments-dropped" Note Rocm Some("a-packages-tests"),
    "run-tests does not pass its arguments on",
    "Who looks for a failure wants `run-tests --gtest_filter=...`. End its command with `\"$@\"`.";

    INSTALL_PATH "install-path" Warning Rocm Some("paths"),
    "test programs are installed outside of /usr/libexec/rocm",
    "Test programs and their data are in `/usr/libexec/rocm/PACKAGE/` in all packages of the stack, so that people and scripts find them.";

    NO_SUCH_PATH "no-such-path" Error Rocm Some("paths"),
    "a test uses a path that a testbed does not have",
    "Debian's ROCm is not in /opt/rocm, and the source tree is not built: tests use what packages install.";

    BUILD_NEEDED "build-needed" Warning Rocm Some("restrictions"),
    "tests for GPUs build the package first",
    "Building takes hours for most of ROCm, out of the job's time, and then the build is tested and not the package. Install the test programs into a package of their own.";

    ISOLATION "isolation" Warning Rocm Some("restrictions"),
    "tests for GPUs ask for an isolation that workers with GPUs do not have",
    "`isolation-machine`, `isolation-container` and `needs-reboot` are skipped where the machine's GPU is lent to a testbed. Tests of a library need none of them.";

    NEEDS_ROOT "needs-root" Warning Rocm Some("user-and-root"),
    "tests for GPUs run as root",
    "Debian's users reach a GPU through the group render, and a test as root does not show that they do. A test that works as root only has found a bug. If there is a reason, say it in the override file.";

    DEVICE_ACCESS "device-access" Warning Rocm Some("user-and-root"),
    "a test gives itself access to GPUs",
    "It changes groups, or the mode of /dev/kfd or /dev/dri. The test user is in the group render already; where it is not, the launcher skips, and the machine is to be mended.";

    CHANGES_MACHINE "changes-machine" Warning Rocm Some("several-gpus"),
    "a test changes the machine or its GPUs",
    "Resetting GPUs, setting clocks or power, loading modules and writing below /sys is not possible in a testbed, and where it is, it hits other people's jobs.";

    VISIBLE_DEVICES "visible-devices" Warning Rocm Some("several-gpus"),
    "a test chooses its GPU by ROCR_VISIBLE_DEVICES or HIP_VISIBLE_DEVICES",
    "The job's GPU is chosen by whoever runs it, through these variables. A test that sets them gets another one, or none. Use device 0 of what HIP shows.";

    NO_TESTS "no-tests" Note Rocm Some("a-packages-tests"),
    "a package of the ROCm stack has no tests",
    "There is no debian/tests/control, and no Testsuite field that makes one.";

    OVERRIDE "override" Error Every None,
    "a line of the override file that says nothing",
    "A line is `RULE: REASON`, or `RULE WHERE: REASON` with a file or a test's name. The rule must exist, and the reason must be there.";

    OVERRIDE_UNUSED "override-unused" Warning Every None,
    "an override that silences nothing",
    "What it silenced is mended. Remove the line, before it silences something else.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_every_rule_says_why() {
        let mut ids: Vec<&str> = RULES.iter().map(|rule| rule.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), RULES.len());
        for rule in RULES {
            assert!(rule.id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{}", rule.id);
            assert!(rule.explanation.ends_with('.') && rule.explanation.len() > 40, "{}", rule.id);
            assert!(!rule.summary.ends_with('.') && !rule.explanation.contains('\n'), "{}", rule.id);
        }
    }
}
