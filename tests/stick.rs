//! An image on a stick that is larger than it, with jobs on the stick and no network: what outlives a restart.

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use diskimage::gpt;
use protocol::{ResultList, Verdict};
use rocbed_tests::{smoke_image, tool};
use tempfile::TempDir;
use vm::{Accelerator, Boot, Bus, Disk, End, Machine};

/// Bytes of the stick.
const SIZE: u64 = 2 << 30;

/// A stick in a file.
struct Stick {
    directory: TempDir,
}

impl Stick {
    /// The smoke image on a stick with a job list and the trees that it speaks of.
    fn new(jobs: &str, settings: &str) -> Self {
        let stick = Self { directory: tempfile::tempdir().expect("a directory") };
        let image = smoke_image().join("disk.img");
        tool("cp", ["--sparse=always".as_ref(), image.as_os_str(), stick.path().as_os_str()]);
        File::options().write(true).open(stick.path()).and_then(|file| file.set_len(SIZE)).expect("a larger stick");
        for (name, text) in [("jobs.toml", jobs), ("rocbed.toml", settings)] {
            let path = stick.directory.path().join(name);
            fs::write(&path, text).expect("a file");
            stick.copy(&path, &format!("::{name}"));
        }
        stick
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("stick.img")
    }

    /// Puts a file or directory on the stick's first partition, as anybody can who plugs it in.
    fn copy(&self, from: &Path, to: &str) {
        let esp = format!("{}@@1M", self.path().display());
        tool("mcopy", ["-s", "-i", &esp, &from.display().to_string(), to]);
    }

    /// Starts a machine from it, and returns what it said. It is killed at a line that has `stop_at` in it.
    fn boot(&self, stop_at: Option<&'static str>) -> String {
        let said = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&said);
        let accelerator = Accelerator::probe(None).expect("an accelerator").accelerator;
        let machine = Machine::new(accelerator)
            .cpus(1)
            .boot(Boot::Uefi)
            .disk(Disk::writable(self.path(), Bus::UsbStorage))
            .deadline(Duration::from_secs(400));
        let running = machine.start(move |line| {
            heard.lock().unwrap_or_else(PoisonError::into_inner).push_str(&format!("{line}\n"));
            if stop_at.is_some_and(|text| line.contains(text)) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        let exit = running.and_then(vm::Running::wait).expect("a virtual machine");
        let said = said.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let expected = if stop_at.is_some() { End::Stopped } else { End::Exited(0) };
        assert_eq!(exit.end, expected, "{said}\n{}", exit.messages);
        said
    }

    /// The data partition, as e2fsprogs name it.
    fn data(&self) -> String {
        let table = gpt::read(&mut File::open(self.path()).expect("the stick")).expect("a partition table");
        assert_eq!(table.copies, gpt::Copies::Both);
        let (_, data) = table.partitions.last().expect("partitions");
        format!("{}?offset={}", self.path().display(), data.start)
    }

    /// What is in a directory of the data partition.
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

    /// No tool finds anything wrong with it.
    fn check(&self) {
        tool("e2fsck", ["-fn", &self.data()]);
        let verdict = tool("sgdisk", ["-v", &self.path().display().to_string()]);
        assert!(verdict.contains("No problems found"), "{verdict}");
    }
}

fn tree(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/trees").join(name)
}

const SETTINGS: &str = "gpu = \"gfx1030\"\nwhen-done = \"power-off\"\nset-clock = false\n";

#[test]
fn jobs_from_the_stick_leave_results_on_it_and_are_run_once() {
    let jobs = "[[job]]\npath = \"passes\"\n[[job]]\npath = \"skips\"\n[[job]]\npath = \"passes\"\nid = \"other\"\n\
        gpu = [\"gfx942\"]\n";
    let stick = Stick::new(jobs, SETTINGS);
    for name in ["passes", "skips"] {
        stick.copy(&tree(name), "::");
    }
    let said = stick.boot(None);
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

    // The bundle is what the summary says it is.
    let out = stick.directory.path().join("passes.tar.zst");
    let dump = format!("dump /results/{}/passes.tar.zst {}", &results.list[..12], out.display());
    tool("debugfs", ["-R", &dump, &stick.data()]);
    assert_eq!(fs::metadata(&out).expect("a bundle").len(), results.jobs[0].size);
    let sha256 = tool("sha256sum", [&out]);
    assert!(sha256.starts_with(results.jobs[0].sha256.as_deref().expect("a digest")), "{sha256}");

    // Once more: nothing is made, nothing is run.
    let again = stick.boot(None);
    assert!(again.contains("results are kept on /dev/sda3") && again.contains("powering off"), "{again}");
    for text in ["growing", "making a file system", "job passes", "job skips"] {
        assert!(!again.contains(text), "{text}:\n{again}");
    }
    assert!(again.contains("(before the restart)"), "{again}");
    stick.check();
    assert_eq!(stick.results().jobs[..2], results.jobs[..2]);
}

#[test]
fn a_machine_that_dies_goes_on_where_it_was() {
    let stick = Stick::new("[[job]]\npath = \"passes\"\n[[job]]\npath = \"passes\"\nid = \"second\"\n", SETTINGS);
    stick.copy(&tree("passes"), "::");
    // The power goes while the file system is made, while a job runs, and after one has ended.
    stick.boot(Some("making a file system"));
    let said = stick.boot(Some("test cases"));
    assert!(said.contains("results are kept on /dev/sda3") && said.contains("job passes (1 of 2)"), "{said}");
    let said = stick.boot(Some("job second (2 of 2)"));
    assert!(said.contains("the machine stopped or hung while job passes ran"), "{said}");
    let said = stick.boot(None);
    assert!(!said.contains("job passes (1 of 2)"), "{said}");
    assert!(said.contains("2 of 2 jobs of jobs.toml are done"), "{said}");
    stick.check();
    let results = stick.results();
    assert_eq!(results.jobs.len(), 2);
    assert!(results.jobs.iter().all(|job| job.verdict == Some(Verdict::Pass)), "{results:?}");
    assert!(results.jobs.iter().any(|job| !job.interruptions.is_empty()), "{results:?}");
}
