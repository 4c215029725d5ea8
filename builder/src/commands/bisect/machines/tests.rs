use clap::Parser as _;
use history::groups::Need;

use super::*;
use crate::cmdline::Cli;
use crate::lock::tests::{lock, package};
use crate::lock::{Lock, LockedPackage};

fn machines(images: &[&str], recipe: Option<&str>) -> Machines {
    Machines {
        images: images.iter().map(PathBuf::from).collect(),
        digests: Vec::new(),
        recipe: recipe.map(str::to_owned),
        boot: vec!["--memory=4GiB".to_owned()],
        build: Vec::new(),
    }
}

#[test]
fn a_run_is_a_machine_that_anybody_can_boot() {
    let mut job = Job::of_package("rocfft");
    job.gpu = GpuNeed::Targets(vec!["gfx1030".parse().expect("a target")]);
    let steps = machines(&["images/a", "images/b c"], None);
    assert_eq!(
        reproduce(&steps, &job, &[0].into(), None),
        "rocbed boot 'images/b c' --jobs=JOBS.toml --results=results --memory=4GiB --gpu=gfx1030"
    );
    let locks = machines(&["a.lock", "b.lock"], Some("rocm"));
    let told = |lock: &str| reproduce(&locks, &job, &[0].into(), Some(Path::new(lock)));
    assert!(
        told("a.lock").starts_with("rocbed build rocm --locked --lock=a.lock --output=IMAGE && rocbed boot IMAGE ")
    );
}

#[test]
fn locks_of_images_are_named_by_their_groups_and_the_ends_of_the_search() {
    let state = Path::new("/x/rocbed-bisect.json");
    let between = |ends: [&str; 2]| Machines {
        digests: ends.iter().map(|end| Digest::of(end.as_bytes())).collect(),
        ..machines(&["a.lock", "b.lock"], Some("rocm"))
    };
    let name = |ends, set: &[usize]| {
        let path = lock_path(state, &between(ends), &set.iter().copied().collect());
        path.strip_prefix("/x").expect("beside the state").display().to_string()
    };
    let (both, none) = (name(["a", "b"], &[1, 2]), name(["a", "b"], &[]));
    assert!(both.starts_with("rocbed-bisect.2+3-") && both.ends_with(".lock"), "{both}");
    assert!(none.starts_with("rocbed-bisect.none-"), "{none}");
    assert_ne!(name(["a", "b"], &[1]), name(["a", "c"], &[1]));
}

/// A package in the pool of a source.
fn of_source(source: &str, name: &str, version: &str) -> LockedPackage {
    let filename = format!("pool/main/{}/{source}/{name}_{version}_amd64.deb", &source[..1]);
    LockedPackage { filename, ..package(name, version) }
}

/// An image with firmware of two sources that need each other in one version, and a kernel that comes with tools of its own.
fn contents(version: &str) -> Vec<LockedPackage> {
    let kernel = format!("linux-image-{version}-amd64");
    let mut packages = vec![
        package("dpkg", "1.23"),
        of_source("glibc", "libc6", version),
        of_source("linux-signed-amd64", &kernel, version),
        of_source("amd", "firmware-amd", version),
        of_source("data", "firmware-data", version),
        of_source("nic", "firmware-nic", version),
    ];
    if version == "2" {
        packages.push(of_source("tools", "kernel-tools", "5"));
    }
    packages
}

fn needs(name: &str, version: &str) -> Vec<Need> {
    let need =
        |name: &str, exactly: Option<&str>| vec![Need { name: name.into(), exactly: exactly.map(str::to_owned) }];
    match name {
        "firmware-amd" => need("firmware-data", Some(version)),
        "linux-image-2-amd64" => need("kernel-tools", None),
        _ => Vec::new(),
    }
}

