//! Compares the root file system, file by file, with that of mmdebstrap from the same packages: it is as dpkg would
//! have made it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use fsimage::ext4::{Limits, Reader};
use fsimage::{FileTree, NodeKind};
use rocbed_tests::{Temporary, mmdebstrap, rocbed};
use rootfs::compare::{Accepted, Allowed, MMDEBSTRAP, against};
use rootfs::finish;

/// Files that finishing the image adds to a root directory. The other accepted differences are about mmdebstrap, in
/// [`rootfs::compare`].
const ADDED: &[Accepted] = &[
    Accepted { path: "lost+found", what: Allowed::Everything, reason: "every ext4 file system has one" },
    Accepted {
        path: "usr/lib/modules/*/modules.*",
        what: Allowed::Everything,
        reason: "module indexes: the build makes them itself; kmod's tests hold them against depmod's",
    },
];

/// The smoke set without additions of rocbed: all kernel modules, no files, users or sources.
const RECIPE: &str = r#"
[packages]
install = ["apt", "ca-certificates", "debian-archive-keyring", "netbase", "passwd", "autopkgtest", "dpkg-dev"]
[kernel]
modules = ["*"]
"#;

/// The files in the image, parsed from its bytes.
fn tree_in(image: &Path) -> FileTree {
    let file = File::open(image.join("root.img")).expect("opening root.img");
    let limits = Limits { memory: 8 << 30, ..Limits::default() };
    Reader::open(file, 0).and_then(|mut reader| reader.tree(limits)).expect("reading root.img")
}

#[test]
fn file_by_file_and_in_dpkgs_database() {
    let directory = Temporary::directory("same-as-dpkg");
    let recipe = directory.join("plain.toml");
    fs::write(&recipe, RECIPE).expect("writing the recipe");
    rocbed(["lock", "--ignore-valid-until"]).arg(&recipe).ok();
    let image = directory.join("image");
    rocbed(["build", "--locked", "--fresh", "--output"]).arg(&image).arg(&recipe).ok();
    let ours = tree_in(&image);

    let oracle = mmdebstrap(&recipe, &directory);
    let mut oracle = fsimage::scan(&oracle).expect("reading mmdebstrap's root");
    let lock = fs::read_to_string(recipe.with_extension("lock")).expect("reading the lock");
    let date = lock.lines().find_map(|line| line.strip_prefix("date = ")).expect("the lock has a date");
    finish::normalise(&mut oracle, date.parse().expect("a number")).expect("normalising mmdebstrap's root");

    let accepted: Vec<Accepted> = MMDEBSTRAP.iter().chain(ADDED).cloned().collect();
    let comparison = against(&ours, &oracle, &accepted).expect("comparing");
    let mut reasons = BTreeMap::<_, usize>::new();
    for (_, reason) in &comparison.explained {
        *reasons.entry(*reason).or_default() += 1;
    }
    println!("{} paths; explained differences: {reasons:#?}", ours.len());
    let unexplained: Vec<String> = comparison.unexplained.iter().map(ToString::to_string).collect();
    assert!(
        unexplained.is_empty(),
        "{} differences that nothing explains:\n{}",
        unexplained.len(),
        unexplained.join("\n")
    );

    let status = |tree: &FileTree| match tree.get("var/lib/dpkg/status").map(|node| node.kind.clone()) {
        Some(NodeKind::File(content)) => {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut content.open().expect("opening"), &mut text)
                .expect("reading the status");
            let mut stanzas: Vec<String> = text.split("\n\n").map(str::to_owned).collect();
            stanzas.sort();
            stanzas
        }
        _ => panic!("no dpkg status"),
    };
    assert_eq!(status(&ours), status(&oracle), "dpkg's status, package by package");
}
