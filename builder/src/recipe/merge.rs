//! From a chain of recipe files, base first, to one [`Recipe`].

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::model::{FileEntry, UserEntry};
use super::read::{Layer, RecipeError};
use super::{Archive, ExtraFile, ExtraKind, Image, Kernel, Packages, Recipe, SettingsTable, User};

const DEFAULT_SNAPSHOT: &str = "https://snapshot.debian.org/archive/debian";
const DEFAULT_DATA_SIZE: u64 = 64 << 20;

/// The last layer that says something.
fn last<T>(layers: &[Layer], get: impl Fn(&Layer) -> Option<T>) -> Option<T> {
    layers.iter().rev().find_map(get)
}

/// All layers' lists, one after the other, each value once.
fn joined(layers: &[Layer], get: impl Fn(&Layer) -> Vec<String>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for value in layers.iter().flat_map(get) {
        if !all.contains(&value) {
            all.push(value);
        }
    }
    all
}

/// In order, a later one in the place of an earlier one with the same name.
fn by_name<T>(all: impl Iterator<Item = T>, name: impl Fn(&T) -> &String) -> Vec<T> {
    let mut kept: Vec<T> = Vec::new();
    for one in all {
        match kept.iter().position(|other| name(other) == name(&one)) {
            Some(place) => kept[place] = one,
            None => kept.push(one),
        }
    }
    kept
}

pub(super) fn resolve(name: String, path: Option<PathBuf>, layers: &[Layer]) -> Result<Recipe, RecipeError> {
    let archive = Archive {
        suite: last(layers, |layer| layer.file.archive.suite.clone()).unwrap_or_else(|| "sid".into()),
        components: last(layers, |layer| layer.file.archive.components.clone()).unwrap_or_else(|| vec!["main".into()]),
        mirror: last(layers, |layer| layer.file.archive.mirror.clone()),
        snapshot: last(layers, |layer| layer.file.archive.snapshot.clone()).unwrap_or_else(|| DEFAULT_SNAPSHOT.into()),
        check_valid_until: last(layers, |layer| layer.file.archive.check_valid_until).unwrap_or(true),
        keyrings: last(layers, keyrings).unwrap_or_default(),
    };
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
    Ok(Recipe {
        name,
        path,
        description: last(layers, |layer| layer.file.description.clone()).unwrap_or_default(),
        apt_sources: apt_sources.collect(),
        packages: packages(layers)?,
        kernel: Kernel {
            flavour: last(layers, |layer| layer.file.kernel.flavour.clone()).unwrap_or_else(|| "amd64".into()),
            cmdline: joined(layers, |layer| layer.file.kernel.cmdline.iter().map(|word| word.0.clone()).collect()),
            modules: joined(layers, |layer| layer.file.kernel.modules.clone()),
            initramfs_modules: joined(layers, |layer| layer.file.kernel.initramfs_modules.clone()),
        },
        files: files(layers)?,
        groups: by_name(layers.iter().flat_map(|layer| layer.file.groups.clone()), |group| &group.name),
        users: by_name(layers.iter().flat_map(|layer| layer.file.users.iter().map(user)), |user| &user.name),
        settings: SettingsTable {
            name: last(layers, |layer| layer.file.settings.name.clone()),
            hub: last(layers, |layer| layer.file.settings.hub.clone()),
            debug_shell: last(layers, |layer| layer.file.settings.debug_shell),
        },
        image: Image {
            sector_size: last(layers, |layer| layer.file.image.sector_size).map_or(512, |size| size.0),
            esp_size: last(layers, |layer| layer.file.image.esp_size.clone()).map(|size| size.0),
            data_size: last(layers, |layer| layer.file.image.data_size.clone())
                .map_or(DEFAULT_DATA_SIZE, |size| size.0),
            root_free: last(layers, |layer| layer.file.image.root_free.clone()).map_or(0, |size| size.0),
            stub_package: last(layers, |layer| layer.file.image.stub_package.clone())
                .unwrap_or_else(|| "systemd-boot-efi".into()),
        },
        archive,
    })
}

