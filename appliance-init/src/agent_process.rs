//! The agent as a process of its own, so that whatever becomes of it, PID 1 goes on.

use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::Sender;
use std::thread;

use crate::events::Event;
use crate::supervisor::StartAgent;
use appliance::report::Report;

/// Lines longer than this are cut: nothing that we say is.
const LONGEST: u64 = 64 * 1024;

/// `oom_score_adj` of the agent and all that it starts (`proc_pid_oom_score_adj(5)`): only PID 1 goes later.
const SPARED: &str = "-900";

/// Starts `rocbed-init agent` and passes on what it says.
#[derive(Debug)]
pub struct AgentProcess {
    program: PathBuf,
    events: Sender<Event>,
}

impl AgentProcess {
    /// The program is this one's copy.
    pub fn new(program: &Path, events: Sender<Event>) -> Self {
        Self { program: program.to_owned(), events }
    }

    fn listen(&self, name: &str, from: impl Read + Send + 'static, meaning: fn(String) -> Event) -> io::Result<()> {
        let events = self.events.clone();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            let mut from = BufReader::new(from);
            let mut line = Vec::new();
            while matches!(from.by_ref().take(LONGEST).read_until(b'\n', &mut line), Ok(count) if count > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                if events.send(meaning(text)).is_err() {
                    return;
                }
                line.clear();
            }
        })?;
        Ok(())
    }
}

impl StartAgent for AgentProcess {
    fn start(&mut self) -> io::Result<i32> {
        let mut child = Command::new(&self.program)
            .arg("agent")
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .env("LANG", "C.UTF-8")
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        if let Some(stdout) = stdout {
            self.listen("agent reports", stdout, said)?;
        }
        if let Some(stderr) = stderr {
            self.listen("agent words", stderr, Event::AgentSaid)?;
        }
        // PID 1 takes every child's exit status, this one's too.
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        // A test that wants too much memory is to be ended, not who reports it; testbeds take it back for what runs in
        // them. Without it, everything works as long as there is memory.
        if let Err(error) = std::fs::write(format!("/proc/{pid}/oom_score_adj"), SPARED) {
            drop(self.events.send(Event::Said(format!("sparing the agent when memory runs out: {error}"))));
        }
        Ok(pid)
    }
}

/// A line that is no report is for people.
fn said(line: String) -> Event {
    match Report::parse(&line) {
        Some(report) => Event::Report(report),
        None => Event::AgentSaid(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::mpsc;

    #[test]
    fn what_the_agent_says_comes_as_events() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let program = directory.path().join("agent");
        std::fs::write(
            &program,
            "#!/bin/sh\necho '{\"report\":\"idle\",\"why\":\"'$1'\"}'\necho hello\necho oops >&2\n",
        )?;
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
        let (sender, events) = mpsc::channel();
        let mut process = AgentProcess::new(&program, sender);
        assert!(process.start()? > 1);
        drop(process);
        // Not every user may spare a process, and PID 1 always may.
        let of_agent = events.iter().filter(|event| !matches!(event, Event::Said(_)));
        let mut heard: Vec<_> = of_agent.map(|event| format!("{event:?}")).collect();
        heard.sort();
        let expected = ["AgentSaid(\"hello\")", "AgentSaid(\"oops\")", "Report(Idle { why: \"agent\" })"];
        assert_eq!(heard, expected);
        Ok(())
    }
}
