//! Merges a chain of recipe files, base first, into one [`Recipe`].

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use archive::policy::{Pin, PinKind};
use diskimage::{SectorSize, fat};
use fsimage::{Content, NodeKind};
use rootfs::finish::{self, Fate};

use super::archives::{archive, extra_archives};
use super::layer::{Layer, RecipeError, last, last_in};
use super::model::{FileEntry, UserEntry};
use super::{ExtraFile, ExtraKind, Group, Image, Kernel, KernelChoice, Packages, Recipe, SettingsTable, User};

const DEFAULT_DATA_SIZE: u64 = 64 << 20;

/// The flavour of a recipe whose root has no kernel.
const NO_KERNEL: &str = "none";

/// The lists of all layers, concatenated, each value once.
fn joined(layers: &[Layer], get: impl Fn(&Layer) -> Vec<String>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for value in layers.iter().flat_map(get) {
        if !all.contains(&value) {
            all.push(value);
        }
    }
    all
}

/// An account, with the position of its number in a recipe file.
struct Placed<'a, T> {
    account: T,
    layer: &'a Layer,
    number: Range<usize>,
}

/// Accounts in order; a later one replaces an earlier one of the same name; no two have the same number.
fn accounts<T>(
    all: Vec<Placed<T>>,
    name: impl Fn(&T) -> &str,
    number: impl Fn(&T) -> u32,
) -> Result<Vec<T>, RecipeError> {
    let mut kept: Vec<Placed<T>> = Vec::new();
    for one in all {
        match kept.iter_mut().find(|other| name(&other.account) == name(&one.account)) {
            Some(place) => *place = one,
            None => kept.push(one),
        }
    }
    for (at, one) in kept.iter().enumerate() {
        let same = |other: &&Placed<T>| number(&other.account) == number(&one.account);
        if let Some(other) = kept.iter().take(at).find(same) {
            let (number, name, other) = (number(&one.account), name(&one.account), name(&other.account));
            let message = format!("{name} cannot have the number {number}, which {other} has");
            return Err(one.layer.wrong(one.number.clone(), message));
        }
    }
    Ok(kept.into_iter().map(|placed| placed.account).collect())
}

fn groups(layers: &[Layer]) -> Result<Vec<Group>, RecipeError> {
    let all = layers.iter().flat_map(|layer| {
        layer.file.groups.iter().map(move |entry| {
            let account = Group { name: entry.name.0.clone(), gid: *entry.gid.get_ref() };
            Placed { account, layer, number: entry.gid.span() }
        })
    });
    accounts(all.collect(), |group| &group.name, |group| group.gid)
}

fn users(layers: &[Layer]) -> Result<Vec<User>, RecipeError> {
    let all = layers.iter().flat_map(|layer| {
        layer.file.users.iter().map(move |entry| Placed { account: user(entry), layer, number: entry.uid.span() })
    });
    accounts(all.collect(), |user| &user.name, |user| user.uid)
}

/// The kernel of the last layer that names one.
fn kernel_choice(layers: &[Layer]) -> Result<KernelChoice, RecipeError> {
    for layer in layers.iter().rev() {
        match (&layer.file.kernel.flavour, &layer.file.kernel.package) {
            (None, None) => {}
            (Some(flavour), None) if flavour.0 == NO_KERNEL => return Ok(KernelChoice::None),
            (Some(flavour), None) => return Ok(KernelChoice::Flavour(flavour.0.clone())),
            (None, Some(package)) if package.get_ref().0.starts_with("linux-") => {
                return Ok(KernelChoice::Package(package.get_ref().0.clone()));
            }
            (None, Some(package)) => {
                let message = "the name of a kernel's package begins with linux-, such as linux-image-6.18.0-mine";
                return Err(layer.wrong(package.span(), message));
            }
            (Some(_), Some(package)) => {
                let message = "kernel.package and kernel.flavour both name the kernel: keep one";
                return Err(layer.wrong(package.span(), message));
            }
        }
    }
    Ok(KernelChoice::Flavour("amd64".into()))
}

/// The kernel command line: each layer removes words of earlier ones, and adds its own.
fn cmdline(layers: &[Layer]) -> Result<Vec<String>, RecipeError> {
    let mut words: Vec<String> = Vec::new();
    for layer in layers {
        for removal in &layer.file.kernel.cmdline_remove {
            let before = words.len();
            words.retain(|word| !removal.get_ref().means(word));
            if words.len() == before {
                let text = &removal.get_ref().0;
                let there = words.join(" ");
                let message = format!("no inherited word of the kernel command line is {text:?}; there are: {there}");
                return Err(layer.wrong(removal.span(), message));
            }
        }
        for word in &layer.file.kernel.cmdline {
            if !words.contains(&word.0) {
                words.push(word.0.clone());
            }
        }
    }
    Ok(words)
}