/// A search between two locks, in a directory.
fn between<'a>(context: &'a Context, directory: &Path, ends: [&Path; 2]) -> Result<InMachines<'a>> {
    let images = ends.map(Path::to_owned).to_vec();
    let digest = |path: &PathBuf| -> Result<Digest> { Ok(Digest::of(&fs::read(path)?)) };
    let digests = images.iter().map(digest).collect::<Result<Vec<_>>>()?;
    let (good, bad) = super::contents::both_locks(&images)?;
    let groups = super::contents::groups(&good, &bad, &needs)?;
    let machines = Machines { images, digests, recipe: Some("smoke".into()), boot: Vec::new(), build: Vec::new() };
    InMachines::new(context, machines, groups, &directory.join("rocbed-bisect.json"))
}

/// The packages of a lock that differ between the two ends.
fn told(path: &Path) -> Result<Vec<String>> {
    let lock = Lock::read(path)?.context("it was written")?;
    let differ = lock.packages.iter().filter(|package| package.name != "dpkg");
    Ok(differ.map(|package| format!("{} {}", package.name, package.version)).collect())
}

#[test]
fn an_image_between_two_locks_has_each_group_of_one_of_them() -> Result<()> {
    let context = Context::new(&Cli::try_parse_from(["rocbed", "--quiet", "recipe", "list"])?.global);
    let directory = tempfile::tempdir()?;
    let (good, bad) = (directory.path().join("good.lock"), directory.path().join("bad.lock"));
    lock(contents("1")).write(&good)?;
    lock(contents("2")).write(&bad)?;
    let texts = [fs::read(&good)?, fs::read(&bad)?];
    let search = between(&context, directory.path(), [&good, &bad])?;
    let groups: Vec<String> = search.groups.iter().map(Group::words).collect();
    assert_eq!(
        groups,
        ["glibc 1 -> 2", "linux-signed-amd64 1 -> 2, tools none -> 5", "amd 1 -> 2, data 1 -> 2", "nic 1 -> 2",]
    );
    let written = |set: &[usize]| search.lock("smoke", &set.iter().copied().collect());
    // The new firmware, whose two packages go together, with the old kernel; and the new kernel with what it needs.
    let firmware = written(&[2])?;
    assert_eq!(
        told(&firmware)?,
        ["firmware-amd 2", "firmware-data 2", "firmware-nic 1", "libc6 1", "linux-image-1-amd64 1"]
    );
    assert_eq!(
        told(&written(&[1, 3])?)?,
        ["firmware-amd 1", "firmware-data 1", "firmware-nic 2", "kernel-tools 5", "libc6 1", "linux-image-2-amd64 2"]
    );
    // The files of the packages come from the lock whose version it is.
    let mixed = Lock::read(&firmware)?.context("it was written")?;
    for (name, version) in [("firmware-data", "2"), ("firmware-nic", "1")] {
        let expected = contents(version).into_iter().find(|package| package.name == name);
        assert_eq!(mixed.package(name), expected.as_ref());
    }
    assert_eq!(mixed.request, lock(Vec::new()).request, "it is of the same recipe");

    // The ends are built by the user's own locks.
    assert_eq!((written(&[])?, written(&[0, 1, 2, 3])?), (good.clone(), bad.clone()));

    // A later search may begin with a lock that this one has left.
    let before = fs::read(&firmware)?;
    let later = between(&context, directory.path(), [&firmware, &bad])?;
    assert_eq!(later.groups.len(), 3);
    for set in [vec![], vec![0], vec![1], vec![2], vec![0, 1], vec![0, 1, 2]] {
        later.lock("smoke", &set.into_iter().collect())?;
    }
    assert_eq!(fs::read(&firmware)?, before);
    assert_eq!([fs::read(&good)?, fs::read(&bad)?], texts);

    // What was changed meanwhile is an end no more.
    fs::write(&good, b"version = 1\n")?;
    let error = written(&[1]).expect_err("an end was changed");
    assert!(crate::error::report(&error).to_string().contains("begin a new search"));
    Ok(())
}
