//! A certificate authority for tests, and a TLS server configuration with a certificate that it signed.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

use crate::tool;

/// An authority with one signed certificate, for 127.0.0.1.
pub struct Authority {
    directory: TempDir,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// Creates the keys and certificates with openssl.
    pub fn new() -> Self {
        let authority = Self { directory: tempfile::tempdir().expect("making a temporary directory") };
        let path = |name: &str| authority.path(name).display().to_string();
        let (ca_key, ca, key, request, certificate) =
            (path("ca.key"), path("ca.pem"), path("server.key"), path("server.csr"), path("server.pem"));
        let new_key = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let ca_words = ["-x509", "-days", "2", "-subj", "/CN=rocbed test authority", "-keyout", &ca_key, "-out", &ca];
        tool("openssl", new_key.iter().chain(&ca_words));
        let request_words = ["-subj", "/CN=rocbed test server", "-keyout", &key, "-out", &request];
        tool("openssl", new_key.iter().chain(&request_words));
        let names = path("names");
        std::fs::write(&names, "subjectAltName=IP:127.0.0.1\n").expect("writing the certificate's names");
        let sign = ["x509", "-req", "-in", &request, "-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial", "-days", "2"];
        tool("openssl", sign.iter().chain(&["-extfile", &names, "-out", &certificate]));
        authority
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The authority's own certificate, for `SSL_CERT_FILE`.
    pub fn certificate(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// The signed server certificate.
    pub fn server_certificate(&self) -> PathBuf {
        self.path("server.pem")
    }

    /// The key of the server certificate.
    pub fn server_key(&self) -> PathBuf {
        self.path("server.key")
    }

    /// A server on a loopback port, under its address and as `localhost`, that answers each request with nothing (status
    /// 200). It runs until the test program ends.
    pub fn start_server(&self) -> u16 {
        let config = self.server_config();
        let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = socket.local_addr().expect("its address").port();
        std::thread::spawn(move || {
            for stream in socket.incoming().flatten() {
                let connection = rustls::ServerConnection::new(Arc::clone(&config)).expect("a connection");
                let mut stream = rustls::StreamOwned::new(connection, stream);
                let mut request = Vec::new();
                let mut buffer = [0; 4096];
                // A client that refuses the certificate sends no request.
                while !request.ends_with(b"\r\n\r\n") {
                    match stream.read(&mut buffer) {
                        Ok(length) if length > 0 => request.extend_from_slice(&buffer[..length]),
                        _ => break,
                    }
                }
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        });
        port
    }

    /// TLS configuration for a server with the signed certificate.
    pub(crate) fn server_config(&self) -> Arc<ServerConfig> {
        let certificates = CertificateDer::pem_file_iter(self.path("server.pem")).expect("reading the certificate");
        let certificates = certificates.collect::<Result<_, _>>().expect("reading the certificate");
        let key = PrivateKeyDer::from_pem_file(self.path("server.key")).expect("reading the key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.expect("the default versions of TLS").with_no_client_auth();
        Arc::new(builder.with_single_cert(certificates, key).expect("a certificate with its key"))
    }
}
