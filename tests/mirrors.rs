//! Mirrors with TLS and behind a proxy, as configured in the environment (`SSL_CERT_FILE`, `http_proxy`, `no_proxy`).

use std::fs;
use std::path::Path;

use rocbed_tests::{Authority, Call, Proxy, Rules, Server, TestArchive, rocbed};

/// `rocbed lock` with its own cache, and without proxies from the environment.
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
    let whole = format!("GET {}", server.url("dists/"));
    assert!(!asked.is_empty() && asked.iter().all(|line| line.starts_with(&whole)), "{asked:?}");

    // A proxy that does not exist causes no failure where it is not to be used.
    let (dead, cache) = ("http://127.0.0.1:9", archive.path().join("other-cache"));
    let other = lock(&archive, &recipe).arg("--update").env("ROCBED_CACHE", &cache).env("http_proxy", dead);
    let said = other.fails();
    assert!(said.contains("127.0.0.1"), "{said}");
    let other = lock(&archive, &recipe).arg("--update").env("ROCBED_CACHE", &cache).env("http_proxy", dead);
    other.env("no_proxy", "127.0.0.1").ok();
}

#[test]
fn tls_goes_through_a_proxy_unread() {
    let (archive, authority) = (TestArchive::new(), Authority::new());
    let server = Server::directory_over_tls(archive.path().to_owned(), &authority);
    let proxy = Proxy::start_with(Rules::default().tunnels_to(server.address().port()));
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

/// `printf 'user:p@ss word' | base64`
const LOGIN: &str = "Basic dXNlcjpwQHNzIHdvcmQ=";

#[test]
fn a_proxy_may_want_a_password_and_know_names_that_nobody_else_does() {
    let archive = TestArchive::new();
    let proxy =
        Proxy::start_with(Rules::default().authorization(LOGIN).server("deb.invalid", archive.serve().address()));
    let recipe = archive.recipe("http://deb.invalid", "greeter", "");
    let with_login = |login: &str| proxy.url().replace("http://", &format!("http://{login}"));
    for login in ["", "user:wrong@"] {
        let said = lock(&archive, &recipe).env("http_proxy", with_login(login)).fails();
        assert!(said.contains("407") && said.contains("name:password@host:port"), "{said}");
        assert!(!said.contains("wrong"), "{said}");
    }
    lock(&archive, &recipe).env("http_proxy", with_login("user:p%40ss%20word@")).ok();
    is_locked(&recipe);
}

#[test]
fn socks_is_refused_in_words_and_only_where_it_would_be_needed() {
    let archive = TestArchive::new();
    let server = archive.serve();
    let recipe = archive.recipe(&server.url(""), "greeter", "");
    for scheme in ["socks", "socks4", "socks5", "socks5h"] {
        let said = lock(&archive, &recipe).env("all_proxy", format!("{scheme}://me:secret@127.0.0.1:1080")).fails();
        assert!(said.contains("all_proxy") && said.contains("SOCKS") && !said.contains("secret"), "{said}");
    }
    let socks = "socks5h://127.0.0.1:1080";
    lock(&archive, &recipe).env("ALL_PROXY", socks).env("no_proxy", "127.0.0.0/8").ok();
    is_locked(&recipe);
    let recipe = archive.recipe(&format!("file://{}", archive.path().display()), "greeter", "");
    lock(&archive, &recipe).arg("--update").env("ALL_PROXY", socks).ok();
}

#[test]
fn the_proxy_of_apts_configuration_is_used_where_the_environment_names_none() {
    let archive = TestArchive::new();
    let proxy = Proxy::start_with(Rules::default().server("deb.invalid", archive.serve().address()));
    let configuration = archive.path().join("apt.conf");
    fs::write(&configuration, format!("Acquire {{ http {{ Proxy \"{}/\"; }}; }};\n", proxy.url())).expect("a file");
    let recipe = archive.recipe("http://deb.invalid", "greeter", "");
    lock(&archive, &recipe).env("APT_CONFIG", &configuration).ok();
    is_locked(&recipe);
    let said = lock(&archive, &recipe)
        .arg("--update")
        .env("APT_CONFIG", &configuration)
        .env("http_proxy", "http://127.0.0.1:9");
    let said = said.env("ROCBED_CACHE", archive.path().join("other-cache")).fails();
    assert!(said.contains("through the proxy http://127.0.0.1:9 (http_proxy)"), "{said}");
}

#[test]
fn who_named_a_mirror_that_fails_is_said() {
    let archive = TestArchive::new();
    let recipe = archive.recipe("file:///nowhere/of-the-recipe", "greeter", "");
    let says = |said: String, words: &[&str]| {
        assert!(words.iter().all(|word| said.contains(word)) && said.contains("help: --mirror"), "{said}");
    };
    says(lock(&archive, &recipe).fails(), &["file:///nowhere/of-the-recipe", "from the recipe's archive.mirror"]);
    says(lock(&archive, &recipe).args(&["--mirror", "file:/nowhere"]).fails(), &["file:///nowhere (from --mirror)"]);
    let variable = lock(&archive, &recipe).env("ROCBED_MIRROR", "http://me:secret@127.0.0.1:9/debian").fails();
    assert!(!variable.contains("secret"), "{variable}");
    says(variable, &["http://127.0.0.1:9/debian (from ROCBED_MIRROR)"]);
}
