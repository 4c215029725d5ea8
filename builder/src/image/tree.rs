//! The finished file tree: the configured root directory with the recipe's additions and removals, and without
//! anything that differs from build to build.

use std::collections::BTreeSet;

use advice::WithHelp as _;
use anyhow::{Context as _, Result};
use fsimage::{Content, FileTree, Metadata, Node, NodeKind, Timestamp};
use rootfs::finish::{self, Group, NewFile, User};
use serde_json::json;
use sha256::Digest;

use super::apt;
use super::content::read_file;
use super::modules::{Kernel, Selection};
use super::root::{self, Root};
use super::selected::Selected;
use crate::lock::Lock;
use crate::recipe::{ExtraFile, ExtraKind, Recipe};

/// Format version; raised whenever the same root directory and recipe would become another file system.
const FORMAT: u32 = 1;

/// Makes the root file system's tree. `epoch` is the latest timestamp that anything in it may have, in seconds since
/// 1970.
pub fn finish(
    root: &Root,
    recipe: &Recipe,
    lock: &Lock,
    kernel: &Kernel,
    kept: &Selection,
    epoch: i64,
) -> Result<FileTree> {
    let mut tree = fsimage::scan(&root.path).context("reading the root directory")?;
    drop_host_attributes(&mut tree);
    rootfs::add_devices(&mut tree, &root.devices)?;
    let time = Timestamp::from_seconds(epoch);
    prune(&mut tree, kernel, kept, time)?;
    add_recipe(&mut tree, recipe, lock, epoch)?;
    finish::normalise(&mut tree, epoch).context("normalising the file tree")?;
    Ok(tree)
}

/// The tree of a container, which has no kernel: all of the root directory, or what `only` selects, with what the recipe adds.
pub fn of_container(root: &Root, recipe: &Recipe, lock: &Lock, only: &Selected, epoch: i64) -> Result<FileTree> {
    let mut tree = fsimage::scan(&root.path).context("reading the root directory")?;
    drop_host_attributes(&mut tree);
    only.apply(&mut tree)?;
    add_recipe(&mut tree, recipe, lock, epoch)?;
    finish::normalise(&mut tree, epoch).context("normalising the file tree")?;
    Ok(tree)
}

/// Adds what a recipe has besides packages: groups, users, files, apt's sources.
fn add_recipe(tree: &mut FileTree, recipe: &Recipe, lock: &Lock, epoch: i64) -> Result<()> {
    let time = Timestamp::from_seconds(epoch);
    for group in &recipe.groups {
        finish::add_group(tree, &Group { name: group.name.clone(), gid: group.gid })
            .with_context(|| format!("adding the group {}", group.name))?;
    }
    for user in &recipe.users {
        add_user(tree, user, epoch).with_context(|| format!("adding the user {}", user.name))?;
    }
    for file in &recipe.files {
        add_file(tree, file, time).with_context(|| format!("adding /{}", file.path))?;
    }
    for (path, text) in
        [(apt::SOURCES, apt::sources(&recipe.apt_sources)), (apt::PREFERENCES, apt::preferences(recipe, lock))]
    {
        if !text.is_empty() {
            let content = Content::from(text.as_str());
            finish::add_file(tree, path, NewFile { content, metadata: Metadata::root(0o644, time) })?;
        }
    }
    Ok(())
}

/// What a recipe adds besides packages, as paths that differ from the root directory, with their parent directories:
/// for testbeds, which lay them over it.
pub fn additions(root: &Root, recipe: &Recipe, lock: &Lock) -> Result<Vec<(Vec<u8>, Node)>> {
    let before = fsimage::scan(&root.path).context("reading the root directory")?;
    let mut after = before.clone();
    add_recipe(&mut after, recipe, lock, lock.date())?;
    let mut changed = BTreeSet::new();
    for (path, id) in after.iter() {
        if before.get(path) == Some(after.node(id)) {
            continue;
        }
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        changed.extend(slashes.filter_map(|(at, _)| path.get(..at)).map(<[u8]>::to_vec));
        changed.insert(path.to_vec());
    }
    Ok(changed
        .into_iter()
        .filter_map(|path| Some((after.get(&path)?.clone(), path)))
        .map(|(node, path)| (path, node))
        .collect())
}

/// Removes all extended attributes but file capabilities, which are all that Debian's packages set. Any others come
/// from this machine: SELinux labels, or access lists inherited from the cache's directory.
fn drop_host_attributes(tree: &mut FileTree) {
    let paths: Vec<Vec<u8>> = tree.iter().map(|(path, _)| path.to_vec()).collect();
    for path in paths {
        if let Some(node) = tree.get_mut(&path) {
            node.metadata.xattrs.retain(|name, _| name == b"security.capability");
        }
    }
}

