//! Follows the README and the quick start from nothing, as a newcomer does: their commands one after the other in one
//! directory, each with what the ones before it have left, and the files that the pages say to write.
//!
//! A command of these pages that [`STEPS`] does not have fails the test. sudo finds rocbed only if the page says how to
//! install its packages.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use protocol::Verdict;
use rocbed_tests::{Hub, MadeUpWorker, scratch};
use tempfile::TempDir;

use crate::collect::{self, Line};
use crate::no_complaints;
use crate::pages::{self, Page, root};
use crate::programs::Packages;
use crate::world::{World, ended, leave_results};

/// The pages that are followed, in the order in which they are read.
pub const PAGES: [&str; 2] = ["README.md", "docs/quick-start.md"];

/// What the test does at a command.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Runs it as it stands.
    Typed,
    /// Runs it with a file in place of the stick.
    OnStick,
    /// The same, after a machine has worked with the stick and left a result.
    AfterMachine,
    /// Starts the hub, on another port. It runs until the page's end.
    Hub,
    /// Runs it in a directory with a small archive of the test's own, which has packages with tests.
    InArchive,
    /// Runs it while a worker takes the jobs of the page's hub.
    WithWorker,
    /// Another test runs it: its file, and why it is not run here.
    Elsewhere(&'static str, &'static str),
}

const BOOTS: &str = "a boot in QEMU takes a minute; the tests there boot with these options";
const COMPILES: &str = "compiles the programs, which are compiled when this runs";

/// The command by which a page has rocbed's packages installed.
const INSTALLS: &str = "apt-get install ./target/deb/rocbed_*.deb";

/// Every command of the pages, without `sudo` and comments.
const STEPS: &[(&str, Step)] = &[
    ("rocbed build rocm", Step::Typed),
    ("rocbed hub", Step::Hub),
    ("rocbed flash images/rocm /dev/sdX --hub http://192.0.2.7:8420 --join-token TOKEN", Step::OnStick),
    (
        "cargo xtask demo",
        Step::Elsewhere("tests/packages.rs", "compiles the programs, and then is `rocbed demo`, which runs there"),
    ),
    ("cargo xtask deb", Step::Elsewhere("tests/packages.rs", COMPILES)),
    (INSTALLS, Step::Elsewhere("tests/packages.rs", "installs packages for good; a clean root is for that")),
    ("cargo xtask build --release", Step::Elsewhere("crates/xtask/src/build.rs", COMPILES)),
    ("export PATH=$PWD/target/release:$PATH", Step::Typed),
    ("rocbed plan smoke", Step::Typed),
    ("rocbed build smoke", Step::Typed),
    ("rocbed inspect images/smoke", Step::Typed),
    ("rocbed boot images/smoke --gpu gfx1030 --jobs examples/jobs.toml", Step::Elsewhere("tests/appliance.rs", BOOTS)),
    (
        "rocbed test smoke gzip",
        Step::Elsewhere("tests/docs/behind_proxy.rs", "needs the archive's source packages, which it gets there"),
    ),
    ("rocbed flash images/rocm /dev/sdX --hub https://hub.example --join-token TOKEN", Step::OnStick),
    (
        "rocbed netboot images/rocm",
        Step::Elsewhere("tests/netboot.rs", "answers DHCP; it has networks of its own there"),
    ),
    ("rocbed collect /dev/sdX", Step::AfterMachine),
    (
        "rocbed boot images/smoke --gpu gfx1030 --memory 2GiB --hub http://localhost:8420",
        Step::Elsewhere("tests/worker.rs", BOOTS),
    ),
    ("rocbed jobs add gzip", Step::Typed),
    ("rocbed jobs watch --all", Step::WithWorker),
    ("rocbed results list", Step::Typed),
    ("rocbed jobs make --add", Step::InArchive),
    ("rocbed flash --list", Step::Typed),
    ("rocbed flash images/rocm /dev/sdX", Step::OnStick),
    ("rocbed settings /dev/sdX --jobs jobs.toml --set when-done=power-off", Step::OnStick),
    ("rocbed collect /dev/sdX -o results", Step::AfterMachine),
    ("rocbed jobs add rocrand hipcub --gpu any --as user,root", Step::Typed),
    ("rocbed recipe show rocm", Step::Typed),
    ("rocbed plan ./mine.toml", Step::Typed),
    ("rocbed lock ./mine.toml", Step::InArchive),
    ("rocbed build ./mine.toml", Step::Typed),
    ("rocbed inspect images/mine --packages", Step::Typed),
    ("rocbed boot images/mine --usb", Step::Elsewhere("tests/boot.rs", BOOTS)),
];

