//! A store used by several processes, with sudden deaths and full disks.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use progress::Silent;
use proptest::prelude::*;
use sha256::Digest;
use store::{Condition, Lock, LockError, PrunePolicy, Removal, Store, StoreEntryKind, StoreError, Wait};

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("cache")).unwrap();
    (dir, store)
}

fn put(store: &Store, content: &[u8], label: &str) -> Digest {
    store.insert(content, None, None, label).unwrap()
}

fn age(store: &Store, digest: &Digest, days: u64) {
    let then = SystemTime::now() - Duration::from_secs(days * 86400);
    File::open(store.path(digest)).unwrap().set_modified(then).unwrap();
}

/// How many files there are, temporary ones included.
fn temporary(store: &Store) -> usize {
    fs::read_dir(store.root().join("tmp")).unwrap().count()
}

#[test]
fn content_is_found_under_its_digest_read_only() {
    let (_dir, store) = store();
    let digest = Digest::of(b"hello");
    assert_eq!(store.insert(&b"hello"[..], Some(&digest), Some(5), "greeting").unwrap(), digest);
    let path = store.path(&digest);
    assert!(path.ends_with(format!("sha256/2c/{digest}")));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o222, 0);
    let mut text = String::new();
    store.read(&digest).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
    let entries = store.list().unwrap();
    assert_eq!((entries.len(), entries[0].size, entries[0].label.as_str()), (1, 5, "greeting"));
    assert_eq!(temporary(&store), 0);
}

#[test]
fn what_is_not_as_announced_is_not_stored() {
    let (_dir, store) = store();
    let digest = Digest::of(b"hello");
    let wrong = store.insert(&b"hullo"[..], Some(&digest), Some(5), "x").unwrap_err();
    assert!(matches!(wrong, StoreError::WrongDigest { .. }), "{wrong}");
    let short = store.insert(&b"hell"[..], Some(&digest), Some(5), "x").unwrap_err();
    assert!(matches!(short, StoreError::WrongSize { expected: 5, got: 4, .. }), "{short}");
    let endless = store.insert(io::repeat(0), Some(&digest), Some(5), "x").unwrap_err();
    assert!(matches!(endless, StoreError::WrongSize { expected: 5, got: 6, .. }), "{endless}");
    assert!(matches!(store.read(&digest), Err(StoreError::NotStored(_))));
    assert_eq!((store.list().unwrap().len(), temporary(&store)), (0, 0));
}

#[test]
fn a_file_cut_short_by_a_crash_counts_as_missing() {
    let (_dir, store) = store();
    for known in [Some(5), None] {
        let digest = put(&store, b"hello", "x");
        fs::set_permissions(store.path(&digest), PermissionsExt::from_mode(0o644)).unwrap();
        fs::write(store.path(&digest), b"hel").unwrap();
        assert!(!store.has(&digest, known).unwrap());
        assert!(!store.path(&digest).exists());
    }
}

#[test]
fn what_an_earlier_boot_left_is_read_once_before_it_is_trusted() {
    let (_dir, store) = store();
    // A description of another boot; one that the crash emptied; none.
    let earlier = r#"{"size":5,"label":"x","unsynced_since_boot":"earlier"}"#;
    for description in [Some(earlier), Some(""), None] {
        for (content, survives) in [("hello", true), ("hell\0", false), ("", false)] {
            let digest = put(&store, b"hello", "x");
            let (path, beside) = (store.path(&digest), store.path(&digest).with_extension("json"));
            fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
            fs::write(&path, content).unwrap();
            fs::remove_file(&beside).unwrap();
            if let Some(text) = description {
                fs::write(&beside, text).unwrap();
            }
            assert_eq!(store.has(&digest, None).unwrap(), survives, "{description:?} {content:?}");
            assert_eq!(path.exists(), survives);
            assert!(!survives || !fs::read_to_string(&beside).unwrap().contains("boot"), "it is known to be good now");
        }
    }
}

#[test]
fn verify_finds_and_removes_what_changed() {
    let (_dir, store) = store();
    let (good, bad) = (put(&store, b"good", "good"), put(&store, b"bad", "bad"));
    fs::set_permissions(store.path(&bad), PermissionsExt::from_mode(0o644)).unwrap();
    fs::write(store.path(&bad), b"BAD").unwrap();
    let report = store.verify(true, &Silent).unwrap();
    assert_eq!((report.files, report.bytes, report.broken.len()), (2, 7, 1));
    assert_eq!((report.broken[0].entry.digest, report.broken[0].got), (bad, Digest::of(b"BAD")));
    assert!(store.has(&good, None).unwrap() && !store.has(&bad, None).unwrap());
}

