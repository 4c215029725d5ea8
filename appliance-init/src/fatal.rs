//! Fatal errors: shows what failed and what to do about it, then restarts the machine.

use std::time::Duration;

use advice::{Advice, Advise, Help};

use crate::console::Console;
use crate::system::{Ending, System};

/// An error that keeps the appliance from starting.
#[derive(Debug, thiserror::Error)]
#[error("{advice}")]
pub struct Fatal {
    /// What failed, on which object, and the cause; and what a person at the machine can do.
    pub advice: Advice,
    /// Related observations, one line each.
    pub details: Vec<String>,
}

impl Fatal {
    /// An error without details.
    pub fn new(what: impl Into<String>, help: impl Into<Help>) -> Self {
        Self { advice: Advice::new(what, help), details: Vec::new() }
    }

    /// Adds details.
    #[must_use]
    pub fn with_details(mut self, details: Vec<String>) -> Self {
        self.details = details;
        self
    }
}

impl Advise for Fatal {
    fn help(&self) -> Help {
        self.advice.help()
    }
}

/// The lines of the error screen.
pub fn screen(error: &Fatal) -> String {
    lines(&error.advice, &error.details)
}

/// An error as consoles show it: what failed, related observations, and what to do.
pub fn lines(error: &Advice, details: &[String]) -> String {
    let details = details.iter().map(|detail| format!("  {detail}\n"));
    let help = error.help.iter().map(|help| format!("what to do: {help}\n"));
    std::iter::once(format!("error: {error}\n")).chain(details).chain(help).collect()
}

/// Shows the error on every console, counts down, and restarts the machine; with a `timeout` of 0 it stays for ever.
pub fn show_and_reboot(error: &Fatal, timeout: u64, system: &mut dyn System, console: &mut Console) {
    console.say(&screen(error));
    if timeout == 0 {
        console.say("stopped; rocbed.panic-timeout=0 asks for no restart");
        return;
    }
    for left in (1..=timeout).rev() {
        if left == timeout || left % 5 == 0 || left < 4 {
            console.say(&format!("restarting in {left} s"));
        }
        // Their exit statuses do not matter any more.
        let _ = system.reap();
        system.sleep(Duration::from_secs(1));
    }
    if let Err(error) = system.end(Ending::Restart) {
        console.say(&format!("restarting failed: {error}; switch the machine off and on"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::recording::Recording;

    #[test]
    fn says_what_failed_and_what_to_do() {
        let error =
            Fatal::new("mounting /dev/sda2: EIO", "try another stick").with_details(vec!["sda 8 GiB".to_owned()]);
        assert_eq!(screen(&error), "error: mounting /dev/sda2: EIO\n  sda 8 GiB\nwhat to do: try another stick\n");
    }

    #[test]
    fn counts_down_and_restarts() {
        let mut system = Recording::default();
        show_and_reboot(&Fatal::new("a", "b"), 2, &mut system, &mut Console::nowhere());
        assert_eq!(system.calls, ["sleep 1s", "sleep 1s", "end Restart"]);
    }

    #[test]
    fn zero_never_restarts() {
        let mut system = Recording::default();
        show_and_reboot(&Fatal::new("a", "b"), 0, &mut system, &mut Console::nowhere());
        assert!(system.calls.is_empty());
    }
}
