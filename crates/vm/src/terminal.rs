//! The terminal of a machine whose console is on it.

use std::io;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// A terminal's settings, put back when this is dropped: QEMU makes it raw, and a QEMU that is killed leaves it so.
pub(crate) struct Terminal(Termios);

impl Terminal {
    /// Those of standard input, if that is a terminal.
    pub(crate) fn remember() -> Option<Self> {
        tcgetattr(io::stdin()).ok().map(Self)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A terminal that has gone away needs nothing.
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.0);
    }
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Terminal")
    }
}