#[test]
fn verify_looks_at_root_directories_and_named_values() {
    let (_dir, store) = store();
    for name in ["good", "bad"] {
        let builder = store.new_tree(&Digest::of(name.as_bytes()), name).unwrap();
        fs::write(builder.path().join("file"), "content").unwrap();
        builder.commit(7).unwrap();
        store.set_meta(name, b"value").unwrap();
    }
    assert_eq!(store.verify(false, &Silent).unwrap().broken, []);
    let bad = Digest::of(b"bad");
    let tree = store.tree(&bad).unwrap().unwrap();
    fs::write(tree.path().join("file"), "Content").unwrap();
    assert!(matches!(tree.condition().unwrap(), Condition::Damaged(_)));
    drop(tree);
    fs::write(store.root().join("meta/bad"), "Value").unwrap();
    let report = store.verify(true, &Silent).unwrap();
    assert_eq!((report.trees, report.values, report.unknown.len()), (2, 2, 0));
    let broken: Vec<_> = report.broken.iter().map(|broken| (broken.entry.kind, broken.entry.label.as_str())).collect();
    assert_eq!(broken, [(StoreEntryKind::Tree, "bad"), (StoreEntryKind::Meta, "bad")]);
    assert!(store.tree(&bad).unwrap().is_none() && store.meta("bad").unwrap().is_none());
    let tree = store.tree(&Digest::of(b"good")).unwrap().unwrap();
    assert_eq!(tree.condition().unwrap(), Condition::Whole);
    // One of an earlier version.
    let entry = tree.path().with_file_name("entry.json");
    fs::write(&entry, r#"{"size":7,"label":"old"}"#).unwrap();
    assert_eq!(store.verify(false, &Silent).unwrap().unknown.len(), 1);
}

#[test]
fn pruning_removes_by_age_then_by_size_oldest_first() {
    let (_dir, store) = store();
    let digests: Vec<Digest> = (0..5_u8).map(|i| put(&store, &[i; 100], &i.to_string())).collect();
    for (digest, days) in digests.iter().zip([40, 30, 20, 10, 0]) {
        age(&store, digest, days);
    }
    let days = |n: u64| Some(Duration::from_secs(n * 86400));
    let dry = PrunePolicy { unused_for: days(25), max_bytes: Some(250), dry_run: true };
    let would: Vec<String> = store.prune(&dry).unwrap().removed.into_iter().map(|e| e.label).collect();
    assert_eq!(would, ["0", "1", "2"]);
    assert_eq!(store.list().unwrap().len(), 5);
    // Use makes it young again.
    store.get(&digests[0], None).unwrap().unwrap();
    let report = store.prune(&PrunePolicy { dry_run: false, ..dry }).unwrap();
    let removed: Vec<&str> = report.removed.iter().map(|e| e.label.as_str()).collect();
    assert_eq!((removed, report.freed_bytes, report.kept, report.kept_bytes), (vec!["1", "2", "3"], 300, 2, 200));
    assert!(store.has(&digests[0], None).unwrap());
    let left: usize = fs::read_dir(store.root().join("sha256"))
        .unwrap()
        .map(|d| fs::read_dir(d.unwrap().path()).unwrap().count())
        .sum();
    assert_eq!(left, 4, "two files and their descriptions");
    assert_eq!(store.prune(&PrunePolicy::default()).unwrap().removed, []);
}

#[test]
fn pruning_takes_trees_too_and_the_caller_may_remove_them() {
    let (_dir, store) = store();
    let digest = Digest::of(b"tree");
    let builder = store.new_tree(&digest, "root").unwrap();
    fs::create_dir(builder.path().join("locked")).unwrap();
    fs::write(builder.path().join("locked/file"), "x").unwrap();
    fs::set_permissions(builder.path().join("locked"), PermissionsExt::from_mode(0o500)).unwrap();
    builder.commit(10).unwrap();
    let mut removed = Vec::new();
    let report = store
        .prune_with(&PrunePolicy { max_bytes: Some(0), ..PrunePolicy::default() }, &mut |path| {
            removed.push(path.to_owned());
            fs::set_permissions(path.join("tree/locked"), PermissionsExt::from_mode(0o700))?;
            fs::remove_dir_all(path)
        })
        .unwrap();
    assert_eq!((report.removed[0].kind, removed.len(), temporary(&store)), (StoreEntryKind::Tree, 1, 0));
    assert!(store.tree(&digest).unwrap().is_none());
}

/// Run by [`a_tree_that_another_process_uses_stays`] as another process: uses a tree until its standard input ends.
#[test]
fn uses_a_tree() {
    let Some(root) = std::env::var_os("STORE_TEST_ROOT") else { return };
    let tree = Store::open(Path::new(&root)).unwrap().tree(&Digest::of(b"tree")).unwrap().unwrap();
    println!("\nuses {}", tree.path().display());
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn a_tree_that_another_process_uses_stays() {
    let (_dir, store) = store();
    let digest = Digest::of(b"tree");
    let builder = |content: &str| {
        let builder = store.new_tree(&digest, "root").unwrap();
        fs::write(builder.path().join("file"), content).unwrap();
        builder
    };
    drop(builder("old").commit(10).unwrap());
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "uses_a_tree", "--nocapture"])
        .env("STORE_TEST_ROOT", store.root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(other.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("uses ")));

    // Pruning keeps it, and reports that.
    let everything = PrunePolicy { max_bytes: Some(0), ..PrunePolicy::default() };
    let report = store.prune(&everything).unwrap();
    assert_eq!((report.removed.len(), report.in_use.len(), report.kept), (0, 1, 1));

    // A build that replaces it leaves the old one whole, under another name.
    let (tree, old) = builder("new").replace(10).unwrap();
    assert_eq!(old.expect("there was one").remove().unwrap(), Removal::InUse);
    drop(Store::open(store.root()).unwrap());
    let aside = || fs::read_dir(store.root().join("tmp")).unwrap().map(|entry| entry.unwrap().path().join("tree/file"));
    assert_eq!(aside().filter_map(|file| fs::read_to_string(file).ok()).collect::<Vec<_>>(), ["old"]);
    assert_eq!(fs::read_to_string(tree.path().join("file")).unwrap(), "new");

    // Once it is not in use, the next process to open the store removes it.
    drop(other.stdin.take());
    assert!(other.wait().unwrap().success());
    drop(Store::open(store.root()).unwrap());
    assert_eq!(temporary(&store), 0);
}

