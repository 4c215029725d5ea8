//! HTTPS with a self-signed certificate.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use advice::Advise as _;
use client::{Client, ClientError, ClientOptions};
use hub::{Config, Hub, Listener, Tls};

use crate::support::{Outcome, options};

fn certificate(directory: &Path) {
    made_with(directory, &["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]);
}

fn made_with(directory: &Path, more: &[&str]) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3650"])
        .args(["-subj", "/CN=hub", "-keyout", "key.pem", "-out", "cert.pem"])
        .args(more)
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

    let trusting = Client::new(&address, &ClientOptions { ca_file: Some(certificate.clone()), ..options() })?;
    assert!(trusting.jobs(&client::JobQuery::default())?.jobs.is_empty());
    let error = Client::new(&address, &options())?.jobs(&client::JobQuery::default()).expect_err("not trusted");
    assert!(matches!(error, ClientError::Certificate { .. }), "{error}");

    drop(stop);
    thread.join().expect("the thread")?;
    assert!(Tls::read(&key, &key).expect_err("no certificate").to_string().contains("key.pem"));
    Ok(())
}

/// A hub with the certificate in a directory. It runs until the last returned value is dropped.
fn serve(directory: &Path) -> Result<(String, Tls, tokio::sync::oneshot::Sender<()>), Box<dyn std::error::Error>> {
    let hub = Hub::open(&directory.join("hub"), Config::default())?;
    let socket = TcpListener::bind("127.0.0.1:0")?;
    let address = format!("https://{}", socket.local_addr()?);
    let tls = Tls::read(&directory.join("cert.pem"), &directory.join("key.pem"))?;
    let listener = Listener::tls(socket, tls.clone());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || hub.serve_blocking(vec![listener], async { drop(stopped.await) }));
    Ok((address, tls, stop))
}

#[test]
fn a_certificate_made_the_usual_way_is_explained() -> Outcome {
    let command = "-addext basicConstraints=critical,CA:FALSE -addext subjectAltName=IP:127.0.0.1";
    for (more, says) in [
        (&[][..], "it is an authority's (CA:TRUE"),
        (&["-addext", "basicConstraints=critical,CA:FALSE"], "it names no host"),
        (
            &["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "subjectAltName=DNS:hub.example"],
            "it is for hub.example, not for 127.0.0.1",
        ),
    ] {
        let temp = tempfile::tempdir()?;
        made_with(temp.path(), more);
        let (address, _, _stop) = serve(temp.path())?;
        let client =
            Client::new(&address, &ClientOptions { ca_file: Some(temp.path().join("cert.pem")), ..options() })?;
        let error = client.jobs(&client::JobQuery::default()).expect_err("it is refused");
        assert!(error.to_string().contains(says), "{error}");
        let help = error.help().to_string();
        assert!(help.contains(command), "{help}");
    }
    Ok(())
}

#[test]
fn new_connections_get_a_renewed_certificate() -> Outcome {
    let temp = tempfile::tempdir()?;
    certificate(temp.path());
    let (address, tls, _stop) = serve(temp.path())?;
    let ask = || -> Result<bool, Box<dyn std::error::Error>> {
        let options = ClientOptions { ca_file: Some(temp.path().join("cert.pem")), ..options() };
        Ok(Client::new(&address, &options)?.jobs(&client::JobQuery::default()).is_ok())
    };
    assert!(ask()?);
    certificate(temp.path());
    assert!(!ask()?, "the hub has the old one yet");
    tls.reload()?;
    assert!(ask()?);
    Ok(())
}
