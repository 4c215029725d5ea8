//! What the process that serves the root tells PID 1: its process id, and whether it waits for the server.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use appliance::paths;

/// File with the process id, in the server's directory.
pub(super) const PID: &str = "pid";

/// File with the state, in the server's directory.
pub(super) const STATE: &str = "state";

/// The state of the process that serves the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ServerState {
    /// It gets what is read.
    #[default]
    Reading,
    /// It waits for the server, because of this; programs that read from the root stand still.
    Waiting(String),
    /// Everything is in memory.
    Complete,
}

impl ServerState {
    /// Writes the state; a reader sees the old or the new one.
    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        let text = match self {
            Self::Reading => "reading".to_owned(),
            Self::Waiting(reason) => format!("waiting {}", reason.replace('\n', " ")),
            Self::Complete => "complete".to_owned(),
        };
        let fresh = directory.join("state.new");
        fs::write(&fresh, text)?;
        fs::rename(fresh, directory.join(STATE))
    }

    fn parse(text: &str) -> Self {
        match text.split_once(' ') {
            Some(("waiting", reason)) => Self::Waiting(reason.to_owned()),
            _ if text == "complete" => Self::Complete,
            _ => Self::Reading,
        }
    }

    /// The line for the status screen, and whether it is bad; empty if there is nothing to say.
    pub fn condition(&self) -> (String, bool) {
        match self {
            Self::Reading => ("read over the network when needed".to_owned(), false),
            Self::Waiting(reason) => (format!("waiting for its server: {reason}"), true),
            Self::Complete => (String::new(), false),
        }
    }
}

/// The process that serves the root, as PID 1 sees it.
#[derive(Debug)]
pub struct RootServer {
    /// Its process id.
    pub pid: i32,
    directory: PathBuf,
    last: Option<ServerState>,
}

impl RootServer {
    /// Finds it; `None` if the root is on a disk or in memory.
    pub fn find() -> Option<Self> {
        Self::find_in(Path::new(paths::ROOT_SERVER))
    }

    fn find_in(directory: &Path) -> Option<Self> {
        let pid = fs::read_to_string(directory.join(PID)).ok()?.trim().parse().ok()?;
        Some(Self { pid, directory: directory.to_owned(), last: None })
    }

    /// The state, if it is another one than at the last call.
    pub fn change(&mut self) -> Option<ServerState> {
        let text = fs::read_to_string(self.directory.join(STATE)).unwrap_or_default();
        let state = ServerState::parse(text.trim_end());
        let is_new = self.last.as_ref() != Some(&state);
        is_new.then(|| self.last.insert(state).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_told_once() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        assert!(RootServer::find_in(directory.path()).is_none());
        fs::write(directory.path().join(PID), "71\n")?;
        let mut server = RootServer::find_in(directory.path()).expect("a server");
        assert_eq!((server.pid, server.change()), (71, Some(ServerState::Reading)));
        assert_eq!(server.change(), None);
        for state in [ServerState::Waiting("connection refused".into()), ServerState::Reading, ServerState::Complete] {
            state.write(directory.path())?;
            assert_eq!((server.change(), server.change()), (Some(state), None));
        }
        Ok(())
    }

    #[test]
    fn people_see_that_the_machine_waits() {
        let (text, bad) = ServerState::Waiting("connection refused".into()).condition();
        assert_eq!((text.as_str(), bad), ("waiting for its server: connection refused", true));
        assert_eq!(ServerState::Complete.condition().0, "");
    }
}