#[test]
fn nothing_is_pruned_while_another_uses_the_store() {
    let (_dir, store) = store();
    put(&store, b"x", "x");
    let other = Store::open(store.root()).unwrap();
    let everything = PrunePolicy { max_bytes: Some(0), ..PrunePolicy::default() };
    assert!(matches!(store.prune(&everything), Err(StoreError::Busy(_))));
    // The failed attempt must not have cost us our own share of the lock.
    assert!(matches!(other.prune(&everything), Err(StoreError::Busy(_))));
    drop(other);
    assert_eq!(store.prune(&everything).unwrap().removed.len(), 1);
}

#[test]
fn named_values_are_listed_and_pruned_by_their_last_use() {
    let (_dir, store) = store();
    store.set_meta("initramfs-smoke", b"archive").unwrap();
    store.set_meta("old", b"selection").unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(90 * 86_400);
    for name in ["initramfs-smoke", "old"] {
        let file = File::open(store.root().join("meta").join(name)).unwrap();
        file.set_modified(long_ago).unwrap();
    }
    // Reading one is using it.
    store.meta("initramfs-smoke").unwrap().unwrap();
    let listed = store.list().unwrap();
    assert!(listed.iter().all(|entry| entry.kind == StoreEntryKind::Meta) && listed.len() == 2, "{listed:?}");
    let policy = PrunePolicy { unused_for: Some(Duration::from_secs(30 * 86_400)), ..PrunePolicy::default() };
    let removed = store.prune(&policy).unwrap().removed;
    assert_eq!(removed.iter().map(|entry| (entry.label.as_str(), entry.size)).collect::<Vec<_>>(), [("old", 32 + 9)]);
    assert_eq!(store.meta("old").unwrap(), None);
    assert_eq!(store.meta("initramfs-smoke").unwrap().as_deref(), Some(&b"archive"[..]));
}

#[test]
fn many_threads_insert_the_same_and_different_content() {
    let (_dir, store) = store();
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let store = &store;
            scope.spawn(move || {
                for i in 0..20_u8 {
                    put(store, &vec![i; 10_000], "shared");
                    put(store, &[thread, i], "own");
                    store.set_meta("last", &[thread; 100]).unwrap();
                }
            });
        }
    });
    let count = |kind| store.list().unwrap().iter().filter(|entry| entry.kind == kind).count();
    assert_eq!((count(StoreEntryKind::File), count(StoreEntryKind::Meta)), (20 + 160, 1));
    assert_eq!(store.verify(false, &Silent).unwrap().broken, []);
    let last = store.meta("last").unwrap().unwrap();
    assert!(last.len() == 100 && last.iter().all(|b| *b == last[0]));
}

/// Runs one of the `child_` tests below in a process of its own.
fn child(name: &str, root: &std::path::Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--ignored", "--nocapture", "--test-threads=1"]).env("STORE_TEST_ROOT", root);
    command
}

