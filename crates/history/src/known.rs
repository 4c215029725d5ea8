//! Known failures: which tests an entry is about.

use debian::version::Version;
use protocol::api::KnownFailure;

/// Whether an entry covers a failure of a test. An entry that has no test, or no target, covers all of them; one with
/// `until` covers versions before that one.
pub fn matches(known: &KnownFailure, package: &str, test: &str, target: &str, version: Option<&str>) -> bool {
    let known = &known.failure;
    let is = |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|wanted| wanted == value);
    // The outcome of the whole run has no test of its own: an entry for one test covers the run that fails with it.
    if known.package != package || !is(&known.target, target) || !(is(&known.test, test) || test.is_empty()) {
        return false;
    }
    match (&known.until, version) {
        (Some(until), Some(version)) => match (Version::parse(version), Version::parse(until)) {
            (Ok(version), Ok(until)) => version < until,
            _ => true,
        },
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::api::AddKnown;

    fn known(test: Option<&str>, target: Option<&str>, until: Option<&str>) -> KnownFailure {
        KnownFailure {
            id: 1,
            failure: AddKnown {
                package: "rocfft".into(),
                test: test.map(Into::into),
                target: target.map(Into::into),
                bug: Some("1112345".into()),
                text: String::new(),
                until: until.map(Into::into),
            },
            added: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn an_entry_covers_what_it_names() {
        let all = known(None, None, None);
        assert!(matches(&all, "rocfft", "upstream", "gfx1030", None));
        assert!(!matches(&all, "rocrand", "upstream", "gfx1030", None));
        let one = known(Some("upstream"), Some("gfx1030"), None);
        assert!(matches(&one, "rocfft", "upstream", "gfx1030", None));
        assert!(matches(&one, "rocfft", "", "gfx1030", None), "the whole run fails with it");
        assert!(!matches(&one, "rocfft", "other", "gfx1030", None));
        assert!(!matches(&one, "rocfft", "upstream", "gfx1100", None));
    }

    #[test]
    fn a_limit_ends_it_with_that_version() {
        let until = known(None, None, Some("7.3"));
        for (version, covered) in [("7.2.4-1", true), ("7.3~rc1-1", true), ("7.3", false), ("7.3-1", false)] {
            assert_eq!(matches(&until, "rocfft", "x", "gfx1030", Some(version)), covered, "{version}");
        }
        assert!(matches(&until, "rocfft", "x", "gfx1030", None), "a version that is not known ends nothing");
    }
}
