//! Tells whoever serves the image how a start went: `rocbed.boot-report=` is an address that gets one line by `POST`.
//!
//! A machine in a rack has no display, and a start that fails there fails in silence. Nothing waits for this, and nothing
//! follows from it: a server that does not listen is no failure.

use std::time::Duration;

use ureq::Agent;

use crate::fatal::{Fatal, screen};
use appliance::cmdline::CommandLine;

/// How long an error may keep the machine from its restart.
const PATIENCE: Duration = Duration::from_secs(3);

/// An error on the way: what failed, and what to do.
pub fn failed(line: &CommandLine, error: &Fatal) {
    tell(line, &screen(error));
}

/// The agent is ready. Comes back at once.
pub fn ready(line: &CommandLine, text: String) {
    let line = line.clone();
    if line.boot_report.is_some() {
        // Without a thread there is no report, which is all that it is.
        drop(std::thread::Builder::new().name("boot report".into()).spawn(move || tell(&line, &text)));
    }
}

fn tell(line: &CommandLine, text: &str) {
    let Some(url) = &line.boot_report else { return };
    let config = Agent::config_builder().timeout_global(Some(PATIENCE)).build();
    let agent: Agent = config.into();
    // As above: nobody has to listen.
    drop(agent.post(url).header("content-type", "text/plain; charset=utf-8").send(text));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn an_error_arrives_as_it_is_on_the_screen() -> std::io::Result<()> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let line = CommandLine::parse(&format!("rocbed.boot-report=http://{}/report", listener.local_addr()?));
        let server = std::thread::spawn(move || -> std::io::Result<String> {
            let (mut stream, _) = listener.accept()?;
            let mut bytes = [0; 4096];
            let mut text = String::new();
            while !text.contains("what to do: b") {
                let count = stream.read(&mut bytes)?;
                text.push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
            Ok(text)
        });
        failed(&line, &Fatal::new("a", "b"));
        let text = server.join().expect("the server")?;
        assert!(text.starts_with("POST /report HTTP/1.1\r\n") && text.contains("error: a\n"), "{text}");
        // Nobody is there any more, and nobody was named.
        failed(&line, &Fatal::new("a", "b"));
        failed(&CommandLine::default(), &Fatal::new("a", "b"));
        Ok(())
    }
}
