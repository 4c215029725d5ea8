//! Directories in which documented commands are run, with everything they need, and a stand-in for a stick.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use protocol::Verdict;
use rocbed_tests::{Hub, MadeUpWorker, Server, TestArchive, rocbed, scratch, smoke_image, tool};
use tempfile::TempDir;

use crate::pages::root;
use crate::programs::{Packages, Programs};
use crate::ways::Place;

/// A list of jobs, used where a page says `jobs.toml`.
const JOBS: &str = "[[job]]\npackage = \"rocrand\"\ngpu = \"any\"\ntimeout = \"2h\"\n";

/// Shared environment for commands; anything that takes time is made once.
pub struct World {
    /// `sudo` and `rocbed`.
    programs: Programs,
    /// Directory with the smoke recipe's lock, under the names that the pages use.
    recipes: TempDir,
    images: TempDir,
    archive: (TestArchive, Server),
    /// Cache of downloads and root directories, kept between tests.
    cache: String,
}

impl World {
    /// Creates the environment.
    pub fn new() -> Self {
        let image = smoke_image();
        let directory = || tempfile::tempdir_in(scratch()).expect("a directory");
        let (recipes, images) = (directory(), directory());
        let text = "inherits = \"smoke\"\n";
        let lock = fs::read(root().join("recipes/smoke.lock")).expect("a lock");
        fs::create_dir(recipes.path().join("recipes")).expect("a directory");
        for name in ["mine", "recipes/rocm"] {
            fs::write(recipes.path().join(format!("{name}.toml")), text).expect("a recipe");
            fs::write(recipes.path().join(format!("{name}.lock")), &lock).expect("a lock");
        }
        fs::create_dir(images.path().join("images")).expect("a directory");
        for name in ["smoke", "rocm", "mine"] {
            symlink(&image, images.path().join("images").join(name)).expect("a link");
        }
        fs::write(images.path().join("jobs.toml"), JOBS).expect("a list");
        for name in ["old.lock", "new.lock"] {
            fs::write(images.path().join(name), &lock).expect("a lock");
        }
        let cache = rocbed(["cache", "path"]).ok().trim().to_owned();
        Self { programs: Programs::new(), recipes, images, archive: archive(), cache }
    }

    /// Directory of recipes with locks.
    pub fn recipes(&self) -> &Path {
        self.recipes.path()
    }

    /// The signed test archive.
    pub fn archive(&self) -> &TestArchive {
        &self.archive.0
    }

    /// Cache of downloads and root directories, kept between tests.
    pub fn cache(&self) -> &Path {
        Path::new(&self.cache)
    }

    /// Runs a line in a place; the error is its output if it fails.
    pub fn run(&self, place: Place, line: &str) -> Result<(), String> {
        match place {
            Place::Recipes => ended(self.shell(line, self.recipes.path()).env("ROCBED_CACHE", &self.cache).output()),
            Place::Images => ended(self.shell(line, self.images.path()).env("ROCBED_CACHE", &self.cache).output()),
            Place::Stick | Place::Results => self.on_stick(place, line),
            Place::Archive => self.with_archive(line),
            Place::Queued | Place::Done | Place::Watched => self.at_hub(place, line),
            Place::Serving => self.serving(line),
        }
    }

