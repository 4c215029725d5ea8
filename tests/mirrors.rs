//! Mirrors behind TLS and behind a proxy, as the environment says (`SSL_CERT_FILE`, `http_proxy`, `no_proxy`).

use std::fs;
use std::path::Path;

use rocbed_tests::{Authority, Call, Proxy, Server, TestArchive, rocbed};

/// `rocbed lock` with a cache of its own, and without what the environment says of proxies.
fn lock(archive: &TestArchive, recipe: &Path) -> Call {
    let call = rocbed(["lock"]).arg(recipe).env("ROCBED_CACHE", archive.path().join("cache"));
    let names = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"];
    let call = names.iter().fold(call, |call, name| call.env(name, ""));
    names.iter().fold(call, |call, name| call.env(&name.to_uppercase(), ""))
}

fn is_locked(recipe: &Path) {
    let lock = fs::read_to_string(recipe.with_extension("lock")).expect("a lock was written");
    assert!(lock.contains("name = \"greeter\""), "{lock}");
}

#[test]
fn https_is_trusted_by_the_authorities_of_the_machine() {
    let (archive, authority) = (TestArchive::new(), Authority::new());
    let server = Server::directory_over_tls(archive.path().to_owned(), &authority);
    assert!(server.url("").starts_with("https://127.0.0.1:"), "{}", server.url(""));
    let recipe = archive.recipe(&server.url(""), "greeter", "");
    lock(&archive, &recipe).env("SSL_CERT_FILE", authority.certificate()).ok();
    is_locked(&recipe);
}

#[test]
fn https_under_an_unknown_authority_is_refused() {
    let (archive, authority, stranger) = (TestArchive::new(), Authority::new(), Authority::new());
    let server = Server::directory_over_tls(archive.path().to_owned(), &authority);
    let recipe = archive.recipe(&server.url(""), "greeter", "");
    let said = lock(&archive, &recipe).env("SSL_CERT_FILE", stranger.certificate()).fails();
    assert!(said.contains("certificate") && said.contains(&server.url("")), "{said}");
    assert!(server.requests().is_empty(), "nothing is asked of a stranger: {:?}", server.requests());
    let said = lock(&archive, &recipe).env("SSL_CERT_FILE", archive.path().join("nowhere.pem")).fails();
    assert!(said.contains("nowhere.pem"), "{said}");
}

#[test]
fn a_certificate_for_another_host_is_refused() {
    let (archive, authority) = (TestArchive::new(), Authority::new());
    let server = Server::directory_over_tls(archive.path().to_owned(), &authority);
    let elsewhere = server.url("").replace("127.0.0.1", "localhost");
    let recipe = archive.recipe(&elsewhere, "greeter", "");
    let said = lock(&archive, &recipe).env("SSL_CERT_FILE", authority.certificate()).fails();
    assert!(said.contains("certificate"), "{said}");
}

#[test]
fn a_proxy_is_asked_and_exceptions_are_not_its_business() {
    let (archive, proxy) = (TestArchive::new(), Proxy::start());
    let server = archive.serve();
    let recipe = archive.recipe(&server.url(""), "greeter", "");
    lock(&archive, &recipe).env("http_proxy", proxy.url()).ok();
    is_locked(&recipe);
    let asked = proxy.requests();
    assert!(!asked.is_empty() && asked.iter().all(|line| line.contains("127.0.0.1:")), "{asked:?}");

    // A proxy that is not there is no obstacle where none is to be asked.
    let (dead, cache) = ("http://127.0.0.1:9", archive.path().join("other-cache"));
    let other = lock(&archive, &recipe).arg("--update").env("ROCBED_CACHE", &cache).env("http_proxy", dead);
    let said = other.fails();
    assert!(said.contains("127.0.0.1"), "{said}");
    let other = lock(&archive, &recipe).arg("--update").env("ROCBED_CACHE", &cache).env("http_proxy", dead);
    other.env("no_proxy", "127.0.0.1").ok();
}

#[test]
fn tls_goes_through_a_proxy_unread() {
    let (archive, authority, proxy) = (TestArchive::new(), Authority::new(), Proxy::start());
    let server = Server::directory_over_tls(archive.path().to_owned(), &authority);
    let recipe = archive.recipe(&server.url(""), "greeter", "");
    lock(&archive, &recipe).env("SSL_CERT_FILE", authority.certificate()).env("https_proxy", proxy.url()).ok();
    is_locked(&recipe);
    let asked = proxy.requests();
    assert!(!asked.is_empty() && asked.iter().all(|line| line.starts_with("CONNECT 127.0.0.1:")), "{asked:?}");
}

#[test]
fn an_address_that_is_no_proxy_is_named() {
    let archive = TestArchive::new();
    let recipe = archive.recipe("http://127.0.0.1:9", "greeter", "");
    let said = lock(&archive, &recipe).env("http_proxy", "nonsense://x y").fails();
    assert!(said.contains("http_proxy") && said.contains("nonsense"), "{said}");
}
