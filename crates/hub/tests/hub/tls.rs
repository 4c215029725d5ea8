//! HTTPS with a certificate of one's own.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use client::{Client, ClientError, Options};
use hub::{Config, Hub, Listener, Tls};

use crate::support::{Outcome, options};

fn certificate(directory: &Path) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3650"])
        .args(["-subj", "/CN=hub", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .current_dir(directory)
        .output();
    let made = made.expect("this test needs openssl: install the package openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[test]
fn a_hub_with_a_certificate() -> Outcome {
    let temp = tempfile::tempdir()?;
    certificate(temp.path());
    let (certificate, key) = (temp.path().join("cert.pem"), temp.path().join("key.pem"));
    let hub = Hub::open(&temp.path().join("hub"), Config::default())?;
    let socket = TcpListener::bind("127.0.0.1:0")?;
    let address = format!("https://{}", socket.local_addr()?);
    let listener = Listener::tls(socket, Tls::read(&certificate, &key)?);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = hub.clone();
    let thread = std::thread::spawn(move || serving.serve_blocking(vec![listener], async { drop(stopped.await) }));

    let trusting = Client::new(&address, &Options { ca_file: Some(certificate.clone()), ..options() })?;
    assert!(trusting.jobs(&client::JobQuery::default())?.jobs.is_empty());
    let error = Client::new(&address, &options())?.jobs(&client::JobQuery::default()).expect_err("not trusted");
    assert!(matches!(error, ClientError::Certificate { .. }), "{error}");

    drop(stop);
    thread.join().expect("the thread")?;
    assert!(Tls::read(&key, &key).expect_err("no certificate").to_string().contains("key.pem"));
    Ok(())
}
