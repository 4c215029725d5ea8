//! Tests with a server in place of a hub, which may send anything.

use debian::deb::fixtures::{ar, directory, file, tar};

use super::super::fake_hub::{context, problem, serve, whole};
use super::super::origins::From;
use super::*;

/// The package file of `liba` in a version.
fn deb(version: &str) -> Vec<u8> {
    let control = format!(
        "Package: liba\nVersion: {version}\nArchitecture: amd64\nMaintainer: A Test <test@example.org>\nDescription: test\n"
    );
    let control = tar(&[directory("./"), file("./control", &control)]);
    ar(&[("debian-binary", b"2.0\n"), ("control.tar", &control), ("data.tar", &tar(&[directory("./")]))])
}

/// `liba 1:2` with this content, of which the hub has told.
fn origins(content: &[u8]) -> Result<Vec<Origin>> {
    let package = PackageVersion { name: "liba".into(), version: "1:2".into() };
    let (sha256, size) = (Digest::of(content), content.len());
    let file = serde_json::json!({ "file": "liba_2_amd64.deb", "sha256": sha256, "size": size });
    Ok(vec![
        Origin { package, from: From::Hub, file: Some(serde_json::from_value(file)?) },
        Origin {
            package: PackageVersion { name: "liba".into(), version: "1:3".into() },
            from: From::Archive,
            file: None,
        },
    ])
}

fn job(version: &str) -> Job {
    let mut job = Job::of_package("app");
    job.versions = [("liba", version), ("libb", "1")].map(|(name, version)| (name.into(), version.into())).into();
    job
}

/// The job and files of a run, in a search that is not stopped.
fn given(kept: &mut Kept, context: &Context, version: &str) -> Result<(Job, Vec<PathBuf>)> {
    kept.give(context, &job(version), &Stop::never())?.context("the search was stopped")
}

/// The error of a run that gets nothing, as it is shown.
fn refused(content: &[u8], state: &Path, hub: Option<HubAccess>) -> Result<String> {
    let error = given(&mut Kept::of(&origins(content)?, state, hub)?, &context()?, "1:2");
    Ok(crate::error::report(&error.err().context("it is refused")?).to_string())
}

#[test]
fn a_run_gets_the_files_of_its_versions_once_their_digests_are_right() -> Result<()> {
    let (context, directory, content) = (context()?, tempfile::tempdir()?, deb("1:2"));
    let state = directory.path().join("rocbed-bisect.json");
    let (hub, server) = serve(vec![whole(&content)])?;
    let mut kept = Kept::of(&origins(&content)?, &state, Some(hub))?;
    let (with, files) = given(&mut kept, &context, "1:2")?;
    let path = directory.path().join("rocbed-bisect.packages/liba_1%3a2_amd64.deb");
    assert_eq!(files, std::slice::from_ref(&path));
    assert!(fs::read(&path)? == content);
    assert_eq!(with.versions.keys().collect::<Vec<_>>(), ["libb"]);
    // Testbeds read it as another user.
    let mode = |path: &Path| fs::metadata(path).map(|about| about.permissions().mode() & 0o777);
    assert_eq!((mode(&path)?, mode(&directory.path().join("rocbed-bisect.packages"))?), (0o644, 0o755));
    // A version that the archive has stays one that apt is asked for.
    let (other, files) = given(&mut kept, &context, "1:3")?;
    assert_eq!((other.versions.len(), files.len()), (2, 0));
    let asked = server.join().expect("no panic");
    assert_eq!(asked[0].line, format!("GET /api/v1/kept-packages/{} HTTP/1.1", Digest::of(&content)));
    assert_eq!((asked.len(), asked[0].token.as_deref()), (1, Some("Bearer admin")));

    // A search that is taken up has it, and needs no hub. A file that was changed meanwhile is fetched again.
    let again = |hub| given(&mut Kept::of(&origins(&content)?, &state, hub)?, &context, "1:2");
    again(None)?;
    fs::write(&path, "damaged")?;
    let error = refused(&content, &state, None)?;
    assert!(error.contains("packages of a hub are to be fetched, and it is not known which"), "{error}");
    let (hub, _server) = serve(vec![whole(&content)])?;
    again(Some(hub))?;
    assert!(fs::read(&path)? == content);
    Ok(())
}

