//! Restores the terminal after a machine whose console was on it.

use std::io;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// A terminal's settings, restored when this is dropped: QEMU makes the terminal raw, and leaves it so if it is
/// killed.
pub(crate) struct Terminal(Termios);

impl Terminal {
    /// Remembers the settings of standard input, if it is a terminal.
    pub(crate) fn remember() -> Option<Self> {
        tcgetattr(io::stdin()).ok().map(Self)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.0);
    }
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Terminal")
    }
}
