//! Images with packages and kernels from elsewhere: each recipe in `examples/elsewhere` is locked and built.
//!
//! What they take from archives of others is in a signed archive of the test's own, and each has a kernel of almost no size, so that
//! only root directories are made.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use rocbed_tests::{Server, TestArchive, rocbed, tool};
use serde_json::Value;
use tempfile::TempDir;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/elsewhere");

/// The package of the kernel, as `make bindeb-pkg` makes it.
const KERNEL: &str = "linux-image-6.18.0-mine";

/// The archive that packages from elsewhere are in, and its server.
struct Others {
    archive: TestArchive,
    server: Server,
}

impl Others {
    /// The same for all tests.
    fn get() -> &'static Self {
        static OTHERS: LazyLock<Others> = LazyLock::new(Others::new);
        &OTHERS
    }

    fn new() -> Self {
        let archive = TestArchive::new();
        archive.add_deb_with(
            "librocrand1",
            "99-1",
            "Source: rocrand\nDepends: libamdhip64-99\n",
            &[("/usr/lib/rocrand", "99")],
        );
        archive.add_deb_with("libamdhip64-99", "99-1", "Source: rocm-hipamd\n", &[("/usr/lib/hip", "99")]);
        let (modules, image) = (format!("/lib/modules/{}", &KERNEL[12..]), format!("/boot/vmlinuz-{}", &KERNEL[12..]));
        let files = [
            (image.as_str(), "not a kernel"),
            (&format!("{modules}/modules.builtin"), "kernel/fs/ext4/ext4.ko\n"),
            (&format!("{modules}/modules.order"), ""),
        ];
        archive.add_deb_with(KERNEL, "6.18.0-1", "", &files);
        archive.publish("Fri, 30 Oct 2026 08:08:01 UTC", None);
        // As experimental, of which apt takes nothing by itself.
        let copy = archive.path().join("dists/experimental/main/binary-amd64");
        fs::create_dir_all(&copy).expect("a directory");
        fs::copy(archive.path().join("dists/sid/main/binary-amd64/Packages"), copy.join("Packages")).expect("an index");
        let fields = "Origin: Debian\nSuite: experimental\nCodename: rc-buggy\nNotAutomatic: yes\n\
            Date: Fri, 30 Oct 2026 08:08:01 UTC\nArchitectures: amd64\nComponents: main\n";
        archive.sign("dists/experimental", fields, &["main/binary-amd64/Packages"]);
        let server = archive.serve();
        Self { archive, server }
    }

    /// A package of the archive, as a file.
    fn package(&self, file: &str) -> PathBuf {
        self.archive.path().join("pool").join(file)
    }
}

/// A directory with the examples, in which a test changes them.
struct Elsewhere {
    directory: TempDir,
    others: &'static Others,
}

impl Elsewhere {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let recipes = directory.path().join("recipes");
        fs::create_dir_all(&recipes).expect("a directory");
        for entry in fs::read_dir(EXAMPLES).expect("the examples") {
            let path = entry.expect("an example").path();
            fs::copy(&path, recipes.join(path.file_name().expect("a name"))).expect("copying an example");
        }
        Self { directory, others: Others::get() }
    }

    fn recipes(&self) -> PathBuf {
        self.directory.path().join("recipes")
    }

    /// Copies a package of the pool to where a recipe looks for it.
    fn put(&self, package: &str, to: &str) {
        let to = self.recipes().join(to);
        fs::create_dir_all(to.parent().expect("a directory")).expect("a directory");
        fs::copy(self.others.package(package), to).expect("copying a package");
    }

    /// An extra archive that stands for the one of this name in an example.
    fn stands_for(&self, name: &str, suite: &str, packages: &str) -> String {
        let (mirror, key) =
            (self.others.server.url(""), self.others.archive.path().join("key.asc").display().to_string());
        format!(
            "[[extra-archive]]\nname = {name:?}\nsuite = {suite:?}\nmirror = {mirror:?}\nkeyrings = [{key:?}]\npackages = [{packages:?}]\n"
        )
    }

    /// An example with a small kernel and root; `more` replaces archives that a test cannot reach.
    fn small(&self, example: &str, more: &str) -> PathBuf {
        let kernel = self.others.package(&format!("{KERNEL}_6.18.0-1_amd64.deb")).display().to_string();
        let path = self.recipes().join(format!("small-{example}.toml"));
        let text = format!(
            "inherits = './{example}.toml'\n[packages]\nremove = ['autopkgtest', 'dpkg-dev']\nlocal = [{kernel:?}]\n\
             [kernel]\npackage = {KERNEL:?}\n[image]\nsecure-boot = false\n{more}"
        );
        fs::write(&path, text).expect("writing a recipe");
        path
    }
}

