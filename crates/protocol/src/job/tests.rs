use super::*;

fn job(json: &str) -> Result<Job, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

#[test]
fn what_nobody_says_has_a_default() -> Result<(), String> {
    let gzip = job(r#"{"package": "gzip"}"#)?;
    assert_eq!(gzip, Job::of_package("gzip"));
    assert_eq!((gzip.id.as_str(), gzip.run_as, gzip.timeout), ("gzip", vec![RunAs::User], Job::TIMEOUT));
    Ok(())
}

#[test]
fn everything_that_can_be_said() -> Result<(), String> {
    let text = r#"{"id": "a", "package": "rocrand", "gpu": ["gfx1030"], "gpus": 2, "as": ["user", "root", "user"],
        "timeout": "2h", "pin": ["experimental=src:rocr-runtime"], "env": {"X_Y": "1"}, "tests": ["t"],
        "versions": {"rocminfo": "7.1-1"}, "packages": ["librocrand1_7.2-1_amd64.deb"], "archive": "experimental",
        "apt-sources": [{"uris": ["http://x"], "suites": ["sid"], "components": ["main"], "trusted": true}],
        "memory": 4096, "gpu-memory": 8192, "priority": 3, "shards": 4, "unknown": "is fine"}"#;
    let read = job(text)?;
    assert_eq!(read.run_as, [RunAs::User, RunAs::Root]);
    let written = serde_json::to_string(&read).map_err(|error| error.to_string())?;
    assert_eq!(job(&written)?, read);
    Ok(())
}

#[test]
fn an_id_is_made_from_the_source() -> Result<(), String> {
    assert_eq!(job(r#"{"path": "../trees/fails on purpose/"}"#)?.id, "fails-on-purpose");
    assert_eq!(job(r#"{"url": "https://example.org/x/rocrand.git#debian/latest"}"#)?.id, "rocrand.git");
    assert_eq!(job(r#"{"path": ".."}"#)?.id, "source");
    assert_eq!(job(r#"{"url": "https://example.org/pool/rocrand_6.4.1-2.dsc"}"#)?.id, "rocrand");
    // What begins so would be no id when it is read again.
    assert_eq!(job(r#"{"path": "trees/.hidden"}"#)?.id, "hidden");
    assert_eq!(job(r#"{"path": "--"}"#)?.id, "source");
    Ok(())
}

#[test]
fn mistakes_say_what_is_right() {
    for (text, says) in [
        ("{}", "package, path or url"),
        (r#"{"package": "gzip", "path": "."}"#, "exclude each other"),
        (r#"{"package": "--setup-commands=rm"}"#, "not the name of a source package"),
        (r#"{"package": "GZip"}"#, "not the name of a source package"),
        (r#"{"url": "gzip"}"#, "not an address"),
        (r#"{"package": "gzip", "id": "../x"}"#, "id: `../x`"),
        (r#"{"package": "gzip", "gpus": 0}"#, "at least 1"),
        (r#"{"package": "gzip", "gpu-memory": 4096}"#, "write gpu ="),
        (r#"{"package": "gzip", "pin": ["--x"]}"#, "pin: `--x`"),
        (r#"{"package": "gzip", "env": {"A B": "1"}}"#, "env: `A B`"),
        (r#"{"package": "gzip", "versions": {"gzip": "new"}, "packages": ["gzip_1_amd64.deb"]}"#, "among the packages"),
        (r#"{"package": "gzip", "versions": {"a b": "1"}}"#, "name of a binary package"),
        (r#"{"package": "gzip", "packages": ["a/gzip.deb", "b/gzip.deb"]}"#, "two files have the name `gzip.deb`"),
        (r#"{"package": "gzip", "archive": "2026-10-01"}"#, "20261001T000000Z"),
        (r#"{"package": "gzip", "as": ["daemon"]}"#, "daemon"),
        (r#"{"package": "gzip", "timeout": "soon"}"#, "not a time span"),
    ] {
        let error = job(text).expect_err(text);
        assert!(error.contains(says), "{text}: {error}");
    }
}
