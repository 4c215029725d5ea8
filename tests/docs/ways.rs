//! The table of how a test runs each command of the documentation. New commands are added here.

use std::fs;

use crate::pages::root;
use crate::parse::Parsed;
use crate::shell::Command;

/// A way to run a command.
#[derive(Debug, Clone, Copy)]
pub enum Way {
    /// This test runs it, in a directory with what the command needs.
    Here(Place),
    /// Other code runs it, in one of these files, which contains the subcommand's words and all the command's options
    /// in quotes.
    There(&'static [&'static str]),
    /// Other code runs it, in this file, which contains these words in quotes.
    Parts(&'static str, &'static [&'static str]),
    /// Only its options are checked. It runs the tests, or what they are made of.
    Task,
    /// It is not run, because no test may do that to a machine, or because it needs something that no machine has. The
    /// files that it names must exist.
    Nobody(&'static str),
}

/// Place where a command is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Recipes with locks, and no images yet.
    Recipes,
    /// Built images.
    Images,
    /// A signed test archive, with recipes for it.
    Archive,
    /// A file that stands for a stick and is written to before.
    Stick,
    /// A stick with results of a machine on it.
    Results,
    /// A hub with two queued jobs.
    Queued,
    /// A hub with two finished jobs.
    Done,
    /// A hub with a job for each of these, which run while a command watches them.
    Watched,
    /// An empty directory; the command is ended once it reports that it listens.
    Serving,
}

/// First words of commands, and the ways to run them. The longest match counts.
const WAYS: &[(&str, Way)] = &[
    ("rocbed plan", Way::Here(Place::Recipes)),
    ("rocbed lock", Way::Here(Place::Archive)),
    ("rocbed build", Way::Here(Place::Recipes)),
    ("rocbed build smoke --locked --fresh", Way::There(&["tests/same_twice.rs"])),
    ("rocbed inspect", Way::Here(Place::Images)),
    ("rocbed flash --list", Way::Here(Place::Images)),
    ("rocbed flash", Way::Here(Place::Stick)),
    ("rocbed settings", Way::Here(Place::Stick)),
    ("rocbed collect", Way::Here(Place::Results)),
    ("debci enqueue", Way::Nobody("tests/debci.rs runs it where debci is")),
    ("rabbitmqctl", Way::Nobody("tests/debci/bridge.rs runs it where the broker is")),
    ("rocbed netboot", Way::There(&["tests/netboot.rs"])),
    ("rocbed boot", Way::There(&["tests/boot.rs", "tests/appliance.rs", "tests/worker.rs", "tests/netboot.rs"])),
    ("rocbed workers", Way::There(&["tests/hub_commands.rs"])),
    ("rocbed simulate", Way::There(&["tests/simulate.rs"])),
    (
        "rocbed test smoke gzip --vm",
        Way::Nobody(
            "takes minutes without KVM; tests/virtual_machine.rs has the same testbeds, from an own autopkgtest",
        ),
    ),
    ("rocbed test", Way::There(&["tests/local.rs", "tests/local/compare.rs", "tests/simulate.rs"])),
    (
        "rocbed test rocm",
        Way::Nobody("it builds the worker's root directory, and needs a GPU; smoke goes the same way"),
    ),
    ("rocbed hub", Way::Here(Place::Serving)),
    ("rocbed hub --debci-workers", Way::Parts("tests/debci/bridge.rs", &["--debci-workers", "--debci-workers-arch"])),
    ("rocbed hub --debci", Way::Parts("tests/debci/bridge.rs", &["--debci", "--debci-api"])),
    ("rocbed hub --watch", Way::Parts("tests/hub_commands/watch.rs", &["--watch", "--watch-every"])),
    ("rocbed hub --watch --keep-packages", Way::Parts("tests/hub_commands/kept.rs", &["--watch", "--keep-packages"])),
    ("rocbed hub --webhooks", Way::Parts("tests/hub_commands/watch.rs", &["--webhooks"])),
    ("rocbed hub --bundles", Way::There(&["tests/s3.rs"])),
    ("rocbed jobs", Way::Here(Place::Queued)),
    ("rocbed jobs add ../rocfft_7.2-1_amd64.changes", Way::There(&["tests/hub_commands.rs"])),
    ("rocbed jobs add rocrand ../rocfft_7.2-1_amd64.changes", Way::There(&["tests/hub_commands.rs"])),
    ("rocbed jobs make", Way::Here(Place::Archive)),
    ("rocbed jobs show rocfft", Way::There(&["tests/hub_commands/shards.rs"])),
    ("rocbed jobs retry rocfft.2of4", Way::There(&["tests/hub_commands/shards.rs"])),
    ("rocbed jobs watch", Way::Here(Place::Watched)),
    ("rocbed jobs add rocrand --watch", Way::Here(Place::Watched)),
    ("rocbed jobs retry", Way::Here(Place::Done)),
    ("rocbed results", Way::Here(Place::Done)),
    ("rocbed results history", Way::There(&["tests/hub_commands/history.rs"])),
    ("rocbed results compare", Way::There(&["tests/hub_commands/history.rs"])),
    ("rocbed results why", Way::There(&["tests/hub_commands/history.rs"])),
    ("rocbed results bug", Way::There(&["tests/hub_commands/history.rs"])),
    ("rocbed bisect", Way::There(&["tests/bisect.rs", "tests/bisect/here.rs", "tests/bisect/images.rs"])),
    ("rocbed jobs confirm", Way::There(&["tests/hub_commands/history.rs"])),
    ("rocbed known", Way::There(&["tests/hub_commands/history.rs"])),
    ("rocbed lint", Way::There(&["tests/lint.rs"])),
    ("rocbed top", Way::There(&["tests/hub_commands/terminal.rs"])),
    ("rocbed recipe", Way::Here(Place::Recipes)),
    ("rocbed cache", Way::Here(Place::Archive)),
    ("tar --zstd", Way::Here(Place::Done)),
    ("cmp", Way::Parts("tests/same_twice.rs", &["build", "--locked", "--fresh"])),
    (
        "mmdebstrap",
        Way::Nobody("makes a directory in /srv, from a server that tests do not reach; it has been typed by hand"),
    ),
    ("autopkgtest PACKAGE", Way::Parts("tests/virtual_machine.rs", &["--vm"])),
    (
        "autopkgtest rocrand",
        Way::Nobody("needs a GPU that the machine can do without; tests/virtual_machine.rs has none"),
    ),
    ("modprobe vfio-pci", Way::Nobody("loads a module of the machine's")),
    ("echo vfio-pci", Way::Nobody("is for the next row")),
    ("echo 0000:03:00.0", Way::Nobody("the same")),
    ("tee", Way::Nobody("takes a device from the machine's driver")),
    ("autopkgtest", Way::Parts("crates/testbed/tests/autopkgtest_suite.py", &["--root"])),
    ("export PATH", Way::Nobody("changes the shell that it is typed in; tests/docs/followed.rs runs it in one")),
    ("cargo xtask", Way::Task),
    ("cargo xtask demo", Way::Nobody("compiles the programs, and then is `rocbed demo`")),
    ("rocbed demo", Way::Nobody("tests/packages.rs runs it in a clean Debian 13, in a script")),
    (
        "cat /var/lib/rocbed-hub/admin-token",
        Way::Nobody("needs the service; tests/packages.rs reads the file with --token-file"),
    ),
    ("cat /var/lib/rocbed-hub/join-token", Way::Nobody("the same")),
    (
        "tar --extract --xz",
        Way::Nobody("would install it in the home directory; tests/packages.rs installs the packages"),
    ),
    ("cargo build -p rocbed-init", Way::Parts("crates/xtask/src/build.rs", &["rocbed-init", "appliance", "--package"])),
    ("cd fuzz", Way::Nobody("a workspace of its own, run by hand: compiling it takes minutes")),
    ("cargo test --no-default-features --lib", Way::Nobody("the same")),
    ("cargo install cargo-fuzz", Way::Nobody("installs a program for good")),
    ("cargo +nightly fuzz", Way::Nobody("needs another compiler, and never ends")),
    ("cargo fuzz", Way::Nobody("never ends")),
    ("apt-get install", Way::Nobody("installs a package for good; `cargo xtask test` has installed it")),
    ("openssl req", Way::Parts("crates/hub/src/tls.rs", &["req", "-x509", "-newkey", "-nodes", "-days", "-addext"])),
    (
        "usermod",
        Way::Nobody("changes the machine's users; tests/same_twice.rs has useradd give one of its own such ids"),
    ),
    ("podman run", Way::Nobody("needs an image from a registry; tests/container.rs makes a container of its own")),
    ("podman load", Way::Parts("tests/packages/podman.rs", &["load", "--input"])),
    (
        "podman run --detach",
        Way::Parts("tests/packages/images.rs", &["run", "--detach", "--name", "--volume", "--url"]),
    ),
    ("podman run --rm", Way::Parts("tests/packages/images.rs", &["run", "--rm", "rocbed", "build", "smoke"])),
    ("podman exec", Way::Parts("tests/packages/images.rs", &["exec", "rocbed", "jobs", "add"])),
    ("docker run", Way::Nobody("the same")),
];

/// The way to run a command.
pub fn way(command: &Command) -> Option<Way> {
    let text = command.text();
    let fits =
        |begin: &str| text.strip_prefix(begin).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '=']));
    let fitting = WAYS.iter().filter(|(begin, _)| fits(begin));
    fitting.max_by_key(|(begin, _)| begin.len()).map(|(_, way)| *way)
}