#[test]
fn another_file_than_the_hub_has_told_of_is_not_used() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let state = directory.path().join("rocbed-bisect.json");
    for (sent, says) in [
        ("of libX", "the hub sent another file for liba 1:2: 7 bytes with SHA-256"),
        ("of lib", "the hub sent another file for liba 1:2: 6 bytes"),
        ("of liba and more", "for liba 1:2 the hub sends more than the file has"),
        // The digest is right, but it is not a package.
        ("of liba", "reading what the hub sent for liba 1:2"),
    ] {
        let (hub, _server) = serve(vec![whole(sent.as_bytes())])?;
        let error = refused(b"of liba", &state, Some(hub))?;
        assert!(error.contains(says) && error.contains("it is not used"), "{error}");
        assert_eq!(fs::read_dir(directory.path().join("rocbed-bisect.packages"))?.count(), 0, "nothing is left");
    }
    // Nor is another package with the digest that the hub has told.
    let content = deb("1:1");
    let (hub, _server) = serve(vec![whole(&content)])?;
    let error = refused(&content, &state, Some(hub))?;
    assert!(error.contains("for liba 1:2 (amd64) the hub sent liba 1:1 (amd64)"), "{error}");
    Ok(())
}

#[test]
fn what_the_hub_does_not_give_is_told_with_what_to_do() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let state = directory.path().join("rocbed-bisect.json");
    for (code, says) in [
        (ProblemCode::NotFound, "the hub keeps liba 1:2 no more\n  help: begin a new search"),
        (ProblemCode::Unauthorized, "the hub does not know this token"),
        (ProblemCode::Unauthorized, "`rocbed bisect --continue` goes on"),
    ] {
        let (hub, _server) = serve(vec![problem(code)?])?;
        let error = refused(b"of liba", &state, Some(hub))?;
        assert!(error.contains(says), "{error}");
    }
    Ok(())
}

#[test]
fn a_download_that_was_cut_goes_on() -> Result<()> {
    let (context, directory, content) = (context()?, tempfile::tempdir()?, deb("1:2"));
    let state = directory.path().join("rocbed-bisect.json");
    let (begin, rest) = content.split_at(100);
    let cut = (format!("200 OK\r\ncontent-length: {}", content.len()), begin.to_vec());
    let on = (format!("206 Partial Content\r\ncontent-length: {}", rest.len()), rest.to_vec());
    let (hub, server) = serve(vec![cut, on])?;
    let (_, files) = given(&mut Kept::of(&origins(&content)?, &state, Some(hub))?, &context, "1:2")?;
    assert_eq!(files.len(), 1);
    assert_eq!(server.join().expect("no panic").len(), 2);
    Ok(())
}

#[test]
fn a_search_that_is_told_to_stop_fetches_no_more_and_leaves_nothing_incomplete() -> Result<()> {
    let (context, directory, content) = (context()?, tempfile::tempdir()?, deb("1:2"));
    let state = directory.path().join("rocbed-bisect.json");
    let packages = directory.path().join("rocbed-bisect.packages");
    // Of a run that was ended at once.
    fs::create_dir(&packages)?;
    fs::write(packages.join(".tmpAbCdEf"), "of li")?;
    let (hub, server) = serve(Vec::new())?;
    let mut kept = Kept::of(&origins(&content)?, &state, Some(hub))?;
    assert!(kept.give(&context, &job("1:2"), &Stop::asked())?.is_none());
    assert_eq!(fs::read_dir(&packages)?.count(), 0);
    assert!(server.join().expect("no panic").is_empty());

    // Told while a file comes: no more of it is written.
    let mut file = tempfile::tempfile()?;
    let stop = Stop::asked();
    let mut limited = Limited { file: &mut file, left: 9, is_more: false, task: &progress::Silent, stop: &stop };
    assert!(limited.write_all(b"of liba").is_err());
    assert_eq!(limited.left, 9);
    Ok(())
}
