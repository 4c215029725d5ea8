//! An image on a larger stick, with jobs on the stick and no network: what survives a restart, and a power cut at any
//! time.

use std::fs::{self, File};
use std::io;
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use diskimage::gpt;
use protocol::{Listed, ResultList, Verdict};
use rocbed_tests::{Cut, MonitorSocket, Random, WriteLog, command_tree, fixture_tree, smoke_image, tool};
use rustix::fs::{SeekFrom, seek};
use stick::collect::{CollectError, collect};
use tempfile::TempDir;
use vm::{Accelerator, Boot, Bus, Disk, End, Machine};

/// Size of the stick, in bytes.
const SIZE: u64 = 2 << 30;

const MIB: u64 = 1 << 20;

/// A stick, simulated with a file.
struct Stick {
    directory: TempDir,
}

impl Stick {
    /// Creates a stick with the smoke image, a job list and its source trees.
    fn new(jobs: &str, settings: &str) -> Self {
        let stick = Self { directory: tempfile::tempdir().expect("a directory") };
        let image = smoke_image().join("disk.img");
        tool("cp", ["--sparse=always".as_ref(), image.as_os_str(), stick.path().as_os_str()]);
        File::options().write(true).open(stick.path()).and_then(|file| file.set_len(SIZE)).expect("a larger stick");
        for (name, text) in [("jobs.toml", jobs), ("rocbed.toml", settings)] {
            stick.write(name, text);
        }
        stick
    }

    /// Writes a file on the stick's first partition.
    fn write(&self, name: &str, text: &str) {
        let path = self.directory.path().join(name);
        fs::write(&path, text).expect("a file");
        self.copy(&path, &format!("::{name}"));
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("stick.img")
    }

    /// Copies a file or directory to the stick's first partition, as a user can on any machine.
    fn copy(&self, from: &Path, to: &str) {
        let esp = format!("{}@@1M", self.path().display());
        tool("mcopy", ["-s", "-o", "-i", &esp, &from.display().to_string(), to]);
    }

    /// Creates a stick with the same content.
    fn copy_of(other: &Self) -> Self {
        let stick = Self { directory: tempfile::tempdir().expect("a directory") };
        tool("cp", ["--sparse=always".as_ref(), other.path().as_os_str(), stick.path().as_os_str()]);
        stick
    }

    /// Starts a machine from it through firmware; returns the output until the machine powers off.
    fn boot(&self) -> String {
        self.boot_from(Boot::Uefi)
    }

    fn boot_from(&self, boot: Boot) -> String {
        let said = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&said);
        let machine = machine().boot(boot).disk(Disk::writable(self.path(), Bus::UsbStorage));
        run(&machine, move |line| {
            heard.lock().unwrap_or_else(PoisonError::into_inner).push_str(&format!("{line}\n"));
        });
        said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Starts a machine that falls asleep. When it does, somebody wakes it, and ends it by Ctrl-Alt-Delete. Returns the output.
    ///
    /// With QEMU 7.2 and `SeaBIOS`, the registers for power are gone when the machine is awake again: the power button does nothing,
    /// another suspend ends at once, and the kernel cannot switch off. So QEMU is ended when the kernel is done.
    fn boot_wake_and_end(&self) -> String {
        let said = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&said);
        let socket = MonitorSocket::below(self.directory.path());
        let machine = machine().boot(without_firmware()).disk(Disk::writable(self.path(), Bus::UsbStorage));
        let machine = socket.plugged_in(machine);
        let (mut monitor, mut has_slept) = (None, false);
        run(&machine, move |line| {
            heard.lock().unwrap_or_else(PoisonError::into_inner).push_str(&format!("{line}\n"));
            // From the first line on, so that no event is missed.
            let monitor = monitor.get_or_insert_with(|| socket.connect());
            if line.contains("it sleeps for") && !has_slept {
                has_slept = true;
                monitor.wait_for("SUSPEND");
                monitor.command("system_wakeup");
            }
            if line.contains("awake again") {
                monitor.press(&["ctrl", "alt", "delete"]);
            }
            if line.contains("reboot: ") {
                monitor.command("quit");
            }
        });
        said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Like `boot`, but without firmware, which writes nothing, and with a log of all writes of the machine. Returns
    /// the log, and the machine's output lines, each with the log's length at that time.
    fn boot_and_log(&self) -> (WriteLog, Vec<(u64, String)>) {
        let said = Arc::new(Mutex::new(Vec::new()));
        let (heard, path) = (Arc::clone(&said), self.directory.path().join("log"));
        File::create(&path).expect("a file for the log");
        let mut machine = machine().boot(without_firmware());
        for (option, value) in [
            (
                "-blockdev",
                format!("driver=file,node-name=content,cache.no-flush=on,filename={}", self.path().display()),
            ),
            ("-blockdev", format!("driver=file,node-name=log,cache.no-flush=on,filename={}", path.display())),
            ("-blockdev", "driver=blklogwrites,node-name=stick,file=content,log=log".to_owned()),
            ("-device", "qemu-xhci,id=xhci".to_owned()),
            ("-device", "usb-storage,bus=xhci.0,removable=on,drive=stick".to_owned()),
        ] {
            machine = machine.argument(option).argument(value);
        }
        let log = path.clone();
        run(&machine, move |line| {
            // Some of it may have been written after the line: the machine does not wait for the reader.
            let length = fs::metadata(&log).map_or(u64::MAX, |metadata| metadata.len());
            heard.lock().unwrap_or_else(PoisonError::into_inner).push((length, line.to_owned()));
        });
        let said = said.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (WriteLog::read(&path), said)
    }

