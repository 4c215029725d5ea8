//! What keeps a hub from starting, signals to it, and its certificate.

use std::fs;
use std::path::PathBuf;

use rocbed_tests::{Authority, Hub, tool};
use serde_json::Value;

use super::says;

#[test]
fn what_keeps_a_hub_from_starting() {
    let hub = Hub::start(&[]);
    let data = hub.started()["data"].as_str().expect("a path");
    let again = hub.call(&["hub", "--listen", "127.0.0.1:0"]).fails();
    says(&again, &[data, "in use by another hub", hub.address(), "--data"]);
    let other = hub.home().join("other").display().to_string();
    let port = hub.address().trim_start_matches("http://");
    says(&hub.call(&["hub", "--data", &other, "--listen", port]).fails(), &[port, "--listen"]);
    let file = hub.home().join("file");
    fs::write(&file, "no certificate").expect("a file");
    let file = file.display().to_string();
    says(&hub.call(&["hub", "--data", &other, "--tls-cert", &file, "--tls-key", &file]).fails(), &[&file, "PEM"]);
    let usage = hub.call(&["hub", "--tls-cert", &file]).run();
    assert_eq!(usage.code, Some(2), "{}", usage.stderr);
    says(&hub.call(&["hub", "--data", &format!("{file}/x")]).fails(), &[&file, "Not a directory"]);
}

#[test]
fn signals_end_it_and_nothing_is_forgotten() {
    let hub = Hub::start(&[]);
    let token = hub.started()["admin-token"].as_str().expect("a token, at the first start").to_owned();
    hub.call(&["jobs", "add", "rocrand"]).ok();
    let (code, _, home) = hub.end("-TERM");
    assert_eq!(code, Some(0));
    let hub = Hub::start_in(home, &["--listen", "127.0.0.1:0"]);
    assert_eq!(hub.started()["admin-token"], Value::Null, "it is shown once");
    assert_eq!(hub.json(&["jobs", "list"])[0]["id"], "rocrand");
    let (code, _, home) = hub.end("-INT");
    assert_eq!(code, Some(0));
    let hub = Hub::start_in(home, &["--listen", "127.0.0.1:0", "--new-admin-token"]);
    assert_ne!(hub.started()["admin-token"], Value::String(token.clone()));
    says(&hub.call(&["jobs", "add", "x1", "--token", &token]).fails(), &["does not know this token"]);
    hub.call(&["jobs", "add", "rocrand"]).ok();
}

#[test]
fn a_hangup_has_tokens_and_the_certificate_read_again() {
    let authority = Authority::new();
    let home = tempfile::tempdir().expect("a directory");
    let path = |name: &str| home.path().join(name).display().to_string();
    let (certificate, key) = (path("cert.pem"), path("key.pem"));
    fs::copy(authority.server_certificate(), &certificate).expect("a certificate");
    fs::copy(authority.server_key(), &key).expect("a key");
    let ca = authority.certificate().display().to_string();
    let words = ["--listen", "127.0.0.1:0", "--tls-cert", &certificate, "--tls-key", &key];
    let (certificate, key) = (certificate.clone(), key.clone());
    let words: Vec<String> = words.map(str::to_owned).to_vec();
    let hub = Hub::start_in(home, &words.iter().map(String::as_str).collect::<Vec<_>>());
    let other = Authority::new();
    let ask = |ca: &str| hub.call(&["jobs", "list", "--ca", ca]).run().code == Some(0);
    assert!(ask(&ca));
    fs::copy(other.server_certificate(), &certificate).expect("a certificate");
    let join = hub.started()["join-token-path"].as_str().expect("a path").to_owned();
    let token = fs::read_to_string(&join).expect("a token");
    fs::remove_file(&join).expect("removing the token");
    let hang_up = || tool("kill", ["-HUP", &hub.started()["pid"].to_string()]);
    hang_up();
    // A certificate and a key that do not belong together are not used, and the hub continues.
    until("a new join token", || fs::read_to_string(&join).is_ok_and(|new| new != token));
    assert!(ask(&ca));
    fs::copy(other.server_key(), &key).expect("a key");
    hang_up();
    let other = other.certificate().display().to_string();
    until("the new certificate", || ask(&other));
    let (code, said, _) = hub.end("-TERM");
    assert_eq!(code, Some(0));
    says(&said, &["the certificate cannot be used; the old one stays in use", &certificate]);
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..600 {
        if is_so() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("this did not come: {what}");
}

#[test]
fn https_with_a_certificate_of_ones_own() {
    let authority = Authority::new();
    let path = |path: PathBuf| path.display().to_string();
    let (certificate, key) = (path(authority.server_certificate()), path(authority.server_key()));
    let hub = Hub::start(&["--tls-cert", &certificate, "--tls-key", &key]);
    assert!(hub.address().starts_with("https://127.0.0.1:"), "{}", hub.address());
    says(&hub.call(&["jobs", "list"]).fails(), &["certificate", "--ca"]);
    hub.call(&["jobs", "add", "rocrand", "--ca", &path(authority.certificate())]).ok();
}