/// Starts a child, waits until it says "ready", and kills it.
fn kill_when_ready(name: &str, root: &std::path::Path, check: impl FnOnce()) {
    let mut process = child(name, root).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains("ready")), "the child ended early");
    check();
    process.kill().unwrap();
    process.wait().unwrap();
}

fn child_store() -> Store {
    Store::open(std::env::var_os("STORE_TEST_ROOT").expect("run by another test")).unwrap()
}

#[test]
#[ignore = "run by killed_in_the_middle_of_an_insertion"]
fn child_inserts_slowly() {
    struct Stuck(usize);
    impl Read for Stuck {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0 == 0 {
                println!("ready");
                io::stdout().flush()?;
                std::thread::sleep(Duration::from_secs(60));
            }
            let count = self.0.min(buffer.len());
            buffer[..count].fill(b'x');
            self.0 -= count;
            Ok(count)
        }
    }
    let store = child_store();
    let builder = store.new_tree(&Digest::of(b"tree"), "").unwrap();
    fs::write(builder.path().join("file"), "x").unwrap();
    store.insert(Stuck(500_000), None, None, "x").unwrap();
}

#[test]
fn killed_in_the_middle_of_an_insertion() {
    let (_dir, store) = store();
    kill_when_ready("child_inserts_slowly", store.root(), || {
        assert_eq!(temporary(&store), 2);
        Store::open(store.root()).unwrap();
        assert_eq!(temporary(&store), 2, "what a living process writes is left alone");
    });
    assert_eq!(store.list().unwrap(), []);
    let next = Store::open(store.root()).unwrap();
    assert_eq!(temporary(&next), 0);
    let digest = put(&next, &vec![b'x'; 500_000], "x");
    assert!(next.has(&digest, Some(500_000)).unwrap());
    assert!(next.new_tree(&Digest::of(b"tree"), "").unwrap().commit(0).is_ok());
}

#[test]
#[ignore = "run by a_lock_ends_with_its_process"]
fn child_holds_a_lock() {
    let path = child_store().root().join("build.lock");
    let _lock = Lock::acquire(&path, "building smoke", Wait::No, &Silent).unwrap();
    println!("ready");
    io::stdout().flush().unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_lock_ends_with_its_process() {
    let (_dir, store) = store();
    let path = store.root().join("build.lock");
    kill_when_ready("child_holds_a_lock", store.root(), || {
        let error = Lock::acquire(&path, "me", Wait::No, &Silent).unwrap_err();
        let LockError::Held { holder: Some(holder), .. } = &error else { panic!("{error}") };
        assert_ne!(holder.pid, std::process::id());
        assert_eq!(holder.purpose, "building smoke");
    });
    Lock::acquire(&path, "me", Wait::Forever, &Silent).unwrap();
}

#[test]
#[ignore = "run by a_full_disk_is_told_with_path_and_need"]
fn child_fills_the_disk() {
    let store = child_store();
    // A file size limit gives EFBIG like a full disk gives ENOSPC, without root's help.
    let limit = rustix::process::Rlimit { current: Some(300_000), maximum: Some(300_000) };
    rustix::process::setrlimit(rustix::process::Resource::Fsize, limit).unwrap();
    let error = store.insert(io::repeat(1), None, Some(1_000_000), "x").unwrap_err();
    assert!(matches!(error, store::StoreError::NoSpace { .. }), "{error}");
    assert!(error.to_string().contains(&format!("writing {}/tmp/", store.root().display())), "{error}");
    assert!(error.to_string().contains("more bytes are needed"), "{error}");
}

#[test]
fn a_full_disk_is_told_with_path_and_need() {
    let (_dir, store) = store();
    // SIGXFSZ would end the child before the write could fail.
    let script = "trap '' XFSZ; exec \"$0\" \"$@\"";
    let direct = child("child_fills_the_disk", store.root());
    let output = Command::new("sh")
        .args(["-c", script])
        .arg(direct.get_program())
        .args(direct.get_args())
        .env("STORE_TEST_ROOT", store.root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!((store.list().unwrap().len(), temporary(&store)), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn whatever_goes_in_comes_out(contents: Vec<Vec<u8>>) {
        let (_dir, store) = store();
        for content in &contents {
            let digest = put(&store, content, "x");
            prop_assert_eq!(digest, Digest::of(content));
            prop_assert_eq!(&fs::read(store.path(&digest)).unwrap(), content);
        }
        let unique: std::collections::HashSet<_> = contents.iter().collect();
        prop_assert_eq!(store.list().unwrap().len(), unique.len());
    }
}