#[test]
fn readme_and_quick_start_are_followed_from_nothing() {
    let world = World::new();
    let checkout = Checkout::new();
    let (mut complaints, mut used) = (Vec::new(), BTreeSet::new());
    for page in pages::guide().iter().filter(|page| PAGES.iter().any(|name| page.path == Path::new(name))) {
        let parts = parts(page);
        let mut reader = Reader::new(&world, checkout.0.path(), packages(&parts));
        for part in parts {
            let outcome = match &part {
                Part::File { name, text, .. } => reader.write(name, text),
                Part::Line(line) => reader.follow(line, &mut used),
            };
            complaints.extend(outcome.err().map(|error| format!("{}: {error}", part.place())));
        }
    }
    let unused = STEPS.iter().filter(|(command, _)| !used.contains(command));
    complaints.extend(unused.map(|(command, _)| format!("tests/docs/followed.rs: no page has `{command}` any more")));
    no_complaints(&complaints);
}

/// Something that a page has its reader do.
enum Part {
    /// To write a file.
    File { place: String, name: String, text: String },
    /// To type a line.
    Line(Line),
}

impl Part {
    fn place(&self) -> &str {
        match self {
            Self::File { place, .. } => place,
            Self::Line(line) => &line.place,
        }
    }
}

/// Whether a page says how to install the packages. It may do so below the first commands, which only show what there is.
fn packages(parts: &[Part]) -> Packages {
    let installs = |part: &Part| match part {
        Part::Line(line) => line.commands.iter().any(|command| command.text() == INSTALLS),
        Part::File { .. } => false,
    };
    if parts.iter().any(installs) { Packages::Installed } else { Packages::Missing }
}

/// The files and lines of a page, in order. A block of TOML is the file that the text just before it names.
fn parts(page: &Page) -> Vec<Part> {
    let lines: Vec<&str> = page.text.lines().collect();
    let mut parts = Vec::new();
    for block in page.blocks() {
        let place = format!("{}:{}", page.path.display(), block.line);
        match block.language {
            "console" => parts.extend(collect::typed_in(page, &block).into_iter().map(Part::Line)),
            "toml" => {
                // Its fence is one line before it.
                let before = lines[..block.line - 2].iter().rev().skip_while(|line| line.is_empty());
                let paragraph = before.take_while(|line| !line.is_empty()).flat_map(|line| line.split('`'));
                let name = paragraph.filter(|word| word.ends_with(".toml") && !word.contains(' ')).last();
                let name = name.unwrap_or_else(|| panic!("{place}: the text before the block names no file"));
                parts.push(Part::File { place, name: name.to_owned(), text: block.lines.join("\n") + "\n" });
            }
            _ => {}
        }
    }
    parts
}

/// The directory that a newcomer works in: a checkout, in which nothing is built.
struct Checkout(TempDir);

impl Checkout {
    fn new() -> Self {
        let directory = tempfile::tempdir_in(scratch()).expect("a directory");
        for name in ["examples", "tests"] {
            symlink(root().join(name), directory.path().join(name)).expect("a link");
        }
        // The worker has 80 MiB of packages more, which are built in the same way.
        fs::create_dir(directory.path().join("recipes")).expect("a directory");
        stand_in(&directory.path().join("recipes/rocm.toml"));
        Self(directory)
    }
}

/// Writes a recipe that has the packages of the smoke image, with its lock.
fn stand_in(recipe: &Path) {
    fs::write(recipe, "inherits = \"smoke\"\n").expect("a recipe");
    fs::copy(root().join("recipes/smoke.lock"), recipe.with_extension("lock")).expect("a lock");
}

/// The newcomer, while they read one page.
struct Reader<'a> {
    world: &'a World,
    directory: PathBuf,
    packages: Packages,
    /// Without a hub that runs.
    home: TempDir,
    hub: Option<Hub>,
}

impl<'a> Reader<'a> {
    fn new(world: &'a World, directory: &Path, packages: Packages) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        Self { world, directory: directory.to_owned(), packages, home, hub: None }
    }

