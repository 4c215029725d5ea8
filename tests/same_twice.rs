//! Reproducibility: the same lock gives the same image, whatever the directory, umask, time zone, locale and clock
//! (`container.rs` tests users and kinds of sandboxes). Everything differs in one build, which unpacks and configures its
//! own root directory: with `--fresh`, only downloads come from the cache. If its image is another one, each difference is
//! tried alone, and the guilty ones are named.
//!
//! The clock cannot be set for the sandbox alone, so the effects of time on maintainer scripts are tested in three
//! ways: rocbed itself runs a year ahead; the times that the kernel wrote into a configured tree are moved by a year;
//! and no file that a script wrote may contain today's date.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use fsimage::ext4::{Limits, Reader};
use fsimage::{FileTree, NodeKind};
use rocbed_tests::{Temporary, image_sums, rocbed, rocbed_path, seed_cache, smoke_image, tool};

const LOCK: &str = include_str!("../recipes/smoke.lock");
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// A new directory for a build.
fn output(name: &str) -> Temporary {
    Temporary::new(Path::new("images").join(name))
}

/// What differs from the build that the others are compared with.
#[derive(Debug, Clone, Copy)]
enum Difference {
    Directory,
    Umask,
    TimeZone,
    Locale,
    /// rocbed sees a clock that is a year ahead.
    Clock,
}

impl Difference {
    const ALL: [Self; 5] = [Self::Directory, Self::Umask, Self::TimeZone, Self::Locale, Self::Clock];
}

/// Builds with these differences, using only the downloads; returns the directory of the image.
fn build(name: &str, differences: &[Difference]) -> Temporary {
    let mut directory = name.to_owned();
    let (mut umask, mut clock, mut variables) = ("0022", "+0d", Vec::new());
    for difference in differences {
        match difference {
            Difference::Directory => directory.push_str("/a directory with a long name/and spaces/smoke"),
            Difference::Umask => umask = "0077",
            Difference::TimeZone => variables.push(("TZ", "Pacific/Kiritimati")),
            Difference::Locale => variables.extend([("LANG", "tr_TR.UTF-8"), ("LC_ALL", "tr_TR.UTF-8")]),
            Difference::Clock => clock = "+365d",
        }
    }
    let image = output(&directory);
    let mut shell = Command::new("sh");
    shell.args(["-c", "umask \"$1\"; shift; exec \"$@\"", "sh", umask, "faketime", "-f", clock]).arg(rocbed_path());
    shell.args(["build", "smoke", "--locked", "--fresh", "--output"]).arg(&image).envs(variables);
    succeed(&mut shell);
    image
}

fn succeed(command: &mut Command) {
    let output = command.output().expect("starting the build");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn wherever_and_whenever_it_is_built() {
    let is_the_same = |image: Temporary| image_sums(&image) == image_sums(&smoke_image());
    if !is_the_same(build("everything", &Difference::ALL)) {
        let mut guilty = Difference::ALL.to_vec();
        guilty.retain(|difference| !is_the_same(build("one", &[*difference])));
        panic!("the image differs with another: {guilty:?} (if empty: with all of {:?} together)", Difference::ALL);
    }
}

/// The same tree gives the same image a year later, and has no dates that scripts wrote: shadow's days, comments such as
/// "generated on", names of backups.
#[test]
fn with_another_year_in_the_times_that_the_kernel_wrote() {
    let cache = Temporary::directory("cache-of-another-year");
    let trees = cache.join("trees");
    seed_cache(&cache);
    let build = |name: &str, options: &[&str]| {
        let image = output(name);
        let mut command = rocbed(["build", "smoke", "--output"]).arg(&image).args(options).into_command();
        // In CI, the build would recreate a directory that has changed.
        succeed(command.env("ROCBED_CACHE", &*cache).env_remove("CI"));
        assert_eq!(image_sums(&image), image_sums(&smoke_image()), "{name}");
        image
    };
    no_file_names_the_day(&build("this-year", &["--locked"]));
    let tree = fs::read_dir(&trees).expect("the cache has trees").next().expect("it has this one").expect("readable");
    let date: u64 =
        LOCK.lines().find_map(|line| line.strip_prefix("date = ")).expect("a date").parse().expect("a number");
    let moved = move_times(&tree.path().join("tree"), SystemTime::UNIX_EPOCH + Duration::from_secs(date));
    assert!(moved > 1_000, "scripts and dpkg wrote more than {moved} files and directories");
    build("another-year", &[]);
    let verified =
        Command::new(rocbed_path()).args(["cache", "verify", "--cache"]).arg(&cache).output().expect("rocbed");
    assert!(String::from_utf8_lossy(&verified.stderr).contains("damaged: "), "{verified:?}");
}

/// Moves all times after `date`, which come from the build and not from packages, by a year. Returns their number.
fn move_times(directory: &Path, date: SystemTime) -> usize {
    let mut moved = 0;
    for entry in fs::read_dir(directory).expect("reading a directory") {
        let path = entry.expect("reading a directory").path();
        let metadata = path.symlink_metadata().expect("looking at a file");
        if metadata.is_dir() {
            moved += move_times(&path, date);
        }
        // Links have times too, which the standard library cannot set; files and directories are enough.
        let modified = metadata.modified().expect("a time");
        if modified > date && (metadata.is_dir() || metadata.is_file()) {
            File::open(&path).and_then(|file| file.set_modified(modified + YEAR)).expect("setting a time");
            moved += 1;
        }
    }
    moved
}

/// No file that a script wrote has the date of today.
fn no_file_names_the_day(image: &Path) {
    let today = tool("date", ["--utc", "+%Y-%m-%d;%Y%m%d;%b %e;%e %b %Y;%d/%m/%Y;%m/%d/%Y"]);
    let today: Vec<&str> = today.trim().split(';').map(str::trim).collect();
    let tree = tree_in(image);
    let shipped = shipped(&tree);
    assert!(shipped.len() > 5_000, "{} files have checksums", shipped.len());
    let mut guilty = Vec::new();
    for (path, id) in tree.iter() {
        let path = String::from_utf8_lossy(path).into_owned();
        let NodeKind::File(content) = &tree.node(id).kind else { continue };
        if shipped.contains(&path) {
            continue; // as its package has it, whenever that was built
        }
        let mut bytes = Vec::new();
        content.open().expect("opening a file").read_to_end(&mut bytes).expect("reading a file");
        let text = String::from_utf8_lossy(&bytes);
        guilty.extend(today.iter().filter(|date| text.contains(**date)).map(|date| format!("/{path}: {date}")));
    }
    assert!(guilty.is_empty(), "{guilty:#?}");
}

/// Files that packages ship, from their lists of checksums.
fn shipped(tree: &FileTree) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for (path, id) in tree.descendants("var/lib/dpkg/info").filter(|(path, _)| path.ends_with(b".md5sums")) {
        let NodeKind::File(content) = &tree.node(id).kind else { panic!("{path:?} is not a file") };
        let mut text = String::new();
        content.open().expect("opening a list").read_to_string(&mut text).expect("reading a list");
        paths.extend(text.lines().filter_map(|line| line.get(34..)).map(str::to_owned));
    }
    paths
}

/// The files in the image, parsed from its bytes.
fn tree_in(image: &Path) -> FileTree {
    let file = File::open(image.join("root.img")).expect("opening root.img");
    let limits = Limits { memory: 8 << 30, ..Limits::default() };
    Reader::open(file, 0).and_then(|mut reader| reader.tree(limits)).expect("reading root.img")
}
