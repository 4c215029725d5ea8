//! Turns signals to PID 1 into events. The kernel drops signals for which PID 1 has no handler, even SIGKILL, so
//! before this listens they have no effect.

use std::io;
use std::sync::mpsc::Sender;
use std::thread;

use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::events::Event;
use crate::system::Ending;

/// signal(7) on x86; the crate does not name it.
const SIGPWR: i32 = 30;

/// Starts to listen.
///
/// # Errors
/// If a handler cannot be installed or the thread cannot be started.
pub fn listen(events: Sender<Event>) -> io::Result<()> {
    let mut signals = Signals::new([SIGCHLD, SIGINT, SIGPWR, SIGTERM])?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            if events.send(meaning(signal)).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

/// The event for a signal. The kernel sends SIGINT for Ctrl-Alt-Delete; SIGPWR says that the power is failing.
fn meaning(signal: i32) -> Event {
    match signal {
        SIGINT => Event::End(Ending::Restart, "Ctrl-Alt-Delete, or SIGINT".into()),
        SIGTERM => Event::End(Ending::PowerOff, "SIGTERM".into()),
        SIGPWR => Event::End(Ending::PowerOff, "SIGPWR: the power is failing".into()),
        _ => Event::ChildEnded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_signal_has_its_meaning() {
        assert!(matches!(meaning(SIGINT), Event::End(Ending::Restart, _)));
        assert!(matches!(meaning(SIGTERM), Event::End(Ending::PowerOff, _)));
        assert!(matches!(meaning(SIGPWR), Event::End(Ending::PowerOff, _)));
        assert!(matches!(meaning(SIGCHLD), Event::ChildEnded));
    }
}
