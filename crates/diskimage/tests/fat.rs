//! Tests of the EFI system partition with fsck.fat, mtools and the `fatfs` crate.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::{Command, Output};
use std::rc::Rc;

use diskimage::SectorSize;
use diskimage::fat::{self, FatError, FatOptions, Volume};
use fsimage::{Content, FileTree, Metadata, Node, NodeKind, Timestamp};
use progress::Silent;
use proptest::prelude::*;

const MIB: u64 = 1 << 20;

fn run(tool: &str, package: &str, arguments: &[&str]) -> Output {
    match Command::new(tool).args(arguments).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output() {
        Ok(output) => output,
        Err(error) => panic!("{tool}: {error}; install the Debian package {package}"),
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

fn tree(files: &[(&str, &[u8])]) -> FileTree {
    let directory = Metadata::root(0o755, Timestamp::from_seconds(0));
    let mut tree = FileTree::new(directory.clone());
    for (path, bytes) in files {
        if let Some((parent, _)) = path.rsplit_once('/') {
            tree.create_directories(parent, &directory).unwrap();
        }
        tree.insert(path, Node { kind: NodeKind::File(bytes.to_vec().into()), metadata: directory.clone() }).unwrap();
    }
    tree
}

fn options(size: u64, sector_size: SectorSize) -> FatOptions {
    let timestamp = Timestamp::from_seconds(1_793_347_681);
    FatOptions { size, sector_size, volume_id: 0x1234_abcd, label: Some("ROCBED".into()), timestamp }
}

/// A volume alone in a file.
fn write(directory: &Path, tree: &FileTree, options: &FatOptions) -> (std::path::PathBuf, File) {
    let path = directory.join("esp.img");
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    file.set_len(options.size).unwrap();
    fat::write(tree, &file, 0, options, &Silent).unwrap();
    (path, file)
}

/// fsck.fat must print only the two lines that it prints for every good volume.
fn assert_clean(path: &Path) {
    let output = run("fsck.fat", "dosfstools", &["-n", path.to_str().unwrap()]);
    let text = text(&output);
    assert!(output.status.success() && text.lines().count() == 2, "{text}");
}

fn read_with_fatfs(file: &File) -> BTreeMap<String, Option<Vec<u8>>> {
    fn walk<T: Read + Write + Seek>(
        dir: &fatfs::Dir<'_, T>,
        above: &str,
        found: &mut BTreeMap<String, Option<Vec<u8>>>,
    ) {
        for entry in dir.iter().map(Result::unwrap) {
            let name = entry.file_name();
            if name == "." || name == ".." {
                continue;
            }
            let path = format!("{above}{name}");
            if entry.is_dir() {
                walk(&entry.to_dir(), &format!("{path}/"), found);
                found.insert(path, None);
            } else {
                let mut bytes = Vec::new();
                entry.to_file().read_to_end(&mut bytes).unwrap();
                found.insert(path, Some(bytes));
            }
        }
    }
    let mut disk = file;
    disk.seek(SeekFrom::Start(0)).unwrap();
    let volume = fatfs::FileSystem::new(disk, fatfs::FsOptions::new()).unwrap();
    assert_eq!(volume.fat_type(), fatfs::FatType::Fat32);
    let mut found = BTreeMap::new();
    walk(&volume.root_dir(), "", &mut found);
    found
}

fn read_with_ours(file: &File) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut volume = Volume::open(file, 0).unwrap();
    let entries = volume.list().unwrap();
    let read = |entry: fat::FatEntry| {
        let bytes = (!entry.is_directory).then(|| volume.read(&entry.path).unwrap());
        (entry.path, bytes)
    };
    entries.into_iter().map(read).collect()
}

fn expected(tree: &FileTree) -> BTreeMap<String, Option<Vec<u8>>> {
    let entry = |(path, id): (&[u8], _)| {
        let bytes = match &tree.node(id).kind {
            NodeKind::File(content) => {
                let mut bytes = Vec::new();
                content.open().unwrap().read_to_end(&mut bytes).unwrap();
                Some(bytes)
            }
            _ => None,
        };
        (String::from_utf8(path.to_vec()).unwrap(), bytes)
    };
    tree.iter().skip(1).map(entry).collect()
}

#[test]
fn an_esp_is_clean_and_mtools_reads_it() {
    let directory = tempfile::tempdir().unwrap();
    let uki = [b"MZ".as_slice(), &vec![7; 3_000_001][..]].concat();
    let tree = tree(&[
        ("EFI/BOOT/BOOTX64.EFI", &uki),
        ("rocbed.toml", b"hub = \"https://example.org\"\n"),
        ("loader/entries/a rather long name.conf", b"title x"),
        ("empty", b""),
    ]);
    for (sector_size, size) in [(SectorSize::Bytes512, 64 * MIB), (SectorSize::Bytes4096, 300 * MIB)] {
        let (path, file) = write(directory.path(), &tree, &options(size, sector_size));
        assert_clean(&path);
        assert_eq!(read_with_fatfs(&file), expected(&tree));
        assert_eq!(read_with_ours(&file), expected(&tree));
        let image = path.to_str().unwrap();
        let listing = text(&run("mdir", "mtools", &["-i", image, "::/EFI/BOOT"]));
        assert!(listing.contains("BOOTX64  EFI") && listing.contains("2026-10-30   8:08"), "{listing}");
        assert!(text(&run("mdir", "mtools", &["-i", image, "::"])).contains("Volume in drive : is ROCBED"));
        let printed = run("mtype", "mtools", &["-i", image, "::/loader/entries/a rather long name.conf"]);
        assert_eq!(text(&printed), "title x");
    }
}

#[test]
fn the_same_input_gives_the_same_bytes_and_free_space_is_a_hole() {
    let directory = tempfile::tempdir().unwrap();
    let tree = tree(&[("EFI/Linux/a.efi", &vec![3; 100_000]), ("EFI/Linux/zeros.bin", &vec![0; 8_000_000])]);
    let options = options(512 * MIB, SectorSize::Bytes512);
    let image = |offset: u64| {
        let file = tempfile::tempfile_in(directory.path()).unwrap();
        file.set_len(offset + options.size).unwrap();
        fat::write(&tree, &file, offset, &options, &Silent).unwrap();
        file
    };
    let (first, second) = (image(0), image(0));
    assert_eq!(diskimage::sparse::sha256(&first).unwrap(), diskimage::sparse::sha256(&second).unwrap());
    let allocated = first.metadata().unwrap().blocks() * 512;
    assert!((8_000_000..10_000_000).contains(&allocated), "{allocated}");

    let shifted = image(MIB);
    let entries = Volume::open(&shifted, MIB).unwrap().list().unwrap();
    assert_eq!(
        entries.iter().map(|entry| entry.path.as_str()).collect::<Vec<_>>(),
        ["EFI", "EFI/Linux", "EFI/Linux/a.efi", "EFI/Linux/zeros.bin"]
    );
}

#[test]
fn an_empty_volume_without_a_label_is_clean() {
    let directory = tempfile::tempdir().unwrap();
    let tree = tree(&[]);
    let (path, _) =
        write(directory.path(), &tree, &FatOptions { label: None, ..options(33 * MIB, SectorSize::Bytes512) });
    assert_clean(&path);
}

#[test]
fn a_full_volume_is_clean_and_one_that_is_too_small_says_what_it_needs() {
    let directory = tempfile::tempdir().unwrap();
    let tree = tree(&[("big", &vec![1; 90 << 20]), ("EFI/BOOT/BOOTX64.EFI", &[2; 5000])]);
    let size = fat::required_size(&tree, SectorSize::Bytes512).unwrap();
    assert!((90 * MIB..94 * MIB).contains(&size), "{size}");
    let (path, file) = write(directory.path(), &tree, &options(size, SectorSize::Bytes512));
    assert_clean(&path);
    file.set_len(0).unwrap();
    let error = fat::write(&tree, &file, 0, &options(size - MIB, SectorSize::Bytes512), &Silent).unwrap_err();
    assert!(matches!(error, FatError::NoSpace { minimum, .. } if minimum == size), "{error}");
    let error = fat::write(&tree, &file, 0, &options(10 * MIB, SectorSize::Bytes512), &Silent).unwrap_err();
    let help = advice::Advice::of(&error).in_one_line();
    assert!(help.contains("33 MiB"), "{help}");
}

#[test]
fn trees_that_fat_cannot_hold_are_refused_by_path() {
    let file = tempfile::tempfile().unwrap();
    let refuse = |tree: &FileTree| {
        fat::write(tree, &file, 0, &options(64 * MIB, SectorSize::Bytes512), &Silent).unwrap_err().to_string()
    };
    assert!(refuse(&tree(&[("etc/a:b", b"")])).contains("\"etc/a:b\""));
    assert!(refuse(&tree(&[("EFI/x", b""), ("efi/x", b"")])).contains("\"EFI\" and \"efi\""));
    let mut link = tree(&[("x", b"")]);
    let metadata = Metadata::root(0o777, Timestamp::from_seconds(0));
    link.insert("link", Node { kind: NodeKind::Symlink(b"x".to_vec()), metadata: metadata.clone() }).unwrap();
    assert!(refuse(&link).contains("\"link\""));

    let host = tempfile::NamedTempFile::new().unwrap();
    host.as_file().set_len(5000).unwrap();
    for length in [4999, 5001] {
        let mut tree = tree(&[]);
        let content = Content::HostFile { path: host.path().into(), length };
        tree.insert("file", Node { kind: NodeKind::File(content), metadata: metadata.clone() }).unwrap();
        assert!(refuse(&tree).contains("\"file\" has changed"));
    }
}

#[test]
fn a_host_file_is_streamed() {
    let directory = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..3_333_333_u32).map(|number| (number / 5000) as u8).collect();
    std::fs::write(directory.path().join("source"), &bytes).unwrap();
    let mut tree = tree(&[]);
    let content = Content::HostFile { path: directory.path().join("source"), length: bytes.len() as u64 };
    let metadata = Metadata::root(0o644, Timestamp::from_seconds(0));
    tree.insert("file", Node { kind: NodeKind::File(content), metadata }).unwrap();
    let (path, mut file) = write(directory.path(), &tree, &options(40 * MIB, SectorSize::Bytes512));
    assert_clean(&path);
    file.seek(SeekFrom::Start(0)).unwrap();
    assert!(Volume::open(&file, 0).unwrap().read("FILE").unwrap() == bytes);
}

fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Z]{1,8}\\.[A-Z]{1,3}",
        "[a-z0-9]{1,12}",
        "[A-Za-z +.é日]{0,40}[A-Za-z]",
        "long name [0-9]{1,3}\\.txt"
    ]
}

fn trees() -> impl Strategy<Value = FileTree> {
    let file = (prop::collection::vec(names(), 1..4), prop::collection::vec(0_u8..3, 0..6000));
    prop::collection::vec(file, 0..40).prop_map(|files| {
        let metadata = Metadata::root(0o755, Timestamp::from_seconds(0));
        let mut tree = FileTree::new(metadata.clone());
        for (parts, bytes) in files {
            let path = parts.join("/");
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            // Names that clash are left out: other tests are about them.
            if tree.create_directories(parent, &metadata).is_ok() {
                let node = Node { kind: NodeKind::File(bytes.into()), metadata: metadata.clone() };
                let _clash = tree.insert(&path, node);
            }
        }
        tree
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_trees_are_clean_and_read_back_the_same(tree in trees(), large: bool) {
        let (sector_size, size) = if large { (SectorSize::Bytes4096, 257 * MIB) } else { (SectorSize::Bytes512, 33 * MIB) };
        let directory = tempfile::tempdir().unwrap();
        let file = tempfile::tempfile_in(directory.path()).unwrap();
        file.set_len(size).unwrap();
        match fat::write(&tree, &file, 0, &options(size, sector_size), &Silent) {
            Err(FatError::CaseClash { .. }) => return Ok(()),
            result => result.unwrap(),
        };
        let (path, file) = write(directory.path(), &tree, &options(size, sector_size));
        assert_clean(&path);
        prop_assert_eq!(read_with_fatfs(&file), expected(&tree));
        prop_assert_eq!(read_with_ours(&file), expected(&tree));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hostile_volumes_never_panic(changes in prop::collection::vec((0_u8..4, any::<u32>(), any::<u8>()), 1..12)) {
        // The volume is mostly a hole: what was written is at its start.
        thread_local! {
            static IMAGE: Rc<Vec<u8>> = {
                let file = tempfile::tempfile().unwrap();
                file.set_len(33 * MIB).unwrap();
                let tree = tree(&[("EFI/BOOT/x.efi", &[1; 9000]), ("a long name.txt", b"hi"), ("EFI/b/c/d", b"")]);
                fat::write(&tree, &file, 0, &options(33 * MIB, SectorSize::Bytes512), &Silent).unwrap();
                let mut bytes = vec![0; 33 << 20];
                file.read_exact_at(&mut bytes, 0).unwrap();
                Rc::new(bytes)
            };
        }
        let table = 32 * 512;
        let data = IMAGE.with(|image| (1000 * 512..image.len()).find(|at| image[*at..].starts_with(b"ROCBED")).unwrap());
        let mut disk = Patched { image: IMAGE.with(Rc::clone), changes: BTreeMap::new(), at: 0 };
        for (part, at, value) in changes {
            let at = at as usize;
            let at = match part {
                0 => at % 96,
                1 => table + at % 256,
                _ => data + at % 4096,
            };
            disk.changes.insert(at as u64, value);
        }
        if let Ok(mut volume) = Volume::open(&mut disk, 0)
            && let Ok(entries) = volume.list()
        {
            for entry in entries.iter().take(50) {
                let _bytes_or_error = volume.read(&entry.path);
            }
        }
    }
}

/// A disk in memory with some bytes changed.
struct Patched {
    image: Rc<Vec<u8>>,
    changes: BTreeMap<u64, u8>,
    at: u64,
}

impl Read for Patched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = self.image.get(self.at as usize..).unwrap_or(&[]);
        let part = rest.len().min(buffer.len());
        buffer[..part].copy_from_slice(&rest[..part]);
        for (at, value) in self.changes.range(self.at..self.at + part as u64) {
            buffer[(at - self.at) as usize] = *value;
        }
        self.at += part as u64;
        Ok(part)
    }
}

impl Seek for Patched {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::End(_) => self.image.len() as u64,
            SeekFrom::Current(by) => self.at.wrapping_add_signed(by),
        };
        Ok(self.at)
    }
}
