//! What people at the machine see: lines on every console, and the same in the kernel's log.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

/// All consoles of the kernel, and its log. Writing never fails: where nobody listens, nothing can be done.
#[derive(Debug)]
pub struct Console {
    outputs: Vec<File>,
    log: Option<File>,
}

impl Console {
    /// Those that are there now; call again once /dev and /sys are mounted.
    pub fn open() -> Self {
        let open = |path: &Path| OpenOptions::new().write(true).open(path).ok();
        let active = std::fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
        let mut outputs: Vec<File> =
            active.split_ascii_whitespace().filter_map(|name| open(&Path::new("/dev").join(name))).collect();
        if outputs.is_empty() {
            outputs.extend(open(Path::new("/dev/console")));
        }
        Self { outputs, log: open(Path::new("/dev/kmsg")) }
    }

    /// One line, or several: each begins with `rocbed-init: `, so that a script can find it.
    pub fn say(&mut self, text: &str) {
        for line in text.lines() {
            for output in &mut self.outputs {
                // One write a line, so that the kernel's own messages don't get in between.
                drop(output.write_all(format!("rocbed-init: {line}\r\n").as_bytes()));
            }
            if let Some(log) = &mut self.log {
                // Level debug: the kernel does not print it on the consoles a second time.
                drop(log.write_all(format!("<15>rocbed-init: {line}\n").as_bytes()));
            }
        }
    }

    /// Nobody sees it; for tests.
    #[cfg(test)]
    pub const fn nowhere() -> Self {
        Self { outputs: Vec::new(), log: None }
    }
}