/// Digest of the tree's inputs: equal digests mean equal trees, wherever they are made.
pub fn identity(recipe: &Recipe, lock: &Lock, epoch: i64) -> Digest {
    let file = |file: &ExtraFile| {
        let (kind, content) = match &file.kind {
            ExtraKind::File(bytes) => ("file", Digest::of(bytes)),
            ExtraKind::Symlink(target) => ("symlink", Digest::of(target.as_bytes())),
            ExtraKind::Directory => ("directory", Digest::of(b"")),
        };
        json!([file.path, kind, content, file.mode, file.owner, file.group])
    };
    let groups: Vec<_> = recipe.groups.iter().map(|group| json!([group.name, group.gid])).collect();
    let user = |user: &crate::recipe::User| json!([user.name, user.uid, user.gid, user.groups, user.home, user.shell]);
    let mut inputs = json!({
        "format": FORMAT,
        "root": root::content_key(recipe, lock),
        "epoch": epoch,
        "files": recipe.files.iter().map(file).collect::<Vec<_>>(),
        "groups": groups,
        "users": recipe.users.iter().map(user).collect::<Vec<_>>(),
        "sources": apt::sources(&recipe.apt_sources),
        "modules": recipe.kernel.modules,
        "free": recipe.image.root_free,
    });
    let preferences = apt::preferences(recipe, lock);
    if !preferences.is_empty() {
        inputs["preferences"] = preferences.into();
    }
    Digest::of(inputs.to_string().as_bytes())
}

/// Removes the kernel modules that the image does not keep, also from dpkg's database, so that `dpkg --verify` finds
/// every file it knows; and adds the indexes that depmod would have made.
fn prune(tree: &mut FileTree, kernel: &Kernel, kept: &Selection, time: Timestamp) -> Result<()> {
    let home = kernel.home();
    let names: BTreeSet<String> = kept.paths.iter().filter_map(|path| finish::module_name(path.as_bytes())).collect();
    let before: BTreeSet<Vec<u8>> = below(tree, &home);
    finish::keep_modules(tree, &names).context("leaving out kernel modules")?;
    let after = below(tree, &home);
    let gone: BTreeSet<&[u8]> = before.difference(&after).map(Vec::as_slice).collect();
    forget(tree, &gone)?;
    for (name, bytes) in kept.files()? {
        let metadata = Metadata::root(0o644, time);
        let node = Node { kind: NodeKind::File(Content::from(bytes)), metadata };
        tree.insert(format!("{home}/{name}"), node)?;
    }
    Ok(())
}

fn below(tree: &FileTree, directory: &str) -> BTreeSet<Vec<u8>> {
    tree.descendants(directory).map(|(path, _)| path.to_vec()).collect()
}

/// Removes paths from the file lists and checksums of the kernel packages in dpkg's database.
fn forget(tree: &mut FileTree, gone: &BTreeSet<&[u8]>) -> Result<()> {
    if gone.is_empty() {
        return Ok(());
    }
    let lists: Vec<Vec<u8>> = tree
        .descendants("var/lib/dpkg/info")
        .map(|(path, _)| path)
        .filter(|path| path.starts_with(b"var/lib/dpkg/info/linux-"))
        .filter(|path| path.ends_with(b".list") || path.ends_with(b".md5sums"))
        .map(<[u8]>::to_vec)
        .collect();
    for path in lists {
        let Some(Node { kind: NodeKind::File(content), .. }) = tree.get_mut(&path) else { continue };
        let mut bytes = Vec::new();
        content
            .open()?
            .read_to_end(&mut bytes)
            .with_context(|| format!("reading /{}", String::from_utf8_lossy(&path)))?;
        let checksums = path.ends_with(b".md5sums");
        let names = |line: &&[u8]| {
            // A list has absolute paths; a line of checksums has 32 digits, two spaces and a relative path.
            let path = if checksums { line.get(34..) } else { line.strip_prefix(b"/") };
            let path = path.map(|path| path.strip_suffix(b"\n").unwrap_or(path));
            // Packages of before the merged /usr have modules in /lib, which is a link now.
            !path.is_some_and(|path| {
                gone.contains(path) || path.starts_with(b"lib/") && gone.contains([b"usr/", path].concat().as_slice())
            })
        };
        let rest: Vec<u8> = bytes.split_inclusive(|byte| *byte == b'\n').filter(names).flatten().copied().collect();
        if rest.len() != bytes.len() {
            *content = Content::from(rest);
        }
    }
    Ok(())
}