fn keyrings(layer: &Layer) -> Option<Vec<PathBuf>> {
    let here = layer.directory.clone().unwrap_or_default();
    layer.file.archive.keyrings.as_ref().map(|paths| paths.iter().map(|path| here.join(path)).collect())
}

fn packages(layers: &[Layer]) -> Result<Packages, RecipeError> {
    let mut install: Vec<String> = Vec::new();
    for layer in layers {
        for removed in &layer.file.packages.remove {
            let before = install.len();
            install.retain(|relation| !names_package(relation, removed));
            if install.len() == before {
                let message = format!(
                    "packages.remove names {removed:?}, which no inherited recipe installs by that name\n  help: to keep a package out that others depend on, use packages.exclude"
                );
                return Err(RecipeError::Inconsistent { origin: layer.origin.clone(), message });
            }
        }
        for relation in &layer.file.packages.install {
            if !install.contains(&relation.0) {
                install.push(relation.0.clone());
            }
        }
    }
    Ok(Packages {
        install,
        exclude: joined(layers, |layer| layer.file.packages.exclude.clone()),
        recommends: last(layers, |layer| layer.file.packages.recommends).unwrap_or(false),
        preseed: joined(layers, |layer| layer.file.packages.preseed.clone()),
    })
}

fn names_package(relation: &str, name: &str) -> bool {
    relation.split([' ', '(', ':', '|', ',']).next() == Some(name)
}

fn files(layers: &[Layer]) -> Result<Vec<ExtraFile>, RecipeError> {
    let mut files = BTreeMap::new();
    for layer in layers {
        for entry in &layer.file.files {
            files.insert(entry.path.0.clone(), file(entry, layer)?);
        }
    }
    Ok(files.into_values().collect())
}

fn file(entry: &FileEntry, layer: &Layer) -> Result<ExtraFile, RecipeError> {
    let inconsistent = |message: String| RecipeError::Inconsistent { origin: layer.origin.clone(), message };
    let kind = match (&entry.content, &entry.source, &entry.symlink, entry.directory) {
        (Some(text), None, None, false) => ExtraKind::File(text.clone().into_bytes()),
        (None, Some(source), None, false) => ExtraKind::File(read_source(source, layer)?),
        (None, None, Some(target), false) => ExtraKind::Symlink(target.clone()),
        (None, None, None, true) => ExtraKind::Directory,
        _ => {
            return Err(inconsistent(format!(
                "file /{} needs exactly one of `content`, `source`, `symlink` or `directory = true`",
                entry.path.0
            )));
        }
    };
    let default_mode = match kind {
        ExtraKind::File(_) => 0o644,
        ExtraKind::Symlink(_) => 0o777,
        ExtraKind::Directory => 0o755,
    };
    Ok(ExtraFile {
        path: entry.path.0.clone(),
        kind,
        mode: entry.mode.as_ref().map_or(default_mode, |mode| mode.0),
        owner: entry.owner.clone().unwrap_or_else(|| "root".into()),
        group: entry.group.clone().unwrap_or_else(|| "root".into()),
    })
}

fn read_source(source: &str, layer: &Layer) -> Result<Vec<u8>, RecipeError> {
    let Some(directory) = layer.directory.as_deref() else {
        let message = format!("`source = {source:?}` needs a recipe in a file, and this one is inside the program");
        return Err(RecipeError::Inconsistent { origin: layer.origin.clone(), message });
    };
    let path: PathBuf = directory.join(Path::new(source));
    fs::read(&path).map_err(|error| RecipeError::Read { path, error })
}

fn user(entry: &UserEntry) -> User {
    User {
        name: entry.name.clone(),
        uid: entry.uid,
        gid: entry.gid.unwrap_or(entry.uid),
        groups: entry.groups.clone(),
        home: entry.home.as_ref().map_or_else(|| format!("/home/{}", entry.name), |home| format!("/{}", home.0)),
        shell: entry.shell.clone().unwrap_or_else(|| "/bin/sh".into()),
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
        assert_eq!(recipe.kernel.flavour, "amd64");
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
    fn removing_what_is_not_there_is_refused() {
        let error = load_files(&[("r.toml", "[packages]\nremove = ['zsh']\n")]).unwrap_err();
        assert!(error.contains("packages.exclude"), "{error}");
    }
}
