//! [`TestClass`]: what a word in `Classes` of a debian/tests/control says about GPUs.

use std::str::FromStr;

use gpu::{Target, TargetError};

/// The GPU that a test needs, by a word of its `Classes` field (README.package-tests of autopkgtest, which leaves the
/// meaning of the words to whoever runs the tests).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestClass {
    /// Any GPU that ROCm can use.
    AnyGpu,
    /// A GPU of this target.
    Target(Target),
}

impl TestClass {
    /// Words for any GPU.
    pub const ANY: [&'static str; 3] = ["gpu", "amdgpu", "rocm"];
}

impl FromStr for TestClass {
    type Err = TargetError;

    fn from_str(word: &str) -> Result<Self, TargetError> {
        if Self::ANY.contains(&word) { Ok(Self::AnyGpu) } else { word.parse().map(Self::Target) }
    }
}

/// The GPUs in the value of a `Classes` field; other classes are left out.
pub fn test_classes(value: &str) -> impl Iterator<Item = TestClass> {
    debian::autopkgtest::words(value).filter_map(|word| word.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_targets_words_for_any_gpu_and_others() {
        let target = |name: &str| TestClass::Target(name.parse().unwrap());
        let found: Vec<_> = test_classes("desktop, gfx1030\n gpu GPU gfx11-generic").collect();
        assert_eq!(found, [target("gfx1030"), TestClass::AnyGpu, target("gfx11-generic")]);
    }
}