    /// Writes a file as the page has it. A recipe of the worker's kind must be one, and is then replaced.
    fn write(&self, name: &str, text: &str) -> Result<(), String> {
        let path = self.directory.join(name);
        fs::write(&path, text).expect("a file");
        if text.contains("inherits = ") {
            ended(self.shell(&format!("rocbed recipe show ./{name}"), &self.directory).output())?;
            stand_in(&path);
        }
        Ok(())
    }

    /// Does what is to be done at a line.
    fn follow(&mut self, line: &Line, used: &mut BTreeSet<&'static str>) -> Result<(), String> {
        let [command] = &line.commands[..] else { return Err(format!("more than one command: {}", line.text)) };
        let text = command.text();
        let step = STEPS.iter().find(|(command, _)| *command == text);
        let Some((command, step)) = step else {
            return Err(format!("`{text}` is new: add a row to tests/docs/followed.rs that says what the test does"));
        };
        used.insert(command);
        match step {
            Step::Elsewhere(file, why) => println!("{}: {text}: not run here: {why} ({file})", line.place),
            _ => println!("{}: {text}", line.place),
        }
        let with_error = |outcome: Result<(), String>| outcome.map_err(|error| format!("{text}\n{error}"));
        with_error(match step {
            Step::Typed => ended(self.shell(&line.text, &self.directory).output()),
            Step::OnStick => self.on_stick(&line.text),
            Step::AfterMachine => {
                leave_results(&self.directory.join(STICK));
                self.on_stick(&line.text)
            }
            Step::Hub => {
                self.start_hub(&line.text);
                Ok(())
            }
            Step::InArchive => {
                let directory = self.world.archive().path();
                ended(self.shell(&line.text, directory).env("ROCBED_CACHE", directory.join("cache")).output())
            }
            Step::WithWorker => self.with_worker(&line.text),
            Step::Elsewhere(file, _) => {
                let there = root().join(file).is_file();
                if there { Ok(()) } else { Err(format!("there is no {file}")) }
            }
        })
    }

    /// A shell for a line, with the newcomer's home directory.
    fn shell(&self, line: &str, directory: &Path) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-ec", line]);
        let mut shell = self.world.prepared_with(self.packages, shell, directory);
        let home = self.hub.as_ref().map_or(self.home.path(), Hub::home);
        shell.env("HOME", home).env("ROCBED_CACHE", self.world.cache());
        shell
    }

    fn on_stick(&self, line: &str) -> Result<(), String> {
        let stick =
            if line.contains("rocbed flash") { format!("{STICK} --file --yes --no-verify") } else { STICK.into() };
        ended(self.shell(&line.replace("/dev/sdX", &stick), &self.directory).output())
    }

    fn start_hub(&mut self, line: &str) {
        // A page may start it in more than one place: the reader has ended the one before.
        self.hub = None;
        // A comment may follow. The port may be in use here, and what the hub prints is read by a program.
        let line = line.replacen("rocbed hub", "exec rocbed hub --json --listen 127.0.0.1:0 --min-free 0", 1);
        let shell = self.shell(&line, &self.directory);
        let home = std::mem::replace(&mut self.home, tempfile::tempdir().expect("a directory"));
        self.hub = Some(Hub::of(home, shell));
    }

    fn with_worker(&self, line: &str) -> Result<(), String> {
        let hub = self.hub.as_ref().ok_or("the page has started no hub before")?;
        let queued = hub.json(&["jobs", "list", "--state", "queued"]);
        let queued = queued.as_array().map_or(0, Vec::len);
        if queued == 0 {
            return Err("the page has added no job before".into());
        }
        let worker = MadeUpWorker::register(hub, "lab-1", "gfx1030");
        let mut shell = self.shell(line, &self.directory);
        let mut watching = shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a shell");
        // The jobs start only when the command is watching, as it reports what it sees.
        let mut first = String::new();
        BufReader::new(watching.stderr.as_mut().expect("its stderr")).read_line(&mut first).expect("a line");
        for _ in 0..queued {
            worker.deliver(&worker.begin(), Verdict::Pass);
        }
        ended(watching.wait_with_output())
    }
}

/// The file in place of the stick.
const STICK: &str = "stick.img";