    fn table(&self) -> gpt::Table {
        gpt::read(&mut File::open(self.path()).expect("the stick")).expect("a partition table")
    }

    /// The data partition, in the syntax of e2fsprogs.
    fn data(&self) -> String {
        let table = self.table();
        assert_eq!(table.copies, gpt::Copies::Both);
        let (_, data) = table.partitions.last().expect("partitions");
        format!("{}?offset={}", self.path().display(), data.start)
    }

    /// Lists a directory of the data partition.
    fn list(&self, directory: &str) -> Vec<String> {
        let listed = tool("debugfs", ["-R", &format!("ls -p {directory}"), &self.data()]);
        let names = listed.lines().filter_map(|line| line.split('/').nth(5));
        names.filter(|name| !name.starts_with('.')).map(str::to_owned).collect()
    }

    fn results(&self) -> ResultList {
        let [list] = self.list("/results").try_into().expect("results of one list");
        let out = self.directory.path().join("results.json");
        let dump = format!("dump /results/{list}/results.json {}", out.display());
        tool("debugfs", ["-R", &dump, &self.data()]);
        serde_json::from_slice(&fs::read(out).expect("results.json")).expect("results")
    }

    /// Checks with several tools that it has no errors.
    fn check(&self) {
        tool("e2fsck", ["-fn", &self.data()]);
        let verdict = tool("sgdisk", ["-v", &self.path().display().to_string()]);
        assert!(verdict.contains("No problems found"), "{verdict}");
    }
}

/// Loads the image's kernel directly with QEMU, as firmware takes half of the starting time.
fn without_firmware() -> Boot {
    let image = smoke_image();
    let cmdline = fs::read_to_string(image.join("cmdline")).expect("a command line").trim().to_owned();
    Boot::Direct { kernel: image.join("vmlinuz"), initrd: Some(image.join("initrd.img")), cmdline }
}

fn machine() -> Machine {
    let accelerator = Accelerator::probe(None).expect("an accelerator").accelerator;
    Machine::new(accelerator).cpus(1).deadline(Duration::from_secs(400))
}

/// Runs a machine until it switches itself off.
fn run(machine: &Machine, mut on_line: impl FnMut(&str) + Send + 'static) {
    let said = Arc::new(Mutex::new(String::new()));
    let heard = Arc::clone(&said);
    let running = machine.start(move |line| {
        heard.lock().unwrap_or_else(PoisonError::into_inner).push_str(&format!("{line}\n"));
        on_line(line);
        ControlFlow::Continue(())
    });
    let exit = running.and_then(vm::Running::wait).expect("a virtual machine");
    let said = said.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(exit.end, End::Exited(0), "{said}\n{}", exit.messages);
}

const SETTINGS: &str = "gpu = \"gfx1030\"\nwhen-done = \"power-off\"\nset-clock = false\n";

