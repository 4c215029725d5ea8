//! Reports the result of a start to the server of the image: `rocbed.boot-report=` is a URL that gets one line by
//! `POST`.
//!
//! The report has no login data: those of addresses are removed from it.
//!
//! A machine in a rack has no display, and a start that fails there is not seen by anyone. The start neither waits
//! for the report nor depends on it: a server that does not listen is not an error.

use std::time::Duration;

use ureq::Agent;

use crate::fatal::{Fatal, screen};
use appliance::cmdline::CommandLine;

/// How long sending an error may delay the machine's restart.
const PATIENCE: Duration = Duration::from_secs(3);

/// Reports an error: what failed, and what to do.
pub fn failed(line: &CommandLine, error: &Fatal) {
    tell(line, &screen(error));
}

/// Reports that the agent is ready. Returns at once.
pub fn ready(line: &CommandLine, text: String) {
    let line = line.clone();
    if line.boot_report.is_some() {
        // If the thread cannot be started, only the report is lost.
        let _ = std::thread::Builder::new().name("boot report".into()).spawn(move || tell(&line, &text));
    }
}

fn tell(line: &CommandLine, text: &str) {
    let Some(url) = &line.boot_report else { return };
    // Who answers at the address is not checked, as an initramfs has no certificate authorities: so the report has no
    // secrets. What failed may name an address with login data in it, or a token.
    let text = safetext::redacted(text);
    let config = Agent::config_builder().timeout_global(Some(PATIENCE)).tls_config(transfer::tls::unverified()).build();
    let agent: Agent = config.into();
    // As above: the server need not listen.
    let _ = agent.post(url).header("content-type", "text/plain; charset=utf-8").send(&*text);
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
        let error =
            "fetching https://lab:s3cret@boot.example/root.img (rocbed.join-token=rocbed-join-0123456789abcdef01)";
        failed(&line, &Fatal::new(error, "b"));
        let text = server.join().expect("the server")?;
        assert!(text.starts_with("POST /report HTTP/1.1\r\n") && text.contains("error: fetching https://"), "{text}");
        assert!(text.contains("@boot.example/root.img") && !text.contains("s3cret"), "{text}");
        assert!(!text.contains("0123456789abcdef"), "{text}");
        // The server is gone, or none was named.
        failed(&line, &Fatal::new("a", "b"));
        failed(&CommandLine::default(), &Fatal::new("a", "b"));
        Ok(())
    }
}
