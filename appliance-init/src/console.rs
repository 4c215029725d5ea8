//! Shows messages to people at the machine: lines on every console, and the same in the kernel's log.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use crate::output::Output;

/// All consoles of the kernel, and its log. Errors in writing are ignored: there is no other place to report them.
#[derive(Debug)]
pub struct Console {
    outputs: Vec<Output>,
    displays: Vec<Output>,
    log: Option<File>,
}

impl Console {
    /// Opens the consoles that are there now; call it again once /dev and /sys are mounted.
    pub fn open() -> Self {
        let active = std::fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
        let (displays, outputs): (Vec<_>, Vec<_>) = active.split_ascii_whitespace().partition(|name| is_display(name));
        let open_all = |names: Vec<&str>| {
            names.iter().filter_map(|name| Output::open(&Path::new("/dev").join(name)).ok()).collect()
        };
        let (mut outputs, displays): (Vec<Output>, Vec<Output>) = (open_all(outputs), open_all(displays));
        if outputs.is_empty() && displays.is_empty() {
            outputs.extend(Output::open(Path::new("/dev/console")));
        }
        Self { outputs, displays, log: OpenOptions::new().write(true).open("/dev/kmsg").ok() }
    }

    /// Takes the displays out of the consoles, for a status screen: from now on lines go only to the other consoles.
    pub fn take_displays(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.displays)
    }

    /// Shows one or several lines. Each begins with `rocbed-init: `, so that a script can find it.
    pub fn say(&mut self, text: &str) {
        for line in text.lines() {
            for output in self.outputs.iter_mut().chain(&mut self.displays) {
                // One write a line, so that the kernel's own messages don't get in between.
                output.write(format!("rocbed-init: {line}\r\n").as_bytes());
            }
            if let Some(log) = &mut self.log {
                // Level debug: the kernel does not print it on the consoles a second time.
                let _ = log.write_all(format!("<15>rocbed-init: {line}\n").as_bytes());
            }
        }
    }

    /// A console without output, for tests.
    #[cfg(test)]
    pub const fn nowhere() -> Self {
        Self { outputs: Vec::new(), displays: Vec::new(), log: None }
    }
}

/// Virtual terminals are `tty0` and so on; serial lines `ttyS0`, `ttyUSB0` and others.
fn is_display(name: &str) -> bool {
    name.strip_prefix("tty").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displays_are_told_from_serial_lines() {
        assert!(is_display("tty0") && is_display("tty1"));
        assert!(!is_display("ttyS0") && !is_display("ttyUSB1") && !is_display("hvc0"));
    }
}
