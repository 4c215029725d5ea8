//! One lock, one image: whatever the directory, umask, time zone, locale, user, sandbox kind and clock. Every variation
//! unpacks and configures its own root directory: `--fresh` takes nothing from the cache but downloads.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rocbed_tests::{rocbed, rocbed_path, scratch, smoke_image, tool};

/// The digests of all the image's files.
fn sums(image: &Path) -> String {
    let text = fs::read_to_string(image.join("SHA256SUMS")).expect("a complete image");
    // Only the first image has the compressed disk; what the manifest says of it differs then.
    text.lines()
        .filter(|line| !line.contains(".zst") && !line.contains(".bmap") && !line.contains("manifest"))
        .fold(String::new(), |all, line| all + line + "\n")
}

/// A fresh directory to build into.
fn output(name: &str) -> PathBuf {
    let image = scratch().join("images").join(name);
    if image.exists() {
        fs::remove_dir_all(&image).expect("removing an old image");
    }
    image
}

/// The command that builds into `image` from nothing but the downloads.
fn build(image: &Path) -> Command {
    rocbed(["build", "smoke", "--locked", "--fresh", "--output"]).arg(image).into_command()
}

fn is_the_same(mut command: Command, image: &Path) {
    let output = command.output().expect("starting the build");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(sums(image), sums(&smoke_image()));
}

#[test]
fn in_another_directory() {
    let image = output("a directory with a long name/and spaces/smoke");
    is_the_same(build(&image), &image);
}

#[test]
fn with_another_umask() {
    let image = output("umask");
    let mut shell = Command::new("sh");
    let program = rocbed_path();
    shell.args(["-c", "umask 0077; exec \"$0\" build smoke --locked --fresh --output \"$1\""]).arg(program).arg(&image);
    is_the_same(shell, &image);
}

#[test]
fn in_another_time_zone_and_locale() {
    let image = output("locale");
    let mut command = build(&image);
    command.env("TZ", "Pacific/Kiritimati").env("LANG", "tr_TR.UTF-8").env("LC_ALL", "tr_TR.UTF-8");
    is_the_same(command, &image);
}

#[test]
fn with_a_clock_a_year_ahead() {
    let image = output("clock");
    let mut command = Command::new("faketime");
    command.args(["-f", "+365d"]).arg(rocbed_path());
    command.args(["build", "smoke", "--locked", "--fresh", "--output"]).arg(&image);
    is_the_same(command, &image);
}

/// An unprivileged user with subordinate ids, in the sandbox kind that such users get: a user namespace.
#[test]
fn as_an_unprivileged_user() {
    let user = TestUser::new();
    let image = user.home.join("smoke");
    let program = rocbed_path();
    let words = [
        "--user",
        &user.name,
        "--",
        "env",
        &format!("HOME={}", user.home.display()),
        &format!("ROCBED_CACHE={}", user.home.join("cache").display()),
        &program.to_string_lossy(),
        "build",
        "smoke",
        "--locked",
        "--output",
        &image.to_string_lossy(),
    ]
    .map(str::to_owned);
    let mut command = Command::new("runuser");
    command.args(words).current_dir(&user.home);
    is_the_same(command, &image);
    let owner = tool("stat", ["--format=%U", &image.join("disk.img").to_string_lossy()]);
    assert_eq!(owner.trim(), user.name);
}

/// A user of the test's own, removed at its end.
struct TestUser {
    name: String,
    home: PathBuf,
}

impl TestUser {
    fn new() -> Self {
        let name = format!("rocbed-test-{}", std::process::id());
        let home = PathBuf::from("/var/tmp").join(&name);
        tool("useradd", ["--create-home", "--home-dir", &home.to_string_lossy(), "--add-subids-for-system", &name]);
        let ids = fs::read_to_string("/etc/subuid").expect("reading /etc/subuid");
        assert!(ids.contains(&name), "useradd gave {name} no subordinate ids:\n{ids}");
        // The downloads, so that the test needs no network of its own; they are checked again when they are used.
        let cache = rocbed(["cache", "path"]).ok();
        let copy = format!(
            "mkdir -p {0}/cache && cp -r {1}/sha256 {0}/cache/ && chown -R {2}: {0}",
            home.display(),
            cache.trim(),
            name
        );
        tool("sh", ["-c", &copy]);
        Self { name, home }
    }
}

impl Drop for TestUser {
    fn drop(&mut self) {
        tool("userdel", ["--force", "--remove", &self.name]);
    }
}