#[test]
fn jobs_from_the_stick_leave_results_on_it_and_are_run_once() {
    let jobs = "[[job]]\npath = \"passes\"\n[[job]]\npath = \"skips\"\n[[job]]\npath = \"passes\"\nid = \"other\"\n\
        gpu = [\"gfx942\"]\n";
    let stick = Stick::new(jobs, SETTINGS);
    for name in ["passes", "skips"] {
        stick.copy(&fixture_tree(name), "::");
    }
    let said = stick.boot();
    for text in [
        "growing /dev/sda3 from 64 MiB to ",
        "making a file system of 1",
        "results are kept on /dev/sda3, ",
        "jobs from jobs.toml on the stick",
        "job passes (1 of 3)",
        "pass passes ",
        "neutral skips ",
        "2 of 3 jobs of jobs.toml are done, their results are on the stick",
        "powering off",
    ] {
        assert!(said.contains(text), "{text}:\n{said}");
    }
    stick.check();
    let results = stick.results();
    let known: Vec<_> = results.jobs.iter().map(|job| (job.job.as_str(), job.verdict)).collect();
    let expected = [("passes", Some(Verdict::Pass)), ("skips", Some(Verdict::Neutral)), ("other", None)];
    assert_eq!(known, expected, "{said}");
    assert_eq!(results.jobs[2].summary, "it needs gfx942, and this machine has gfx1030");

    // The bundle agrees with the summary.
    let out = stick.directory.path().join("passes.tar.zst");
    let dump = format!("dump /results/{}/passes.tar.zst {}", results.list.prefix(12), out.display());
    tool("debugfs", ["-R", &dump, &stick.data()]);
    assert_eq!(fs::metadata(&out).expect("a bundle").len(), results.jobs[0].size);
    let sha256 = tool("sha256sum", [&out]);
    assert!(sha256.starts_with(&results.jobs[0].sha256.expect("a digest").to_string()), "{sha256}");

    // In another start, nothing is created and nothing is run, though the machine has the GPU for the last job: it is outside
    // of its owner's hours, and suspends to memory, with its root on the stick.
    let hour = (std::time::UNIX_EPOCH.elapsed().expect("a time").as_secs() / 3600 + 12) % 24;
    let hours = format!("hours = \"{hour:02}:00-{hour:02}:30\"\nwhen-idle = \"suspend\"\nidle-after = \"5s\"\n");
    stick.write("rocbed.toml", &format!("{}{hours}", SETTINGS.replace("gfx1030", "gfx942")));
    let again = stick.boot_wake_and_end();
    for text in [
        "results are kept on /dev/sda3",
        &format!("hours: outside its hours ({hour:02}:00-{hour:02}:30); jobs again from "),
        // For 10 to 12 hours: the clock's alarm was set.
        "it has had no job for 5s: it sleeps for 1",
        "awake again",
        "going to restart: Ctrl-Alt-Delete",
    ] {
        assert!(again.contains(text), "{text}:\n{again}");
    }
    for text in ["growing", "making a file system", "job passes", "job skips", "job other"] {
        assert!(!again.contains(text), "{text}:\n{again}");
    }
    assert!(again.contains("(before the restart)"), "{again}");
    stick.check();
    assert_eq!(stick.results().jobs[..2], results.jobs[..2]);
}

/// Number of positions in the log of writes at which the power is cut.
const CUTS: usize = 60;

