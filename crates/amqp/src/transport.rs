//! The byte stream to a broker: TCP, with or without TLS.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::error::Error;
use crate::tls::TlsError;
use protocol::BrokerAddress;

/// A connected stream.
#[derive(Debug)]
pub(crate) struct Transport {
    stream: Stream,
    /// The same socket, for its timeouts.
    socket: TcpStream,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Transport {
    /// Connects to a broker. Each address of its host is tried.
    pub(crate) fn connect(
        address: &BrokerAddress,
        tls: Option<&Arc<ClientConfig>>,
        timeout: Duration,
    ) -> Result<Self, Error> {
        let unreachable =
            |error: io::Error| Error::Unreachable { host: address.host.clone(), port: address.port, error };
        let found = (address.host.as_str(), address.port).to_socket_addrs().map_err(unreachable)?;
        let mut last = io::Error::new(io::ErrorKind::NotFound, "it has no address");
        let mut connected = None;
        for place in found {
            match TcpStream::connect_timeout(&place, timeout) {
                Ok(socket) => {
                    connected = Some(socket);
                    break;
                }
                Err(error) => last = error,
            }
        }
        let socket = connected.ok_or_else(|| unreachable(last))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(timeout))?;
        socket.set_write_timeout(Some(timeout))?;
        let copy = socket.try_clone()?;
        let stream = match tls {
            None => Stream::Plain(copy),
            Some(config) => Stream::Tls(Box::new(handshake(address, config, copy)?)),
        };
        Ok(Self { stream, socket })
    }

    /// How long a read waits for bytes before it fails with `WouldBlock`.
    pub(crate) fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.socket.set_read_timeout(Some(timeout.max(Duration::from_millis(1))))
    }

    /// How long a write waits before it fails, after which the stream is of no use.
    pub(crate) fn set_write_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.socket.set_write_timeout(Some(timeout))
    }
}

fn handshake(
    address: &BrokerAddress,
    config: &Arc<ClientConfig>,
    mut socket: TcpStream,
) -> Result<StreamOwned<ClientConnection, TcpStream>, Error> {
    let of_tls = |error: &rustls::Error| Error::Tls(TlsError::of(error, &address.host));
    let name = ServerName::try_from(address.host.clone()).map_err(|error| Error::NotABroker(error.to_string()))?;
    let mut connection = ClientConnection::new(Arc::clone(config), name).map_err(|error| of_tls(&error))?;
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).map_err(|error| explain(&error, address))?;
    }
    Ok(StreamOwned::new(connection, socket))
}

/// An error of TLS as such, instead of as one of input and output.
fn explain(error: &io::Error, address: &BrokerAddress) -> Error {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match (tls, error.kind()) {
        (Some(tls), _) => Error::Tls(TlsError::of(tls, &address.host)),
        (None, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
            Error::NotABroker("it has ended the connection at once".into())
        }
        (None, _) => Error::NotABroker(format!("it has ended the handshake of TLS: {error}")),
    }
}

/// The other side has ended the connection.
pub(crate) fn ended() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "the broker has ended the connection")
}

/// An error of reading or writing, which may be one of TLS: a broker refuses a certificate after the handshake.
pub(crate) fn lost(error: io::Error, host: &str) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(tls) => Error::Tls(TlsError::of(tls, host)),
        // rustls tells those who write programs about a missing `close_notify`.
        None if error.kind() == ErrorKind::UnexpectedEof => Error::Lost(ended()),
        None => Error::Lost(error),
    }
}

impl Read for Transport {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.read(buffer),
            Stream::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Transport {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.flush(),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}
