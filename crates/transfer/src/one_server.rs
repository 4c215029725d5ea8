//! [`one_server`]: settings of HTTP clients that talk to one server only.

use std::time::Duration;

use ureq::Agent;
use ureq::config::ConfigBuilder;
use ureq::tls::TlsConfig;
use ureq::typestate::AgentScope;

/// Settings for requests that are for one server: a redirection is an answer like any other status, since a token or
/// signature is not for another server; bodies are as the server has them. Connecting, and waiting for the next bytes,
/// take no longer than `timeout`.
pub fn one_server(timeout: Duration, tls: TlsConfig) -> ConfigBuilder<AgentScope> {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .accept_encoding("identity")
        .user_agent(concat!("rocbed/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(timeout))
        .timeout_per_read(Some(timeout))
        .timeout_per_write(Some(timeout))
        .max_idle_connections_per_host(4)
        .tls_config(tls)
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn a_redirection_is_not_followed() -> Result<(), Box<dyn std::error::Error>> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let server = thread::spawn(move || -> io::Result<String> {
            let (mut stream, _) = listener.accept()?;
            let mut asked = [0; 4096];
            let length = stream.read(&mut asked)?;
            stream.write_all(b"HTTP/1.1 307 Moved\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n")?;
            Ok(String::from_utf8_lossy(asked.get(..length).unwrap_or_default()).into_owned())
        });
        let agent: Agent = one_server(Duration::from_secs(10), crate::tls::unverified()).build().into();
        assert_eq!(agent.get(format!("http://{address}/x")).call()?.status(), 307);
        let asked = server.join().map_err(|_| "the server has ended")??.to_ascii_lowercase();
        assert!(asked.contains("accept-encoding: identity") && asked.contains("user-agent: rocbed/"), "{asked}");
        Ok(())
    }
}