#[test]
fn the_power_may_be_cut_at_any_point_of_a_run() {
    let jobs: String = JOBS.iter().map(|id| format!("[[job]]\npath = \"quick\"\nid = \"{id}\"\n")).collect();
    let stick = Stick::new(&jobs, SETTINGS);
    stick.copy(&command_tree(stick.directory.path(), "quick", "echo quick"), "::");
    let recorded = Stick::copy_of(&stick);
    let (log, said) = recorded.boot_and_log();
    let text: String = said.iter().map(|(_, line)| format!("{line}\n")).collect();
    recorded.check();
    // If the kernel believed that the stick has no cache, it would not flush, and this test would prove nothing.
    assert!(log.flushes() > 20, "{} flushes\n{text}", log.flushes());
    let when = |words: &str| {
        let found = said.iter().find(|(_, line)| line.contains(words));
        log.count_at(found.unwrap_or_else(|| panic!("{words:?} was not said:\n{text}")).0)
    };
    let (formats, is_made) = (when("making a file system of"), when("results are kept on "));
    let runs = when("test only");
    let ended = JOBS.map(|id| when(&format!("pass {id} ")));

    let mut random = Random::announced();
    let mut points: Vec<_> =
        (0..CUTS - JOBS.len() - 8).map(|_| is_made + random.below((log.count() - is_made) as u64) as usize).collect();
    points.extend((0..8).map(|_| random.below(is_made as u64) as usize));
    // As soon as the end is reported.
    points.extend(ended);
    let bench = Bench::new(&stick, &recorded);
    let mut seen = [0; 3];
    for point in points {
        let (cut, results) = bench.cut(&log, point, &mut random, is_made);
        for (sum, count) in seen.iter_mut().zip([cut.kept, cut.torn, cut.lost]) {
            *sum += count;
        }
        for (id, _) in JOBS.iter().zip(ended).filter(|(_, ended)| *ended <= point) {
            let listed = results.iter().find(|listed| listed.job == *id && listed.verdict == Some(Verdict::Pass));
            assert!(
                listed.is_some_and(|listed| listed.bundle.is_some()),
                "cut at {point}, {cut:?}: {id} of {results:?}"
            );
        }
    }
    println!("{} writes, {} flushes; cached writes kept, torn, lost: {seen:?}", log.count(), log.flushes());
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");

    // Three of them are booted: one from while the file system was made, one from while the first job ran, and one from
    // just after its end.
    let begin_again = |from: usize, to: usize, boot: Boot, random: &mut Random| {
        let point = from + random.below((to - from) as u64) as usize;
        let stick = Stick::copy_of(&stick);
        let disk = File::options().read(true).write(true).open(stick.path()).expect("the stick");
        log.replay(point, &bench.superblock, random, &disk);
        let said = stick.boot_from(boot);
        assert!(said.contains("2 of 2 jobs of jobs.toml are done"), "cut at {point}:\n{said}");
        stick.check();
        let results = stick.results();
        assert_eq!(results.jobs.len(), JOBS.len());
        assert!(results.jobs.iter().all(|job| job.verdict == Some(Verdict::Pass)), "cut at {point}: {results:?}");
        (said, results)
    };
    let (said, _) = begin_again(formats, formats + (is_made - formats) / 2, Boot::Uefi, &mut random);
    assert!(said.contains("making a file system") && said.contains("job one (1 of 2)"), "{said}");
    let (said, results) = begin_again(runs, runs + 1, without_firmware(), &mut random);
    assert!(!said.contains("making a file system") && said.contains("results are kept on /dev/sda3"), "{said}");
    assert!(said.contains("the machine stopped or hung while job one ran"), "{said}");
    assert!(results.jobs.iter().any(|job| job.job == "one" && !job.interruptions.is_empty()), "{results:?}");
    let (said, results) = begin_again(ended[0], ended[0] + 1, without_firmware(), &mut random);
    assert!(!said.contains("job one (1 of 2)") && said.contains("(before the restart)"), "{said}");
    let first = |results: &[Listed]| results.iter().find(|listed| listed.job == "one").cloned();
    assert_eq!(first(&results.jobs), first(&recorded.results().jobs));
}

const JOBS: [&str; 2] = ["one", "two"];

/// Files for examining a stick after a power cut.
struct Bench {
    directory: TempDir,
    /// The stick before any write, without the contents of its first two partitions, to which nothing is written.
    bare: PathBuf,
    /// The two sectors with the superblock of the data partition's file system. Its checksum is in the second one, so
    /// ext4 expects a disk to write both or none.
    superblock: Range<u64>,
}

