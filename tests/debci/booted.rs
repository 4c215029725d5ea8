//! A booted image as a worker of debci.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rocbed_tests::{Debci, rocbed, smoke_image};
use serde_json::json;

use crate::{PATIENCE, status};

/// A machine with a simulated GPU of another target than the other workers here, so that its jobs are its own. It runs while
/// the other tests do.
pub struct Booted {
    machine: Child,
    console: PathBuf,
    /// A job to run, and one that cannot be.
    runs: [u64; 2],
}

impl Booted {
    /// Enqueues its jobs, and starts the machine, which switches itself off when they are done.
    pub fn start(debci: &Debci, key: &str) -> Self {
        let tests = json!([{ "package": "gzip", "trigger": "rocr-runtime/7.2.4" }]);
        let runs = ["unstable", "experimental"].map(|suite| {
            let runs = debci.enqueue_by_api(key, &format!("{suite}/amd64+gfx1100"), &tests);
            runs.first().copied().expect("a job")
        });
        let console = debci.shared().join("console.log");
        let out = File::create(&console).expect("a file for the console");
        // QEMU shows this machine's loopback interface as 10.0.2.2.
        let inside = |address: String| address.replace("127.0.0.1", "10.0.2.2");
        let words = format!(
            "rocbed.name=booted rocbed.debci={} rocbed.debci-api={} rocbed.when-done=power-off",
            inside(debci.broker()),
            inside(debci.web())
        );
        let mut command = rocbed(["boot".as_ref(), smoke_image().as_os_str()])
            .args(&["--keep", "--gpu", "gfx1100", "--memory", "2GiB", "--timeout", "1800", "--ignore-valid-until"])
            .args(&["--append", &words])
            .into_command();
        // In a separate process group, so that QEMU ends too.
        let machine = command.stdout(out).stderr(Stdio::null()).process_group(0).spawn().expect("a machine");
        Self { machine, console, runs }
    }

    /// Waits until the machine has switched itself off, and looks at what debci shows.
    pub fn ends_with_results(mut self, debci: &Debci) {
        let began = Instant::now();
        while self.machine.try_wait().expect("waiting").is_none() {
            assert!(began.elapsed() < 2 * PATIENCE, "the machine is still there:\n{}", self.console());
            std::thread::sleep(Duration::from_millis(200));
        }
        let [run, refused] = self.runs;
        let result = (status(debci, run), status(debci, refused));
        // What passes with a simulated GPU is told as neutral.
        assert_eq!(result, ("neutral".into(), "tmpfail".into()), "{}", self.console());
        let page = debci.page("/packages/g/gzip/unstable/amd64+gfx1100/");
        assert!(page.contains("<i class='neutral fa "), "{page}");
        let log = debci.page(&format!("/data/autopkgtest/unstable/amd64+gfx1100/g/gzip/{run}/log.gz"));
        assert!(!log.is_empty());
        let about = debci.query(&format!(
            "select workers.name, jobs.trigger from jobs join workers on workers.id = jobs.worker_id where run_id = {run}"
        ));
        assert_eq!(about.trim(), "booted|rocr-runtime/7.2.4");
    }

    fn console(&self) -> String {
        fs::read_to_string(&self.console).unwrap_or_default()
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        // After a normal end there is nothing to kill.
        let group = format!("-{}", self.machine.id());
        drop(std::process::Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status());
        drop(self.machine.wait());
    }
}
