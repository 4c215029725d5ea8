use super::*;
use std::sync::mpsc::{Receiver, channel};

fn start(root: &[u8]) -> io::Result<(Server, Receiver<NetbootEvent>, tempfile::TempDir)> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join(ROOT);
    std::fs::write(&path, root)?;
    let files = BTreeMap::from([(KERNEL.to_owned(), b"kernel".to_vec())]);
    let (sender, events) = channel();
    let server = Server::start(TcpListener::bind("127.0.0.1:0")?, Content { files, root: path }, sender)?;
    Ok((server, events, directory))
}

#[test]
fn files_come_whole_and_the_root_in_parts() -> Result<(), Box<dyn std::error::Error>> {
    let root: Vec<u8> = (0..1_000_000_u32).map(|number| (number % 251) as u8).collect();
    let (server, events, _directory) = start(&root)?;
    let url = |name: &str| format!("http://{}/{name}", server.address());
    assert_eq!(ureq::get(url(KERNEL)).call()?.body_mut().read_to_vec()?, b"kernel");
    assert!(ureq::get(url(ROOT)).call()?.body_mut().read_to_vec()? == root);
    let mut part = ureq::get(url(ROOT)).header("range", "bytes=600000-").call()?;
    assert_eq!(
        (part.status().as_u16(), &part.headers()["content-range"]),
        (206, &"bytes 600000-999999/1000000".parse()?)
    );
    assert!(part.body_mut().read_to_vec()? == root[600_000..]);
    assert_eq!(ureq::head(url(KERNEL)).call()?.headers()["content-length"], "6");
    let head = ureq::head(url(ROOT)).header("range", "bytes=600000-").call()?;
    assert_eq!((head.status().as_u16(), &head.headers()["content-length"]), (200, &"1000000".parse()?));
    for (name, range, status) in [("../etc/passwd", "", 404), (ROOT, "bytes=1000000-", 416)] {
        let answer = ureq::get(url(name)).header("range", range).config().http_status_as_error(false).build().call()?;
        assert_eq!(answer.status().as_u16(), status, "{name}");
    }
    let steps: Vec<_> = events.try_iter().map(|event| event.step).collect();
    assert_eq!(steps[..2], [Step::Kernel, Step::Root { percent: 0 }]);
    assert!(
        steps.contains(&Step::Resumed { percent: 60 }) && steps.contains(&Step::Root { percent: 100 }),
        "{steps:?}"
    );
    Ok(())
}

#[test]
fn reports_are_told_without_what_drives_a_terminal() -> Result<(), Box<dyn std::error::Error>> {
    let (server, events, _directory) = start(b"")?;
    let url = format!("http://{}/{REPORT}", server.address());
    ureq::post(&url).send("ready at 3.5 s, jobs from nowhere\n")?;
    ureq::post(&url).send("error: \x1b[2Jbad\nwhat to do: good\n")?;
    let shown: Vec<_> = events.try_iter().map(|event| event.to_string()).collect();
    assert_eq!(
        shown,
        [
            "127.0.0.1: ready at 3.5 s, jobs from nowhere",
            "127.0.0.1: cannot start: error: [2Jbad\n    what to do: good"
        ]
    );
    let long = "x".repeat(REPORT_LENGTH + 1);
    assert!(ureq::post(&url).send(long).is_err());
    Ok(())
}

#[test]
fn machines_are_told_what_earlier_ones_read_first() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let root = directory.path().join(ROOT);
    let whole: Vec<u8> = (0..100_000_u32).map(|number| (number % 241) as u8).collect();
    let index = chunked::write(&mut whole.as_slice(), &mut std::fs::File::create(&root)?, 4096, &mut |_| {})?;
    let files = BTreeMap::from([(INDEX.to_owned(), index.to_bytes())]);
    let (sender, _events) = channel();
    let server = Server::start(TcpListener::bind("127.0.0.1:0")?, Content { files, root }, sender)?;
    let url = |name: &str| format!("http://{}/{name}", server.address());
    let missing = ureq::get(url(ORDER)).config().http_status_as_error(false).build().call()?;
    assert_eq!(missing.status(), 404);
    for (number, purpose) in [(9, "none"), (4, PREFETCH), (2, "none")] {
        let chunk = index.chunks()[number];
        let range = format!("bytes={}-{}", chunk.offset, chunk.offset + u64::from(chunk.length) - 1);
        let answer = ureq::get(url(ROOT)).header("range", range).header(PURPOSE, purpose).call()?;
        assert_eq!(answer.status(), 206);
    }
    let order = ureq::get(url(ORDER)).call()?.body_mut().read_to_string()?;
    assert!(order.ends_with("\n9\n2\n"), "{order}");
    Ok(())
}