impl Bench {
    fn new(before: &Stick, after: &Stick) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let bare = directory.path().join("bare.img");
        let (_, data) = after.table().partitions.pop().expect("partitions");
        let (from, to) = (File::open(before.path()).expect("a stick"), File::create(&bare).expect("a stick"));
        to.set_len(SIZE).expect("a stick");
        // Both partition tables; the second one is where the image ended.
        let end = fs::metadata(smoke_image().join("disk.img")).expect("an image").len();
        for start in [0, end - MIB] {
            let mut bytes = vec![0; MIB as usize];
            from.read_exact_at(&mut bytes, start).expect("a partition table");
            to.write_all_at(&bytes, start).expect("a partition table");
        }
        Self { directory, bare, superblock: data.start + 1024..data.start + 2048 }
    }

    /// Cuts the power and checks the stick: the partition table is intact, the file system can be repaired from its
    /// journal or does not exist yet, and the bundle of each reported result is as it was written.
    fn cut(&self, log: &WriteLog, point: usize, random: &mut Random, is_made: usize) -> (Cut, Vec<Listed>) {
        let path = self.directory.path().join("cut.img");
        tool("cp", ["--sparse=always".as_ref(), self.bare.as_os_str(), path.as_os_str()]);
        let disk = File::options().read(true).write(true).open(&path).expect("a stick");
        let cut = log.replay(point, &self.superblock, random, &disk);
        let where_it_was = format!("cut at {point} of {}, {cut:?}", log.count());
        let table = gpt::read(&mut &disk).unwrap_or_else(|error| panic!("{where_it_was}: {error}"));
        let names: Vec<_> = table.partitions.iter().map(|(_, partition)| partition.name.as_str()).collect();
        assert_eq!(names, ["rocbed-esp", "rocbed-root", "rocbed-data"], "{where_it_was}");
        // Linux uses only the first one.
        assert!(!matches!(table.copies, gpt::Copies::OnlyBackup(_)), "{where_it_was}: {:?}", table.copies);

        let mut magic = [0; 2];
        disk.read_exact_at(&mut magic, self.superblock.start + 56).expect("a superblock");
        if u16::from_le_bytes(magic) != 0xef53 {
            assert!(point < is_made, "{where_it_was}: there is no file system");
            return (cut, Vec::new());
        }
        // In a separate file: e2fsck forgets the offset when it opens the file system again after the journal.
        let (start, length) = (self.superblock.start - 1024, SIZE - self.superblock.start + 1024);
        let data = self.directory.path().join("data.img");
        let part = File::options().read(true).write(true).create(true).truncate(true).open(&data).expect("a file");
        part.set_len(length).expect("a file");
        copy(&disk, start, &part, 0, length);
        mend(&data, &where_it_was);
        tool("e2fsck", ["-fn".as_ref(), data.as_os_str()]);
        copy(&part, 0, &disk, start, length);
        if point >= is_made {
            let verdict = tool("sgdisk", ["-v", &path.display().to_string()]);
            assert!(verdict.contains("No problems found"), "{where_it_was}: {verdict}");
        }
        let into = tempfile::tempdir().expect("a directory");
        let collected = match collect(&disk, into.path()) {
            Ok(collected) => collected,
            Err(CollectError::Empty) => Vec::new(),
            Err(error) => panic!("{where_it_was}: {error}"),
        };
        let mut results = Vec::new();
        for list in directories(&into.path().join("results")) {
            let Ok(bytes) = fs::read(list.join("results.json")) else { continue };
            let known: ResultList =
                serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{where_it_was}: {error}"));
            for listed in known.jobs {
                let bundle = listed.bundle.as_ref().map(|name| list.join(name));
                let found = collected.iter().find(|one| Some(&one.to) == bundle.as_ref());
                let is_right = found.is_some_and(|one| one.intact == Some(true) && one.size == listed.size);
                assert!(bundle.is_none() || is_right, "{where_it_was}: {listed:?} of {collected:?}");
                results.push(listed);
            }
        }
        (cut, results)
    }
}

/// Copies everything except holes.
fn copy(from: &File, start: u64, to: &File, target: u64, length: u64) {
    let end = start + length;
    let mut at = start;
    // An error means that there is no more data.
    while let Ok(data) = seek(from, SeekFrom::Data(at)) {
        if data >= end {
            break;
        }
        at = seek(from, SeekFrom::Hole(data)).expect("an end of the data").min(end);
        let mut bytes = vec![0; (at - data) as usize];
        from.read_exact_at(&mut bytes, data).expect("reading a disk");
        to.write_all_at(&bytes, data - start + target).expect("writing a disk");
    }
}

fn directories(path: &Path) -> Vec<PathBuf> {
    match fs::read_dir(path) {
        Ok(entries) => entries.map(|entry| entry.expect("a directory").path()).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

/// Runs e2fsck to do what the kernel does when mounting: replay the journal, release files that were deleted while
/// open, and sum up the free space of all block groups, as the journal does not contain the sums. It must find nothing
/// else to repair; in particular each group's own count must be right.
fn mend(data: &Path, where_it_was: &str) {
    let output = Command::new("/usr/sbin/e2fsck")
        .arg("-fy")
        .arg(data)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .expect("e2fsck (package e2fsprogs)");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let begins = [
        "e2fsck ",
        "Pass ",
        "rocbed-data: recovering journal",
        "Clearing orphaned inode ",
        // For a group it would be "wrong for group".
        "Free blocks count wrong (",
        "Free inodes count wrong (",
    ];
    let expected = |line: &str| {
        begins.iter().any(|start| line.starts_with(start))
            || ["", "Fix? yes", "rocbed-data: ***** FILE SYSTEM WAS MODIFIED *****"].contains(&line.trim())
            || line.starts_with("rocbed-data: ") && line.ends_with(" blocks")
    };
    let strange: Vec<_> = text.lines().filter(|line| !expected(line)).collect();
    assert!(matches!(output.status.code(), Some(0 | 1)) && strange.is_empty(), "{where_it_was}: {strange:#?}\n{text}");
}
