//! Tests with a server in place of a hub, which may send anything.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::thread;

use clap::Parser as _;
use safetext::Secret;

use super::super::origins::From;
use super::*;
use crate::cmdline::Cli;

fn context() -> Result<Context> {
    Ok(Context::new(&Cli::try_parse_from(["rocbed", "--quiet", "recipe", "list"])?.global))
}

/// Answers requests with these bodies, in their order; the address, and the first lines of requests.
fn serve(bodies: &[&'static str]) -> Result<(HubAccess, thread::JoinHandle<Vec<String>>)> {
    let socket = TcpListener::bind("127.0.0.1:0")?;
    let address = format!("http://{}", socket.local_addr()?);
    let bodies = bodies.to_vec();
    let server = thread::spawn(move || {
        let mut asked = Vec::new();
        for body in bodies {
            let (mut stream, _) = socket.accept().expect("a connection");
            let mut lines = BufReader::new(stream.try_clone().expect("the connection")).lines().map_while(Result::ok);
            asked.push(lines.next().unwrap_or_default());
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            write!(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
                .expect("an answer");
        }
        asked
    });
    let hub = HubAccess { address, token: Some(Secret::new("admin")), join_token: None, ca: None };
    Ok((hub, server))
}

/// `liba 1:2` with this content, of which the hub has told.
fn origins(content: &str) -> Result<Vec<Origin>> {
    let package = PackageVersion { name: "liba".into(), version: "1:2".into() };
    let (sha256, size) = (Digest::of(content.as_bytes()), content.len());
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

#[test]
fn a_run_gets_the_files_of_its_versions_once_their_digests_are_right() -> Result<()> {
    let (context, directory) = (context()?, tempfile::tempdir()?);
    let state = directory.path().join("rocbed-bisect.json");
    let (hub, server) = serve(&["of liba"])?;
    let mut kept = Kept::of(&origins("of liba")?, &state, Some(hub))?;
    let (with, files) = kept.give(&context, &job("1:2"))?;
    let path = directory.path().join("rocbed-bisect.packages/liba_1%3a2_amd64.deb");
    assert_eq!((files, fs::read_to_string(&path)?.as_str()), (vec![path.clone()], "of liba"));
    assert_eq!(with.versions.keys().collect::<Vec<_>>(), ["libb"]);
    // A version that the archive has stays one that apt is asked for.
    let (other, files) = kept.give(&context, &job("1:3"))?;
    assert_eq!((other.versions.len(), files.len()), (2, 0));
    let asked = server.join().expect("no panic");
    assert_eq!(asked, [format!("GET /api/v1/kept-packages/{} HTTP/1.1", Digest::of(b"of liba"))]);

    // A search that is taken up has it, and needs no hub. A file that was changed meanwhile is fetched again.
    let again = |hub| Kept::of(&origins("of liba")?, &state, hub)?.give(&context, &job("1:2"));
    again(None)?;
    fs::write(&path, "damaged")?;
    assert!(again(None).is_err());
    let (hub, _server) = serve(&["of liba"])?;
    again(Some(hub))?;
    assert_eq!(fs::read_to_string(&path)?, "of liba");
    Ok(())
}

#[test]
fn another_file_than_the_hub_has_told_of_is_not_used() -> Result<()> {
    let (context, directory) = (context()?, tempfile::tempdir()?);
    let state = directory.path().join("rocbed-bisect.json");
    for (sent, says) in [
        ("of libX", "the hub sent another file for liba 1:2: 7 bytes with SHA-256"),
        ("of lib", "the hub sent another file for liba 1:2: 6 bytes"),
        ("of liba and more", "the hub sends more than the file has"),
    ] {
        let (hub, _server) = serve(&[sent])?;
        let error = Kept::of(&origins("of liba")?, &state, Some(hub))?.give(&context, &job("1:2"));
        let error = crate::error::report(&error.err().context("it is refused")?).to_string();
        assert!(error.contains(says), "{error}");
        assert_eq!(fs::read_dir(directory.path().join("rocbed-bisect.packages"))?.count(), 0, "nothing is left");
    }
    Ok(())
}