/// Rows that no command uses, which should be removed.
pub fn unused(commands: &[Command]) -> Vec<&'static str> {
    let texts: Vec<String> = commands.iter().map(Command::text).collect();
    let rows = WAYS.iter().map(|(begin, _)| *begin);
    rows.filter(|begin| !texts.iter().any(|text| text.starts_with(begin))).collect()
}

/// Checks that the files which a row refers to contain the command; describes what is missing.
pub fn missing_there(files: &[&str], command: &Command, parsed: &Parsed) -> Option<String> {
    let words = parsed.subcommand.split(' ').map(str::to_owned);
    let words: Vec<String> = words.chain(parsed.options.clone()).chain(command.variables.clone()).collect();
    let missing = |file: &&str| -> Vec<String> {
        let source = source(file);
        words.iter().filter(|word| !has(&source, word)).cloned().collect()
    };
    let best = files.iter().map(|file| (file, missing(file))).min_by_key(|(_, missing)| missing.len())?;
    let (file, missing) = best;
    (!missing.is_empty()).then(|| format!("{file} comes nearest, and has no {}", missing.join(", ")))
}

/// Describes which of the words that a row names are missing in its file.
pub fn missing_parts(file: &str, words: &[&str]) -> Option<String> {
    let source = source(file);
    let missing: Vec<&str> = words.iter().filter(|word| !has(&source, word)).copied().collect();
    (!missing.is_empty()).then(|| format!("{file} has no {}", missing.join(", ")))
}

fn source(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Whether a source contains a word in quotes, alone or with a value after it.
fn has(source: &str, word: &str) -> bool {
    let quoted = |end: &str| source.contains(&format!("\"{word}{end}"));
    quoted("\"") || quoted("=") || source.contains(&format!("'{word}'")) || source.contains(&format!("/{word}\""))
}