/// Adds a user, and a group for it if no group has its number yet.
fn add_user(tree: &mut FileTree, user: &crate::recipe::User, epoch: i64) -> Result<()> {
    let groups = String::from_utf8_lossy(&read_file(tree, "etc/group")?).into_owned();
    if !groups.lines().any(|line| line.split(':').nth(2) == Some(user.gid.to_string().as_str())) {
        finish::add_group(tree, &Group { name: user.name.clone(), gid: user.gid })?;
    }
    let new = User {
        name: user.name.clone(),
        uid: user.uid,
        gid: user.gid,
        gecos: String::new(),
        home: user.home.clone(),
        shell: user.shell.clone(),
        groups: user.groups.clone(),
    };
    Ok(finish::add_user(tree, &new, epoch)?)
}

fn add_file(tree: &mut FileTree, file: &ExtraFile, time: Timestamp) -> Result<()> {
    let uid = id(tree, "etc/passwd", &file.owner)?;
    let gid = id(tree, "etc/group", &file.group)?;
    let metadata = Metadata { uid, gid, ..Metadata::root(file.mode, time) };
    match &file.kind {
        ExtraKind::File(bytes) => {
            let content = Content::from(bytes.clone());
            finish::add_file(tree, &file.path, NewFile { content, metadata })?;
        }
        ExtraKind::Symlink(target) => finish::add_symlink(tree, &file.path, target, metadata)?,
        ExtraKind::Directory => finish::add_directory(tree, &file.path, &metadata)?,
    }
    Ok(())
}

/// Number of a user or group, given as a number or by name, which is looked up in the third field of a database.
fn id(tree: &FileTree, database: &str, name: &str) -> Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let text = String::from_utf8_lossy(&read_file(tree, database)?).into_owned();
    let line = text.lines().find(|line| line.split(':').next() == Some(name));
    let number = line.and_then(|line| line.split(':').nth(2)?.parse().ok());
    number
        .with_context(|| format!("{name:?} is not in /{database}"))
        .help("add a [[user]] or [[group]] to the recipe, or give a number")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> FileTree {
        let directory = Metadata::root(0o755, Timestamp::default());
        let mut tree = FileTree::new(directory.clone());
        for (path, text) in files {
            let above = path.rsplit_once('/').map_or("", |(above, _)| above);
            tree.create_directories(above, &directory).unwrap();
            let metadata = Metadata::root(0o644, Timestamp::default());
            tree.insert(path, Node { kind: NodeKind::File((*text).into()), metadata }).unwrap();
        }
        tree
    }

    #[test]
    fn dpkg_forgets_the_modules_that_are_left_out() {
        let list = "/.\n/usr/lib/modules/7.2/kernel/a.ko.xz\n/usr/lib/modules/7.2/kernel/b.ko.xz\n";
        let sums = "0123456789abcdef0123456789abcdef  usr/lib/modules/7.2/kernel/a.ko.xz\n0123456789abcdef0123456789abcdef  usr/lib/modules/7.2/kernel/b.ko.xz\n";
        let mut tree = tree(&[
            ("var/lib/dpkg/info/linux-modules-7.2.list", list),
            ("var/lib/dpkg/info/linux-modules-7.2.md5sums", sums),
            ("var/lib/dpkg/info/other.list", list),
        ]);
        forget(&mut tree, &BTreeSet::from([&b"usr/lib/modules/7.2/kernel/b.ko.xz"[..]])).unwrap();
        let text = |path: &str| String::from_utf8(read_file(&tree, path).unwrap()).unwrap();
        assert_eq!(text("var/lib/dpkg/info/linux-modules-7.2.list"), "/.\n/usr/lib/modules/7.2/kernel/a.ko.xz\n");
        assert!(!text("var/lib/dpkg/info/linux-modules-7.2.md5sums").contains("b.ko.xz"));
        assert_eq!(text("var/lib/dpkg/info/other.list"), list, "only the kernel's own lists");
    }

    #[test]
    fn attributes_of_this_machine_stay_here() {
        let mut tree = tree(&[("usr/bin/ping", "")]);
        let node = tree.get_mut("usr/bin/ping").unwrap();
        for name in ["security.capability", "security.selinux", "user.origin", "system.posix_acl_access"] {
            node.metadata.xattrs.insert(name.into(), b"value".to_vec());
        }
        drop_host_attributes(&mut tree);
        let left: Vec<_> = tree.get("usr/bin/ping").unwrap().metadata.xattrs.keys().cloned().collect();
        assert_eq!(left, [b"security.capability".to_vec()]);
    }

    #[test]
    fn owners_are_found_by_name_or_number() {
        let tree = tree(&[("etc/passwd", "root:x:0:0::/root:/bin/bash\ntester:x:1000:1000::/home/tester:/bin/sh\n")]);
        assert_eq!(id(&tree, "etc/passwd", "tester").unwrap(), 1000);
        assert_eq!(id(&tree, "etc/passwd", "42").unwrap(), 42);
        let error = id(&tree, "etc/passwd", "nobody").unwrap_err();
        assert!(crate::error::report(&error).to_string().contains("[[user]]"), "{error}");
    }
}
