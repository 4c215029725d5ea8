//! Runs the first commands of a new user on a machine whose only way to the internet is a proxy, or a package cache,
//! that apt is configured to use.
//!
//! The downloads are local where that is enough: the packages of the smoke recipe from the tests' cache, and a test
//! archive where an index is needed. Commands that need the archive's source packages get the real archive through the
//! proxy. Root directories of earlier builds are reused, so that only the downloads are repeated. `rocbed demo` is run
//! behind a proxy by `tests/packages.rs`, as a boot takes minutes.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rocbed_tests::{OnlyProxy, PROXY_PORT, Rules, Server, served_mirror, tool};

use crate::collect::{self, Line};
use crate::pages::root;
use crate::world::{World, ended};

/// The server in apt's sources, which only the proxy can find.
const MIRROR: &str = "deb.invalid";

#[test]
fn the_first_commands_run_where_only_a_proxy_leads_out() {
    let sources = format!("deb http://{MIRROR}/debian sid main\n");
    let configuration = format!("Acquire::http::Proxy \"http://127.0.0.1:{PROXY_PORT}/\";\n");
    let requests = run_all(&sources, &configuration);
    assert!(requests.iter().all(|line| line.starts_with(&format!("GET http://{MIRROR}/debian/"))), "{requests:?}");
}

#[test]
fn the_first_commands_run_where_only_a_cache_leads_out() {
    let sources = format!("deb http://127.0.0.1:{PROXY_PORT}/{MIRROR}/debian sid main\n");
    let requests = run_all(&sources, "");
    assert!(requests.iter().all(|line| line.starts_with(&format!("GET /{MIRROR}/debian/"))), "{requests:?}");
}

#[test]
fn tests_and_job_lists_work_where_only_a_proxy_leads_out() {
    let world = World::new();
    let server = served_mirror();
    let sources = format!("deb http://{MIRROR}/debian sid main\n");
    let configuration = format!("Acquire::http::Proxy \"http://127.0.0.1:{PROXY_PORT}/\";\n");
    let machine = OnlyProxy::new(Rules::default().server(MIRROR, server.address()), &sources, &configuration);
    let cache = world.cache().parent().map(tempfile::tempdir_in).expect("a parent").expect("a directory");
    take_along(world.cache(), cache.path());
    let mut complaints = Vec::new();
    // The mirror at hand may be a copy that is no longer renewed.
    let commands = [
        ("docs/quick-start.md:", "rocbed test smoke gzip", "rocbed test smoke gzip --ignore-valid-until"),
        ("README.md:", "rocbed jobs make --add", "rocbed jobs make --add --ignore-valid-until"),
    ];
    for (page, command, run) in commands {
        let documented = |line: &&Line| line.place.starts_with(page) && line.text.starts_with(command);
        let lines = collect::lines();
        let line = lines.iter().find(documented).unwrap_or_else(|| panic!("{page} no longer has {command}"));
        let text = line.text.replacen(command, run, 1);
        let text = if command.starts_with("rocbed jobs") { with_hub(&text) } else { text };
        let home = tempfile::tempdir().expect("a directory");
        let mut shell = world.prepared(machine.shell(&text, &home.path().display().to_string()), home.path());
        without_settings(&mut shell);
        let outcome = ended(shell.env("ROCBED_CACHE", cache.path()).output());
        complaints.extend(outcome.err().map(|error| format!("{}: {text}\n{error}", line.place)));
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    let requests = machine.requests();
    assert!(requests.iter().all(|line| line.starts_with(&format!("GET http://{MIRROR}/debian/"))), "{requests:?}");
    for part in ["/main/source/", "/pool/main/g/gzip/"] {
        assert!(requests.iter().any(|line| line.contains(part)), "nothing like {part} in {requests:?}");
    }
}

/// A line that first starts a hub in the network of the line, and ends it after the line.
fn with_hub(line: &str) -> String {
    format!(
        "rocbed hub --listen 127.0.0.1:8420 --min-free 0 > hub.started &\n\
         hub=$!\n\
         trap 'kill $hub' EXIT\n\
         for second in $(seq 60); do [ -s hub.started ] && break; sleep 1; done\n\
         {line}"
    )
}

/// Removes the settings that would name another proxy or mirror.
fn without_settings(shell: &mut Command) {
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy", "ROCBED_MIRROR"] {
        shell.env_remove(name).env_remove(name.to_uppercase());
    }
}

