//! A root shell at the console, to debug an image: only if the recipe allows it and the settings ask for it.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use crate::events::Event;
use appliance::settings::Settings;

/// The pause between the end of one shell and the start of the next.
const PAUSE: Duration = Duration::from_secs(1);

/// Keeps a shell running on the first serial console, or on the second display if there is none. Returns the reason
/// if it was asked for but is not allowed.
pub fn keep(settings: &Settings, events: Sender<Event>) -> Option<String> {
    if !settings.shell {
        return None;
    }
    if !settings.debug_shell {
        return Some(
            "shell: this image allows none; build one whose recipe has debug-shell = true in [settings]".into(),
        );
    }
    let active = std::fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
    let terminal = terminal(&active);
    let keep = move || {
        loop {
            match start(&terminal) {
                Ok(mut child) => {
                    // PID 1 may have reaped it already; both mean that it has ended.
                    let _ = child.wait();
                }
                Err(error) => {
                    // There is no receiver once the machine is going down.
                    let _ = events.send(Event::Said(format!("shell on {}: {error}", terminal.display())));
                    return;
                }
            }
            thread::sleep(PAUSE);
        }
    };
    thread::Builder::new().name("shell".into()).spawn(keep).err().map(|error| format!("shell: {error}"))
}

fn terminal(active: &str) -> PathBuf {
    let serial = active.split_ascii_whitespace().find(|name| name.starts_with("ttyS"));
    Path::new("/dev").join(serial.unwrap_or("tty2"))
}

/// Starts the shell in a session of its own, so that it gets Ctrl-C.
fn start(terminal: &Path) -> io::Result<Child> {
    let open = || -> io::Result<File> { OpenOptions::new().read(true).write(true).open(terminal) };
    Command::new("/usr/bin/setsid")
        .args(["--ctty", "--wait", "/bin/bash", "--login"])
        .env("HOME", "/root")
        .env("TERM", "linux")
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/root")
        .stdin(open()?)
        .stdout(open()?)
        .stderr(open()?)
        .spawn()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn nobody_gets_a_shell_that_the_recipe_did_not_allow() {
        let (sender, _events) = mpsc::channel();
        assert_eq!(keep(&Settings::default(), sender.clone()), None);
        let asked = Settings { shell: true, ..Settings::default() };
        assert!(keep(&asked, sender).is_some_and(|said| said.contains("debug-shell")));
    }

    #[test]
    fn it_is_on_the_serial_console_if_there_is_one() {
        assert_eq!(terminal("tty0 ttyS0\n"), Path::new("/dev/ttyS0"));
        assert_eq!(terminal("tty0\n"), Path::new("/dev/tty2"));
    }
}
