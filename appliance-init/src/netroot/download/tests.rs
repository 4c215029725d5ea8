use super::*;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// What a server does with one request.
#[derive(Clone, Copy)]
enum Act {
    /// Answers in order, but sends no more than this many bytes of the body.
    Send(usize),
    /// The same, as a server that does not support ranges.
    Whole(usize),
    /// Closes the connection without an answer.
    HangUp,
    /// Answers with this status.
    Status(u16),
    /// As `Send`, but with another file.
    Other,
}

fn content() -> Vec<u8> {
    (0..200_000_u32).map(|number| (number % 251) as u8).collect()
}

/// Answers requests in order, and repeats the last act for ever. Sends each request's range to the receiver.
fn serve(acts: &'static [Act]) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/root.img", listener.local_addr().unwrap());
    let (sender, ranges) = channel();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let act = acts.get(number).or(acts.last()).copied().unwrap_or(Act::HangUp);
            let _ = answer(stream.unwrap(), act, &sender);
        }
    });
    (url, ranges)
}

fn answer(mut stream: TcpStream, act: Act, ranges: &Sender<String>) -> io::Result<()> {
    let mut range = String::new();
    for line in BufReader::new(stream.try_clone()?).lines() {
        match line? {
            line if line.is_empty() => break,
            line => range = line.to_lowercase().strip_prefix("range: bytes=").map_or(range, str::to_owned),
        }
    }
    ranges.send(range.clone()).map_err(io::Error::other)?;
    let content = content();
    let from: usize = range.trim_end_matches('-').parse().unwrap_or(0);
    let (most, from, tag) = match act {
        Act::Send(most) => (most, from, "one"),
        Act::Whole(most) => (most, 0, "one"),
        Act::Other => (usize::MAX, from, "two"),
        Act::HangUp => return Ok(()),
        Act::Status(status) => return write!(stream, "HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n"),
    };
    let body = &content[from..];
    let part = if from > 0 {
        format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {from}-{}/{}\r\n",
            content.len() - 1,
            content.len()
        )
    } else {
        "HTTP/1.1 200 OK\r\n".to_owned()
    };
    write!(stream, "{part}Content-Length: {}\r\nETag: \"{tag}\"\r\n\r\n", body.len())?;
    stream.write_all(&body[..most.min(body.len())])
}

/// Downloads everything; returns it with the messages.
fn download(url: &str) -> (Result<Vec<u8>, DownloadError>, String) {
    let options = DownloadOptions {
        patience: Some(Duration::from_millis(300)),
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(20),
        timeout: Duration::from_secs(5),
    };
    let mut said = String::new();
    let mut say = |line: &str| said.push_str(&format!("{line}\n"));
    let mut bytes = Vec::new();
    let result = Download::open(url, &options, &mut say).and_then(|mut download| {
        let read = download.read_to_end(&mut bytes);
        read.map(drop).map_err(|error| error.downcast::<DownloadError>().expect("its own errors"))
    });
    (result.map(|()| bytes), said)
}

#[test]
fn a_server_that_dies_on_the_way_is_asked_for_the_rest() {
    let (url, ranges) = serve(&[Act::HangUp, Act::Send(50_000), Act::HangUp, Act::Status(503), Act::Send(usize::MAX)]);
    let (bytes, said) = download(&url);
    assert!(bytes.unwrap() == content());
    assert_eq!(ranges.iter().take(5).collect::<Vec<_>>(), ["", "", "50000-", "50000-", "50000-"]);
    assert!(said.contains("trying again in") && said.contains("going on at 0 MiB"), "{said}");
}

#[test]
fn a_server_without_ranges_is_read_again_from_the_start() {
    let (url, _ranges) = serve(&[Act::Whole(120_000), Act::Whole(80_000), Act::Whole(usize::MAX)]);
    let (bytes, said) = download(&url);
    assert!(bytes.unwrap() == content());
    assert!(said.contains("knows no ranges"), "{said}");
}

#[test]
fn a_file_that_was_replaced_meanwhile_is_not_patched_together() {
    let (url, _ranges) = serve(&[Act::Send(50_000), Act::Other]);
    let (bytes, _) = download(&url);
    assert!(matches!(bytes, Err(DownloadError::Changed { .. })), "{bytes:?}");
}

#[test]
fn what_will_not_get_better_is_said_at_once() {
    let (url, ranges) = serve(&[Act::Status(404)]);
    let (bytes, _) = download(&url);
    assert_eq!(bytes.unwrap_err().to_string(), format!("{url}: the server answers with status 404"));
    assert_eq!(ranges.iter().take(1).count(), 1);
    let (bytes, _) = download("root.img");
    assert!(matches!(bytes, Err(DownloadError::Address { .. } | DownloadError::Silent { .. })), "{bytes:?}");
}

#[test]
fn patience_ends() {
    let (url, _ranges) = serve(&[Act::Send(10), Act::HangUp]);
    let (bytes, said) = download(&url);
    assert!(matches!(bytes, Err(DownloadError::Silent { .. })), "{bytes:?}");
    assert!(said.lines().count() > 3, "{said}");
}

#[test]
fn parts_are_told_by_their_beginning() {
    let mut headers = HeaderMap::new();
    for (text, expected) in [("bytes 5-9/10", Some(5)), ("bytes */10", None), ("items 5-9/10", None), ("", None)] {
        headers.insert("content-range", text.parse().unwrap());
        assert_eq!(starts_at(&headers), expected, "{text}");
    }
}