/// Size of the EFI system partition, at least the minimum of FAT32. Whether everything fits is checked when it is
/// built.
fn esp_size(layers: &[Layer], sector_size: SectorSize) -> Result<Option<u64>, RecipeError> {
    let Some((layer, size)) = last_in(layers, |layer| layer.file.image.esp_size.as_ref()) else { return Ok(None) };
    let bytes = size.get_ref().0;
    check_esp_size(bytes, sector_size).map_err(|error| layer.wrong(size.span(), error.to_string()))?;
    Ok(Some(bytes))
}

/// An EFI system partition of this size cannot be made.
#[derive(Debug, thiserror::Error)]
#[error(
    "an EFI system partition is a FAT32 file system, which has at least {} MiB with sectors of {sector_size} bytes",
    fat::minimum_size(*.sector_size) >> 20
)]
pub(crate) struct EspTooSmall {
    sector_size: SectorSize,
}

/// Checks the size of an EFI system partition, in bytes, against the minimum of FAT32.
pub(crate) fn check_esp_size(size: u64, sector_size: SectorSize) -> Result<(), EspTooSmall> {
    if size < fat::minimum_size(sector_size) { Err(EspTooSmall { sector_size }) } else { Ok(()) }
}

pub(super) fn resolve(name: String, path: Option<PathBuf>, layers: &[Layer]) -> Result<Recipe, RecipeError> {
    let archive = archive(layers)?;
    let apt_sources = layers.iter().flat_map(|layer| layer.file.apt_sources.clone());
    let apt_sources = apt_sources.map(|mut source| {
        if source.suites.is_empty() {
            source.suites = vec![archive.suite.clone()];
        }
        if source.components.is_empty() {
            source.components.clone_from(&archive.components);
        }
        source
    });
    let mut apt_sources: Vec<_> = apt_sources.collect();
    let extra_archives = extra_archives(layers, &archive)?;
    let mut files = files(layers)?;
    for extra in &extra_archives {
        if let Some((source, keys)) = extra.for_apt()? {
            apt_sources.push(source);
            files.extend(keys);
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let sector_size = last(layers, |layer| layer.file.image.sector_size).map_or(SectorSize::default(), |size| size.0);
    Ok(Recipe {
        name,
        path,
        description: last(layers, |layer| layer.file.description.clone()).unwrap_or_default(),
        apt_sources,
        extra_archives,
        packages: packages(layers)?,
        kernel: Kernel {
            choice: kernel_choice(layers)?,
            cmdline: cmdline(layers)?,
            modules: joined(layers, |layer| layer.file.kernel.modules.iter().map(|module| module.0.clone()).collect()),
            initramfs_modules: joined(layers, |layer| {
                layer.file.kernel.initramfs_modules.iter().map(|module| module.0.clone()).collect()
            }),
        },
        files,
        groups: groups(layers)?,
        users: users(layers)?,
        settings: SettingsTable::merged(layers.iter().map(|layer| &layer.file.settings)),
        image: Image {
            sector_size,
            esp_size: esp_size(layers, sector_size)?,
            data_size: last(layers, |layer| layer.file.image.data_size.clone())
                .map_or(DEFAULT_DATA_SIZE, |size| size.0),
            root_free: last(layers, |layer| layer.file.image.root_free.clone()).map_or(0, |size| size.0),
            stub_package: last(layers, |layer| layer.file.image.stub_package.clone())
                .map_or_else(|| "systemd-boot-efi".into(), |name| name.0),
            secure_boot: last(layers, |layer| layer.file.image.secure_boot).unwrap_or_default(),
        },
        archive,
    })
}

fn packages(layers: &[Layer]) -> Result<Packages, RecipeError> {
    let mut install: Vec<String> = Vec::new();
    for layer in layers {
        for removed in &layer.file.packages.remove {
            let (before, name) = (install.len(), &removed.get_ref().0);
            install.retain(|relation| !names_package(relation, name));
            if install.len() == before {
                let message = format!("no inherited recipe installs {name:?} by that name");
                let help = "to keep a package out that others depend on, use packages.exclude";
                return Err(layer.wrong(removed.span(), format!("{message}; {help}")));
            }
        }
        if let Some(dpkg) = layer.file.packages.exclude.iter().find(|name| name.get_ref().0 == "dpkg") {
            let message = "dpkg cannot be excluded: it configures the packages while the image is made";
            return Err(layer.wrong(dpkg.span(), message));
        }
        for relation in &layer.file.packages.install {
            if !install.contains(&relation.0) {
                install.push(relation.0.clone());
            }
        }
    }
    Ok(Packages {
        install,
        exclude: joined(layers, |layer| {
            layer.file.packages.exclude.iter().map(|name| name.get_ref().0.clone()).collect()
        }),
        recommends: last(layers, |layer| layer.file.packages.recommends).unwrap_or(false),
        preseed: joined(layers, |layer| layer.file.packages.preseed.iter().map(|line| line.0.clone()).collect()),
        local: layers.iter().flat_map(local).collect(),
        versions: versions(layers)?,
    })
}

/// The paths of a layer's local packages.
fn local(layer: &Layer) -> impl Iterator<Item = PathBuf> {
    let here = layer.directory.clone().unwrap_or_default();
    layer.file.packages.local.iter().map(move |path| here.join(&path.0))
}

/// The exact versions, of each name the last.
fn versions(layers: &[Layer]) -> Result<Vec<Pin>, RecipeError> {
    let mut all: BTreeMap<&str, Pin> = BTreeMap::new();
    for layer in layers {
        for (text, version) in &layer.file.packages.versions {
            let (kind, name) = match text.strip_prefix("src:") {
                Some(name) => (PinKind::Source, name),
                None => (PinKind::Package, text.as_str()),
            };
            if !debian::relation::is_package_name(name) {
                let message =
                    format!("{text:?} is not a package: give its name, or src: and its source package's name");
                return Err(layer.wrong(version.span(), message));
            }
            let version = version.get_ref().0.clone();
            all.insert(text, Pin { kind, name: name.to_owned(), version });
        }
    }
    Ok(all.into_values().collect())
}

fn names_package(relation: &str, name: &str) -> bool {
    relation.split([' ', '(', ':', '|', ',']).next() == Some(name)
}

fn files(layers: &[Layer]) -> Result<Vec<ExtraFile>, RecipeError> {
    let mut files = BTreeMap::new();
    for layer in layers {
        for entry in &layer.file.files {
            files.insert(entry.path.get_ref().0.clone(), file(entry, layer)?);
        }
    }
    Ok(files.into_values().collect())
}

fn file(entry: &FileEntry, layer: &Layer) -> Result<ExtraFile, RecipeError> {
    let path = &entry.path.get_ref().0;
    let wrong = |message: String| layer.wrong(entry.path.span(), message);
    let kind = match (&entry.content, &entry.source, &entry.symlink, entry.directory) {
        (Some(text), None, None, false) => ExtraKind::File(text.clone().into_bytes()),
        (None, Some(source), None, false) => ExtraKind::File(read_source(source, layer).map_err(wrong)?),
        (None, None, Some(target), false) if target.is_empty() || target.contains('\0') => {
            return Err(wrong(format!("{target:?} is nothing that a symbolic link can point to")));
        }
        (None, None, Some(target), false) => ExtraKind::Symlink(target.clone()),
        (None, None, None, true) => ExtraKind::Directory,
        _ => {
            let ways = "exactly one of `content`, `source`, `symlink` or `directory = true`";
            return Err(wrong(format!("file /{path} needs {ways}")));
        }
    };
    check_stays(path, &kind).map_err(wrong)?;
    let default_mode = match kind {
        ExtraKind::File(_) => 0o644,
        ExtraKind::Symlink(_) => 0o777,
        ExtraKind::Directory => 0o755,
    };
    Ok(ExtraFile {
        path: path.clone(),
        kind,
        mode: entry.mode.as_ref().map_or(default_mode, |mode| mode.0),
        owner: entry.owner.as_ref().map_or_else(|| "root".into(), |owner| owner.0.clone()),
        group: entry.group.as_ref().map_or_else(|| "root".into(), |group| group.0.clone()),
    })
}

/// Checks that the build would not remove the added file again.
fn check_stays(path: &str, kind: &ExtraKind) -> Result<(), String> {
    let node = match kind {
        ExtraKind::File(bytes) if bytes.is_empty() => return Ok(()),
        ExtraKind::File(_) => NodeKind::File(Content::Bytes([].into())),
        ExtraKind::Symlink(target) => NodeKind::Symlink(target.clone().into_bytes()),
        ExtraKind::Directory => NodeKind::Directory,
    };
    let fate = match finish::fate(path.as_bytes(), &node) {
        Fate::Stays => return Ok(()),
        Fate::IsEmptied => "is emptied in every image",
        Fate::Goes => "is left out of every image",
    };
    let help = "put it elsewhere, or let the appliance's settings or a service make it at boot";
    Err(format!("/{path} {fate}, for it belongs to the machine that runs: {help}"))
}

fn read_source(source: &str, layer: &Layer) -> Result<Vec<u8>, String> {
    let Some(directory) = layer.directory.as_deref() else {
        return Err(format!("`source = {source:?}` needs a recipe in a file, and this one is inside the program"));
    };
    let path: PathBuf = directory.join(Path::new(source));
    fs::read(&path).map_err(|error| format!("reading its source {}: {error}", path.display()))
}

fn user(entry: &UserEntry) -> User {
    let (name, uid) = (&entry.name.0, entry.uid.get_ref().0);
    User {
        name: name.clone(),
        uid,
        gid: entry.gid.unwrap_or(uid),
        groups: entry.groups.iter().map(|group| group.0.clone()).collect(),
        home: entry.home.as_ref().map_or_else(|| format!("/home/{name}"), |home| home.0.clone()),
        shell: entry.shell.as_ref().map_or_else(|| "/bin/sh".into(), |shell| shell.0.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::read::load;
    use std::fs;

    /// Writes recipe files into a directory and loads the last one.
    fn load_files(files: &[(&str, &str)]) -> Result<super::Recipe, String> {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        let last = directory.path().join(files.last().unwrap().0);
        load(last.to_str().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_child_adds_to_lists_and_replaces_values() {
        let recipe = load_files(&[
            ("parent.toml", "[packages]\ninstall = ['a', 'b (>= 1)']\n[kernel]\nflavour = 'cloud-amd64'\ncmdline = ['quiet']"),
            ("child.toml", "inherits = 'parent'\n[packages]\ninstall = ['c']\nremove = ['b']\n[kernel]\nflavour = 'amd64'\ncmdline = ['debug']"),
        ])
        .unwrap();
        assert_eq!(recipe.name, "child");
        assert_eq!(recipe.packages.install, ["a", "c"]);
        assert_eq!(recipe.kernel.choice, super::KernelChoice::Flavour("amd64".into()));
        assert_eq!(recipe.kernel.cmdline, ["quiet", "debug"]);
    }

    #[test]
    fn a_child_replaces_a_file_of_the_same_path() {
        let recipe = load_files(&[
            ("parent.toml", "[[file]]\npath = '/etc/motd'\ncontent = 'old'"),
            ("child.toml", "inherits = 'parent'\n[[file]]\npath = '/etc/motd'\ncontent = 'new'\nmode = '0600'"),
        ])
        .unwrap();
        let [file] = recipe.files.as_slice() else { panic!("{:?}", recipe.files) };
        assert!(matches!(&file.kind, super::ExtraKind::File(bytes) if bytes == b"new"));
        assert_eq!(file.mode, 0o600);
    }

    #[test]
    fn a_file_without_content_is_refused() {
        let error = load_files(&[("r.toml", "[[file]]\npath = '/etc/motd'\n")]).unwrap_err();
        assert!(error.contains("needs exactly one of"), "{error}");
    }

    #[test]
    fn sources_of_others_have_keys_of_their_own() {
        let recipe = "[[apt-source]]\n[[apt-source]]\nuris = ['https://others.example/apt']\nsigned-by = '/etc/apt/keyrings/o.pgp'\n";
        let recipe = load_files(&[("r.toml", recipe)]).unwrap();
        let keys: Vec<_> = recipe.apt_sources.iter().map(|source| source.signed_by.as_str()).collect();
        assert_eq!(keys, ["/usr/share/keyrings/debian-archive-keyring.pgp", "/etc/apt/keyrings/o.pgp"]);
        let error = load_files(&[("r.toml", "[[apt-source]]\nsigned-by = 'o.pgp'\n")]).unwrap_err();
        assert!(error.contains("r.toml:2") && error.contains("\"o.pgp\" is not the path of a keyring"), "{error}");
    }

    #[test]
    fn a_file_that_no_image_keeps_is_refused() {
        let refused = |path: &str, rest: &str| {
            load_files(&[("r.toml", &format!("[[file]]\npath = '{path}'\n{rest}\n"))]).err().unwrap_or_default()
        };
        for path in ["/run/x", "/tmp/x", "/etc/resolv.conf", "/etc/hostname", "/var/lib/apt/lists/x"] {
            let error = refused(path, "content = 'x'");
            assert!(error.contains(&format!("{path} is left out of every image")) && error.contains('2'), "{error}");
        }
        let error = refused("/etc/machine-id", "content = 'x'");
        assert!(error.contains("/etc/machine-id is emptied in every image"), "{error}");
        assert_eq!(refused("/var/log/tests.log", "content = ''"), "");
        assert_eq!(refused("/etc/motd", "content = 'x'"), "");
    }

    #[test]
    fn a_flat_archive_has_no_components() {
        let parent = ("parent.toml", "[archive]\nsuite = 'sid'\ncomponents = ['main', 'contrib']");
        let child = |more: &str| format!("inherits = 'parent'\n[archive]\nsuite = './'\n{more}");
        let archive = load_files(&[parent, ("child.toml", &child(""))]).unwrap().archive;
        assert_eq!((archive.suite.as_str(), archive.components.len()), ("./", 0));
        let error = load_files(&[parent, ("child.toml", &child("components = ['main']"))]).unwrap_err();
        assert!(error.contains("child.toml:4:14: ") && error.contains("flat"), "{error}");
        let error = load_files(&[("r.toml", "[archive]\ncomponents = []\n")]).unwrap_err();
        assert!(error.contains("r.toml:2:14: no component"), "{error}");
    }

    #[test]
    fn removing_what_is_not_there_is_refused() {
        let error = load_files(&[("r.toml", "[packages]\nremove = ['zsh']\n")]).unwrap_err();
        assert!(error.contains("r.toml:2:11: ") && error.contains("packages.exclude"), "{error}");
    }

    #[test]
    fn a_child_takes_words_off_the_kernel_command_line() {
        let parent = ("parent.toml", "[kernel]\ncmdline = ['quiet', 'console=tty0', 'console=ttyS0', 'panic=10']");
        let child = "inherits = 'parent'\n[kernel]\ncmdline = ['panic=0']\ncmdline-remove = ['console=', 'panic=10']";
        assert_eq!(load_files(&[parent, ("child.toml", child)]).unwrap().kernel.cmdline, ["quiet", "panic=0"]);
        let child = "inherits = 'parent'\n[kernel]\ncmdline-remove = ['quiet', 'splash']";
        let error = load_files(&[parent, ("child.toml", child)]).unwrap_err();
        assert!(error.contains("child.toml:3:28: no inherited word") && error.contains("console=tty0"), "{error}");
    }

    #[test]
    fn what_cannot_be_is_told_with_its_place_before_anything_is_made() {
        let user = |more: &str| format!("[[user]]\nname = 'a'\nuid = 1000\n{more}");
        for (text, place, words) in [
            (user("[[user]]\nname = 'b'\nuid = 1000"), "6:7", "b cannot have the number 1000, which a has"),
            ("[[group]]\nname = 'a'\ngid = 5\n[[group]]\nname = 'b'\ngid = 5".into(), "6:7", "which a has"),
            ("[[user]]\nname = 'Tester'\nuid = 1000".into(), "2:8", "not a name for a user or group"),
            ("[[user]]\nname = 'a'\nuid = 0".into(), "3:7", "root"),
            (user("groups = ['no such']"), "4:11", "not a name for a user or group"),
            (user("shell = 'bash'"), "4:9", "not absolute"),
            (user("home = '/home/a:b'"), "4:8", "colon"),
            ("[image]\nesp-size = '16MiB'".into(), "2:12", "at least"),
            ("[image]\nsector-size = 4096\nesp-size = '128MiB'".into(), "3:12", "sectors of 4096 bytes"),
            ("[[file]]\npath = 'etc/motd'\ncontent = ''".into(), "2:8", "not absolute"),
            ("[[file]]\npath = '/etc/../../motd'\ncontent = ''".into(), "2:8", "not a plain path"),
            ("[[file]]\npath = '/a'\nsource = 'nowhere'".into(), "2:8", "nowhere: No such file"),
            ("[[file]]\npath = '/a'\ncontent = ''\nowner = 'A B'".into(), "4:9", "not a name for a user or group"),
            ("[kernel]\nmodules = ['kernel/fs']".into(), "2:12", "a slash at its end"),
            ("[packages]\npreseed = ['tzdata']".into(), "2:12", "debconf"),
            ("[packages]\nexclude = ['a (= 1)']".into(), "2:12", "not a package name"),
            ("[packages]\nexclude = ['vim', 'dpkg']".into(), "2:19", "dpkg cannot be excluded"),
        ] {
            let error = load_files(&[("r.toml", &text)]).unwrap_err();
            assert!(error.contains(&format!("r.toml:{place}: ")) && error.contains(words), "{text}\n{error}");
        }
    }
}