    /// A shell that runs a line, without the machine's own settings.
    fn shell(&self, line: &str, directory: &Path) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-ec", line]);
        self.prepared(shell, directory)
    }

    /// A command with this environment's programs, and without the machine's own settings. The packages are installed, as
    /// the pages take it.
    pub fn prepared(&self, shell: Command, directory: &Path) -> Command {
        self.prepared_with(Packages::Installed, shell, directory)
    }

    /// A command as [`Self::prepared`] makes it, on a machine with or without the packages.
    pub fn prepared_with(&self, packages: Packages, mut shell: Command, directory: &Path) -> Command {
        let path = self.programs.path(packages);
        shell.current_dir(directory).env("PATH", path).env("HOME", directory).stdin(Stdio::null());
        for name in ["XDG_DATA_HOME", "XDG_CONFIG_HOME", "ROCBED_HUB", "ROCBED_TOKEN", "ROCBED_HUB_DATA", "ROCBED_CA"] {
            shell.env_remove(name);
        }
        shell
    }

    /// Runs a line with a file as the stick. An image is written to the file first, and the results of a machine if the
    /// place has them.
    fn on_stick(&self, place: Place, line: &str) -> Result<(), String> {
        let stick = self.images.path().join("stick.img");
        let flash = |line: &str| {
            let line = line.replace("/dev/sdX", "stick.img --file --yes --no-verify");
            ended(self.shell(&line, self.images.path()).env("ROCBED_CACHE", &self.cache).output())
        };
        if line.contains("rocbed flash") {
            return flash(line);
        }
        if !stick.exists() {
            flash("rocbed flash images/smoke /dev/sdX")?;
        }
        if place == Place::Results {
            leave_results(&stick);
        }
        ended(self.shell(&line.replace("/dev/sdX", "stick.img"), self.images.path()).output())
    }

    /// Runs a line with job lists of the test archive's packages and a hub; package names of the pages are replaced.
    fn with_archive(&self, line: &str) -> Result<(), String> {
        let hub = Hub::start(&[]);
        let directory = self.archive.0.path();
        let line = line.replace("rocr-runtime", "libgreet");
        let mut shell = self.shell(&line, directory);
        shell.env("HOME", hub.home()).env("ROCBED_CACHE", directory.join("cache"));
        ended(shell.output())
    }

    fn at_hub(&self, place: Place, line: &str) -> Result<(), String> {
        let hub = Hub::start(&[]);
        let worker = MadeUpWorker::register(&hub, "lab-1", "gfx1030");
        let adds = line.contains("jobs add");
        let jobs = if place == Place::Watched && adds { &[][..] } else { &["rocrand", "hipcub"] };
        for job in jobs {
            hub.call(&["jobs", "add", job]).ok();
        }
        symlink(root().join("examples"), hub.home().join("examples")).expect("a link");
        fs::write(hub.home().join("jobs.toml"), JOBS).expect("a list");
        let mut shell = self.shell(line, hub.home());
        match place {
            Place::Done => {
                for _ in jobs {
                    worker.deliver(&worker.begin(), Verdict::Pass);
                }
                hub.call(&["results", "fetch", "rocrand"]).current_dir(hub.home()).ok();
                // Some pages download it themselves, or name it.
                if line.contains("fetch") {
                    fs::remove_dir_all(hub.home().join("results")).expect("removing");
                }
                ended(shell.output())
            }
            Place::Watched => {
                let mut watching = shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a shell");
                // The jobs start only when the command is watching, as it reports what it sees.
                let mut first = String::new();
                let stderr = watching.stderr.as_mut().expect("its stderr");
                BufReader::new(stderr).read_line(&mut first).expect("a line");
                for _ in 0..jobs.len().max(1) {
                    worker.deliver(&worker.begin(), Verdict::Pass);
                }
                ended(watching.wait_with_output())
            }
            _ => ended(shell.output()),
        }
    }

    /// Runs a line that starts a hub on a free port; it must end normally.
    fn serving(&self, line: &str) -> Result<(), String> {
        let home = tempfile::tempdir().expect("a directory");
        // A comment may follow.
        let line = line.replacen("rocbed hub", "exec rocbed hub --listen 127.0.0.1:0", 1);
        let mut shell = self.shell(&line, home.path());
        let mut process = shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a shell");
        let mut said = String::new();
        BufReader::new(process.stdout.as_mut().expect("its stdout")).read_line(&mut said).expect("a line");
        tool("kill", ["-TERM", &process.id().to_string()]);
        // Its output fits into the pipe.
        let status = process.wait().expect("it ends");
        process.stderr.take().expect("its stderr").read_to_string(&mut said).expect("its words");
        if status.success() && said.contains("127.0.0.1") { Ok(()) } else { Err(format!("{status}\n{said}")) }
    }
}

/// Exit status 0 is success.
pub fn ended(output: std::io::Result<Output>) -> Result<(), String> {
    let output = output.expect("a shell");
    if output.status.success() {
        return Ok(());
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Err(format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr)))
}

/// The test archive, with the recipes of the pages for it.
fn archive() -> (TestArchive, Server) {
    let archive = TestArchive::new();
    let server = archive.serve();
    let recipe = archive.recipe(&server.url(""), "greeter", "");
    let at = |name: &str| archive.path().join(name);
    fs::create_dir(at("recipes")).expect("a directory");
    fs::copy(at("key.asc"), at("recipes/key.asc")).expect("a key");
    for name in ["mine.toml", "recipes/rocm.toml", "recipes/rocm-full.toml"] {
        fs::copy(&recipe, at(name)).expect("a recipe");
    }
    rocbed(["lock", "rocm-full"]).current_dir(archive.path()).env("ROCBED_CACHE", at("cache")).ok();
    fs::copy(at("recipes/rocm-full.lock"), at("rocm-full.lock")).expect("a lock");
    (archive, server)
}

/// Creates the files that a machine leaves on a stick's data partition.
pub fn leave_results(stick: &Path) {
    let files = tempfile::tempdir().expect("a directory");
    let directory = files.path().join("results/0123456789ab");
    fs::create_dir_all(&directory).expect("a directory");
    fs::write(directory.join("rocrand.tar.zst"), "a bundle").expect("a bundle");
    let sha256 = tool("sha256sum", [directory.join("rocrand.tar.zst")]);
    let sha256 = sha256.split(' ').next().unwrap_or_default();
    let job = format!("{{\"job\": \"rocrand\", \"bundle\": \"rocrand.tar.zst\", \"sha256\": {sha256:?}}}");
    fs::write(directory.join("results.json"), format!("{{\"jobs\": [{job}]}}")).expect("a list of results");

    let table = diskimage::gpt::read(&mut File::open(stick).expect("a stick")).expect("a partition table");
    let (_, data) = table.partitions.last().expect("a data partition");
    let made = PathBuf::from(format!("{}.data", stick.display()));
    let words = ["-q", "-F", "-O", "^metadata_csum", "-d"].map(str::to_owned);
    let sized = [files.path().display().to_string(), made.display().to_string(), "8M".into()];
    tool("mkfs.ext4", words.iter().chain(&sized));
    let bytes = fs::read(&made).expect("a file system");
    let disk = File::options().write(true).open(stick).expect("a stick");
    std::os::unix::fs::FileExt::write_all_at(&disk, &bytes, data.start).expect("written");
}
