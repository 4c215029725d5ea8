//! Exit codes of programs that run tests: autopkgtest's own (autopkgtest(1), section EXIT STATUS).

/// All tests passed.
pub const PASSED: u8 = 0;
/// At least one test was skipped, and none failed.
pub const SOME_SKIPPED: u8 = 2;
/// At least one test failed.
pub const SOME_FAILED: u8 = 4;
/// There were no tests, or all were skipped.
pub const NOTHING_TESTED: u8 = 8;
/// The testbed failed.
pub const TESTBED_FAILED: u8 = 16;
/// The program itself failed.
pub const OWN_ERROR: u8 = 20;