/// What `rocbed plan` says about a recipe, as JSON.
fn plan(recipe: &Path) -> Value {
    let text = rocbed(["plan", "--ignore-valid-until", "--json"]).arg(recipe).ok();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Version and archive of each package in a plan that is not from the main archive.
fn from_elsewhere(plan: &Value) -> Vec<String> {
    let packages = plan["packages"].as_array().expect("packages").iter();
    let text = |package: &Value| {
        let archive = package["archive"].as_str()?;
        Some(format!("{} {} {archive}", package["name"].as_str()?, package["version"].as_str()?))
    };
    packages.filter_map(text).filter(|line| !line.starts_with("linux-")).collect()
}

/// Locks and builds a recipe, compares the image with the lock, and returns what is in one of its files.
fn built(recipe: &Path, file: &str) -> String {
    let (image, lock) = (recipe.with_extension("image"), recipe.with_extension("lock"));
    rocbed(["lock", "--ignore-valid-until"]).arg(recipe).ok();
    rocbed(["build", "--locked", "--output"]).arg(&image).arg(recipe).ok();
    rocbed(["diff"]).arg(&lock).arg(&image).ok();
    tool("debugfs", ["-R", &format!("cat {file}"), &image.join("root.img").to_string_lossy()])
}

const PREFERENCES: &str = "/etc/apt/preferences.d/rocbed.pref";

#[test]
fn a_source_package_of_experimental_comes_with_what_it_needs() {
    let elsewhere = Elsewhere::new();
    let stand_in = elsewhere.stands_for("experimental", "experimental", "src:rocrand");
    let recipe = elsewhere.small("experimental", &stand_in);
    let preferences = built(&recipe, PREFERENCES);
    // Of the lock, which is there now.
    let expected = ["libamdhip64-99 99-1 experimental", "librocrand1 99-1 experimental"];
    assert_eq!(from_elsewhere(&plan(&recipe)), expected);
    let why = rocbed(["plan", "--ignore-valid-until", "--why", "libamdhip64-99"]).arg(&recipe).ok();
    assert!(
        why.contains("99-1 of experimental is in:") && why.contains("no other archive has one that will do"),
        "{why}"
    );
    assert!(
        preferences.contains("Package: src:rocrand\nPin: release o=Debian,n=rc-buggy\nPin-Priority: 900\n"),
        "{preferences}"
    );

    // Without names nothing would come from it, and what it does not have is told.
    let text = fs::read_to_string(&recipe).expect("a recipe");
    fs::write(&recipe, text.replace("packages = [\"src:rocrand\"]", "")).expect("a recipe");
    let said = rocbed(["lock", "--ignore-valid-until"]).arg(&recipe).fails();
    assert!(said.contains("NotAutomatic") && said.contains("packages = ["), "{said}");
    fs::write(&recipe, text.replace("src:rocrand", "src:rocfft")).expect("a recipe");
    let said = rocbed(["lock", "--ignore-valid-until"]).arg(&recipe).fails();
    assert!(said.contains("the archive experimental has no package src:rocfft"), "{said}");
}

#[test]
fn a_repository_of_ones_own_has_its_own_key() {
    let elsewhere = Elsewhere::new();
    let stand_in = elsewhere.stands_for("ours", "sid", "src:rocrand");
    let recipe = elsewhere.small("own-repository", &stand_in);
    let sources = built(&recipe, "/etc/apt/sources.list.d/rocbed.sources");
    assert!(sources.contains("Signed-By: /etc/apt/keyrings/rocbed-ours.pgp"), "{sources}");
    assert!(sources.contains(&format!("URIs: {}\nSuites: sid\n", elsewhere.others.server.url(""))), "{sources}");
    // The key of one archive is not good for another.
    let text = fs::read_to_string(&recipe).expect("a recipe");
    let key = elsewhere.others.archive.path().join("key.asc").display().to_string();
    fs::write(&recipe, text.replace(&key, "packages.example.asc")).expect("a recipe");
    let said = rocbed(["lock", "--update", "--ignore-valid-until"]).arg(&recipe).fails();
    assert!(said.contains("from the recipe's extra archive ours") && said.contains("[[extra-archive]]"), "{said}");
}

#[test]
fn local_packages_are_locked_by_their_digests() {
    let elsewhere = Elsewhere::new();
    for package in ["librocrand1_99-1_amd64.deb", "libamdhip64-99_99-1_amd64.deb"] {
        elsewhere.put(package, &format!("../build-area/{package}"));
    }
    let also = "[[file]]\npath = '/etc/x'\ncontent = ''\n";
    let recipe = elsewhere.small("local-packages", also);
    // What the example's package needs is not among those that it names.
    let said = rocbed(["lock", "--ignore-valid-until"]).arg(&recipe).fails();
    assert!(said.contains("librocrand1 (99-1, of local) needs libamdhip64-99, which is not in the archive"), "{said}");
    let text = fs::read_to_string(&recipe).expect("a recipe");
    fs::write(&recipe, text.replace("local = [", "local = ['../build-area/libamd*.deb', ")).expect("a recipe");
    let preferences = built(&recipe, PREFERENCES);
    assert!(preferences.contains("Package: librocrand1\nPin: version 99-1\nPin-Priority: 990\n"), "{preferences}");

    // Another build of the same version is another package.
    let package = elsewhere.directory.path().join("build-area/librocrand1_99-1_amd64.deb");
    let mut bytes = fs::read(&package).expect("a package");
    // A member that begins with an underscore is of no meaning (deb(5)).
    bytes.extend(format!("{:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\nx\n", "_more", 0, 0, 0, "100644", 2).into_bytes());
    fs::write(&package, bytes).expect("a package");
    let said = rocbed(["build", "--locked"]).arg(&recipe).fails();
    assert!(said.contains("asks for something else than its lock"), "{said}");
    let changes = rocbed(["lock", "--ignore-valid-until"]).arg(&recipe).ok();
    assert_eq!(changes, "! librocrand1 99-1 (local): same version, other content\n");
}

#[test]
fn an_exact_version_is_taken_from_the_archive_that_has_it() {
    let elsewhere = Elsewhere::new();
    let recipe = elsewhere.small("pinned", "");
    let preferences = built(&recipe, PREFERENCES);
    assert_eq!(from_elsewhere(&plan(&recipe)), ["hello 2.10-5 debian-13"]);
    assert!(preferences.contains("Package: hello\nPin: version 2.10-5\nPin-Priority: 990\n"), "{preferences}");
    let text = fs::read_to_string(&recipe).expect("a recipe");
    fs::write(&recipe, format!("{text}[packages.versions]\nhello = '2.9-1'\n")).expect("a recipe");
    let said = rocbed(["lock", "--ignore-valid-until"]).arg(&recipe).fails();
    assert!(said.contains("no archive has the version 2.9-1 of hello; there are 2.10-5 (debian-13)"), "{said}");
}

/// Which kinds of packages have the kernel in a plan, and from which archive.
fn kernels(recipe: &Path) -> Vec<String> {
    let plan = plan(recipe);
    let packages = plan["packages"].as_array().expect("packages").iter();
    let kernel = |package: &Value| {
        let kinds = ["linux-image-", "linux-modules-", "linux-binary-"];
        let kind = kinds.iter().find(|kind| package["name"].as_str().is_some_and(|name| name.starts_with(*kind)))?;
        Some(format!("{kind} of {}", package["archive"].as_str().unwrap_or("trixie")))
    };
    packages.filter_map(kernel).collect()
}

#[test]
fn debian_13_takes_its_kernel_from_backports() {
    let elsewhere = Elsewhere::new();
    let recipe = elsewhere.recipes().join("debian-13.toml");
    assert_eq!(kernels(&recipe), ["linux-binary- of backports", "linux-modules- of backports"]);
    // Debian 13's own is one package, with its modules in it and a generator for an initramfs that is not made.
    let text = fs::read_to_string(&recipe).expect("a recipe");
    let (own, _) = text.split_once("[[extra-archive]]").expect("an extra archive");
    let own_kernel = elsewhere.recipes().join("own-of-13.toml");
    fs::write(&own_kernel, own).expect("a recipe");
    assert_eq!(kernels(&own_kernel), ["linux-image- of trixie"]);
    let release = built(&elsewhere.small("debian-13", ""), "/usr/lib/os-release");
    assert!(release.contains("VERSION_ID=\"13\""), "{release}");
}

#[test]
fn a_kernel_of_ones_own_is_a_package() {
    let elsewhere = Elsewhere::new();
    elsewhere.put(&format!("{KERNEL}_6.18.0-1_amd64.deb"), &format!("../{KERNEL}_6.18.0-1_amd64.deb"));
    let recipe = elsewhere.recipes().join("own-kernel.toml");
    let text = fs::read_to_string(&recipe).expect("a recipe");
    fs::write(&recipe, text.replace("inherits = \"smoke\"", "inherits = \"base\"")).expect("a recipe");
    // dpkg knows the kernel, and none of its files is missing.
    let list = built(&recipe, &format!("/var/lib/dpkg/info/{KERNEL}.list"));
    assert!(list.contains("/boot/vmlinuz-6.18.0-mine"), "{list}");
    let manifest = fs::read_to_string(recipe.with_extension("image").join("manifest.json")).expect("a manifest");
    assert!(manifest.contains(KERNEL), "{manifest}");
    // It is named, or told apart from a flavour.
    fs::write(&recipe, text.replace("package = ", "flavour = 'amd64'\npackage = ")).expect("a recipe");
    let said = rocbed(["plan"]).arg(&recipe).fails();
    assert!(said.contains("kernel.package and kernel.flavour both name the kernel"), "{said}");
}
