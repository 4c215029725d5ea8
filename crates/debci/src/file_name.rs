//! Names of files in a result, so that nothing that a test leaves is taken for something of debci's.

/// The file that makes a directory a result to debci's collector, wherever it is in the tar file: one that a test left
/// could replace the result of any job.
const RESERVED: &str = "exitcode";
/// What is added to that name.
const SUFFIX: &str = ".artifact";

/// The name of a file in a result, from its path in autopkgtest's output directory. Every file or directory called
/// `exitcode` becomes `exitcode.artifact`, and `exitcode.artifact` becomes `exitcode.artifact.artifact`, so that different
/// paths stay different.
pub(crate) fn in_result(path: &str) -> String {
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

fn part(name: &str) -> String {
    let mut stem = name;
    while let Some(shorter) = stem.strip_suffix(SUFFIX) {
        stem = shorter;
    }
    // Some file systems do not tell capital letters from small ones.
    if stem.eq_ignore_ascii_case(RESERVED) { format!("{name}{SUFFIX}") } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_file_or_directory_is_called_exitcode() {
        for (path, name) in [
            ("artifacts/x/exitcode", "artifacts/x/exitcode.artifact"),
            ("artifacts/exitcode/log", "artifacts/exitcode.artifact/log"),
            ("artifacts/exitcode.artifact", "artifacts/exitcode.artifact.artifact"),
            ("artifacts/my-exitcode", "artifacts/my-exitcode"),
            ("../exitcode", "../exitcode.artifact"),
        ] {
            assert_eq!(in_result(path), name);
        }
    }

    proptest! {
        #[test]
        fn different_paths_stay_different(one in path(), other in path()) {
            prop_assert_eq!(in_result(&one) == in_result(&other), one == other);
            prop_assert!(!in_result(&one).split('/').any(|part| part == RESERVED));
        }
    }

    fn path() -> impl Strategy<Value = String> {
        let part = proptest::sample::select(vec!["exitcode", "exitcode.artifact", "exitcode.artifact.artifact", "a"]);
        proptest::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"))
    }
}