/// Runs the commands; returns the requests to the proxy.
fn run_all(sources: &str, configuration: &str) -> Vec<String> {
    let world = World::new();
    let server = mirror(&world);
    let machine = OnlyProxy::new(Rules::default().server(MIRROR, server.address()), sources, configuration);
    // Beside the other cache, as its files are hard-linked.
    let cache = world.cache().parent().map(tempfile::tempdir_in).expect("a parent").expect("a directory");
    take_along(world.cache(), cache.path());
    let (mut ran, mut complaints) = (BTreeSet::new(), Vec::new());
    for line in collect::lines().iter().filter(|line| is_first(line)) {
        let command = &line.commands[0];
        if !ran.insert(command.text()) {
            continue;
        }
        // If a user's own recipe is locked for the first time, the index is requested; builds use the smoke recipe's
        // lock.
        let own = ["plan", "lock"].contains(&command.words[1].as_str()) && command.words[2].ends_with(".toml");
        let directory = if own { own_recipe(&world) } else { world.recipes().to_owned() };
        let shell = machine.shell(&line.text, &directory.display().to_string());
        let mut shell = world.prepared(shell, &directory);
        without_settings(&mut shell);
        let outcome = ended(shell.env("ROCBED_CACHE", cache.path()).output());
        complaints.extend(outcome.err().map(|error| format!("{}: {}\n{error}", line.place, line.text)));
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    let words = |word: &str| ran.iter().any(|text| text.starts_with(&format!("rocbed {word} ")));
    assert!(words("plan") && words("lock") && words("build"), "{ran:?}");
    let requests = machine.requests();
    for part in ["/dists/sid/InRelease", "/Packages.xz", ".deb"] {
        assert!(requests.iter().any(|line| line.contains(part)), "nothing like {part} in {requests:?}");
    }
    requests
}

/// Whether the line is a command of the README or the quick start that may download packages.
fn is_first(line: &Line) -> bool {
    let page = line.place.starts_with("README.md:") || line.place.starts_with("docs/quick-start.md:");
    let fetches = |words: &[String]| {
        words.first().is_some_and(|word| word == "rocbed")
            && words.get(1).is_some_and(|word| ["plan", "lock", "build"].contains(&word.as_str()))
            && words.len() > 2
    };
    page && line.commands.first().is_some_and(|command| fetches(&command.words))
}

/// A directory with a recipe `mine.toml` for the test archive, without a lock and a mirror.
fn own_recipe(world: &World) -> PathBuf {
    let directory = world.archive().path().join("own");
    fs::create_dir_all(&directory).expect("a directory");
    fs::copy(world.archive().path().join("key.asc"), directory.join("key.asc")).expect("a key");
    let text = "[archive]\nsnapshot = \"\"\nkeyrings = [\"key.asc\"]\n[packages]\ninstall = [\"greeter\"]\n";
    fs::write(directory.join("mine.toml"), text).expect("a recipe");
    let _ = fs::remove_file(directory.join("mine.lock"));
    directory
}

/// A server with the test archive and the smoke recipe's packages from the cache.
fn mirror(world: &World) -> Server {
    let lock = fs::read_to_string(root().join("recipes/smoke.lock")).expect("a lock");
    let value =
        |line: &str, name: &str| line.strip_prefix(name)?.strip_prefix(" = \"")?.strip_suffix('"').map(str::to_owned);
    let names = lock.lines().filter_map(|line| value(line, "filename"));
    let digests = lock.lines().filter_map(|line| value(line, "sha256"));
    let blobs = world.cache().join("sha256");
    let packages: HashMap<String, PathBuf> = names
        .zip(digests)
        .map(|(name, digest)| (rocbed::archive::quote(&name), blobs.join(&digest[..2]).join(&digest)))
        .collect();
    assert!(packages.len() > 20, "the lock was not read");
    let archive = world.archive().path().to_owned();
    Server::start(move |path| {
        let path = path.strip_prefix("/debian/")?;
        fs::read(packages.get(path).unwrap_or(&archive.join(path))).ok()
    })
}

/// Hard-links a cache into another one, without the packages.
fn take_along(from: &Path, to: &Path) {
    for name in ["trees", "meta"] {
        tool(
            "cp",
            ["-a".to_owned(), "--link".to_owned(), from.join(name).display().to_string(), to.display().to_string()],
        );
    }
}
