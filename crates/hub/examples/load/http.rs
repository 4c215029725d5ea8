//! A minimal HTTP client: one connection, one request at a time.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Outcome;

/// A connection, reopened when the hub has closed it.
pub struct Connection {
    stream: TcpStream,
    address: String,
    token: String,
    buffer: Vec<u8>,
}

impl Connection {
    pub async fn open(address: &str, token: &str) -> Outcome<Self> {
        Ok(Self { stream: connect(address).await?, address: address.into(), token: token.into(), buffer: Vec::new() })
    }

    pub fn set_token(&mut self, token: &str) {
        token.clone_into(&mut self.token);
    }

    pub async fn get(&mut self, path: &str) -> Outcome<String> {
        Ok(String::from_utf8(self.send("GET", path, &[], b"").await?.1)?)
    }

    /// Sends a request; returns the status and the body.
    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Outcome<(u16, Vec<u8>)> {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n",
            self.address,
            self.token,
            body.len()
        );
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        if let Ok(answer) = self.exchange(&bytes).await {
            return Ok(answer);
        }
        self.stream = connect(&self.address).await?;
        self.buffer.clear();
        self.exchange(&bytes).await
    }

    async fn exchange(&mut self, request: &[u8]) -> Outcome<(u16, Vec<u8>)> {
        self.stream.write_all(request).await?;
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            self.more().await?;
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        let status = head.get(9..12).and_then(|text| text.parse().ok()).ok_or("no status")?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        self.buffer.drain(..end + 4);
        while self.buffer.len() < length {
            self.more().await?;
        }
        let body = self.buffer.drain(..length).collect();
        self.buffer.shrink_to_fit();
        Ok((status, body))
    }

    async fn more(&mut self) -> Outcome<()> {
        let mut piece = [0; 4096];
        let length = self.stream.read(&mut piece).await?;
        if length == 0 {
            return Err("the connection was closed".into());
        }
        self.buffer.extend_from_slice(&piece[..length]);
        Ok(())
    }
}

async fn connect(address: &str) -> Outcome<TcpStream> {
    // At the start the hub may not listen yet.
    for _ in 0..100 {
        if let Ok(stream) = TcpStream::connect(address).await {
            stream.set_nodelay(true)?;
            return Ok(stream);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err("the hub does not listen".into())
}
