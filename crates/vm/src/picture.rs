//! Takes pictures of a machine's display over QEMU's monitor protocol (QMP, docs/interop/qmp-spec of QEMU).

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// The time between two pictures.
const EVERY: Duration = Duration::from_secs(1);

/// Updates a picture of the display in a file (PNG) every second, until the machine ends. The file is always
/// complete: a picture is first written beside it. `ended` is set when the machine is gone.
pub(crate) fn keep(monitor: &Path, picture: &Path, ended: &AtomicBool) -> io::Result<()> {
    let Some(stream) = connect(monitor, ended)? else { return Ok(()) };
    let mut monitor = Monitor { answers: BufReader::new(stream.try_clone()?), questions: stream };
    let mut next = picture.as_os_str().to_owned();
    next.push(".part");
    let next = PathBuf::from(next);
    // QEMU has a working directory of its own.
    let absolute = std::path::absolute(&next)?;
    if monitor.ask(&json!({ "execute": "qmp_capabilities" }))?.is_none() {
        return Ok(());
    }
    let dump = json!({
        "execute": "screendump",
        "arguments": { "filename": absolute.to_string_lossy(), "format": "png" },
    });
    while monitor.ask(&dump)?.is_some() {
        fs::rename(&next, picture)?;
        thread::sleep(EVERY);
    }
    // A picture that was unfinished when the machine ended is removed.
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Waits until the monitor is there. `None` if it never was: QEMU has ended, and its messages say why.
fn connect(monitor: &Path, ended: &AtomicBool) -> io::Result<Option<UnixStream>> {
    while !ended.load(Ordering::Relaxed) {
        match UnixStream::connect(monitor) {
            Ok(stream) => return Ok(Some(stream)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {}
            Err(error) => return Err(error),
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(None)
}

struct Monitor {
    answers: BufReader<UnixStream>,
    questions: UnixStream,
}

impl Monitor {
    /// Sends a command, and waits for the answer; `None` when the machine has ended.
    fn ask(&mut self, question: &Value) -> io::Result<Option<Value>> {
        match self.questions.write_all(format!("{question}\n").as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(None),
            other => other?,
        }
        loop {
            let mut line = String::new();
            match self.answers.read_line(&mut line) {
                Ok(0) => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                other => other?,
            };
            let mut message: Value = serde_json::from_str(&line).map_err(io::Error::other)?;
            if let Some(error) = message.get("error") {
                let text = error.get("desc").and_then(Value::as_str).unwrap_or("it does not say why");
                return Err(io::Error::other(format!("QEMU refuses: {text}")));
            }
            // All other messages are the greeting and events.
            if let Some(answer) = message.get_mut("return") {
                return Ok(Some(answer.take()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// A simulated QEMU that sends a greeting and an event, takes this many pictures, and ends.
    fn qemu(socket: &Path, pictures: usize, refuses: bool) -> thread::JoinHandle<()> {
        let listener = UnixListener::bind(socket).expect("a socket");
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut questions = BufReader::new(stream.try_clone().expect("the same")).lines();
            stream.write_all(b"{\"QMP\": {}}\n").expect("a greeting");
            let mut next = || serde_json::from_str::<Value>(&questions.next().expect("a line").expect("text"));
            assert_eq!(next().expect("JSON")["execute"], "qmp_capabilities");
            stream.write_all(b"{\"event\": \"RESUME\"}\n{\"return\": {}}\n").expect("an answer");
            for number in 0..pictures {
                let question = next().expect("JSON");
                fs::write(question["arguments"]["filename"].as_str().expect("a file"), number.to_string())
                    .expect("a file");
                let answer: &[u8] =
                    if refuses { b"{\"error\": {\"desc\": \"no PNG\"}}\n" } else { b"{\"return\": {}}\n" };
                stream.write_all(answer).expect("an answer");
            }
        })
    }

    #[test]
    fn the_last_whole_picture_stays() {
        let directory = tempfile::tempdir().expect("a directory");
        let (socket, picture) = (directory.path().join("qmp"), directory.path().join("a \"b\".png"));
        let qemu = qemu(&socket, 2, false);
        keep(&socket, &picture, &AtomicBool::default()).expect("pictures");
        qemu.join().expect("QEMU");
        assert_eq!(fs::read_to_string(&picture).expect("a picture"), "1");
        assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 2, "the socket and the picture");
    }

    #[test]
    fn a_qemu_that_never_was_is_not_waited_for() {
        keep(Path::new("/nonexistent/qmp"), Path::new("x.png"), &AtomicBool::new(true)).expect("nothing to do");
    }

    #[test]
    fn a_qemu_that_cannot_is_told() {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("qmp");
        let qemu = qemu(&socket, 1, true);
        let picture = directory.path().join("x.png");
        let error = keep(&socket, &picture, &AtomicBool::default()).expect_err("an error");
        qemu.join().expect("QEMU");
        assert_eq!(error.to_string(), "QEMU refuses: no PNG");
    }
}
