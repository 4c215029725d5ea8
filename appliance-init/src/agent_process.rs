//! Runs the agent as a process of its own, so that PID 1 goes on whatever happens to the agent.

use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::Sender;
use std::thread;

use crate::events::Event;
use crate::supervisor::StartAgent;
use appliance::report::Report;

/// The longest line that is read from the agent, in bytes; longer ones are cut. None of ours is longer.
const LONGEST: u64 = 64 * 1024;

/// `oom_score_adj` of the agent and all its children (`proc_pid_oom_score_adj(5)`): only PID 1 is killed later.
const SPARED: &str = "-900";

/// Starts `rocbed-init agent` and passes on its reports and messages.
#[derive(Debug)]
pub struct AgentProcess {
    program: PathBuf,
    events: Sender<Event>,
}

impl AgentProcess {
    /// Uses a copy of this program at `program`.
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
        // PID 1 reaps every child, this one too.
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        // When memory runs out, the test that uses too much is to be killed and not the agent; testbeds reset this
        // for their own processes. If it fails, everything works as long as there is enough memory.
        if let Err(error) = std::fs::write(format!("/proc/{pid}/oom_score_adj"), SPARED) {
            // There is no receiver once the machine is going down.
            let _ = self.events.send(Event::Said(format!("sparing the agent when memory runs out: {error}")));
        }
        Ok(pid)
    }
}

/// A line that is not a report is shown to people.
fn said(line: String) -> Event {
    match Report::parse(&line) {
        Some(report) => Event::Report(report),
        None => Event::AgentSaid(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn what_the_agent_says_comes_as_events() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let program = directory.path().join("agent");
        let script = "echo '{\"report\":\"idle\",\"why\":\"'$1'\"}'\necho hello\necho oops >&2";
        appliance::fixtures::program(&program, script)?;
        let (sender, events) = mpsc::channel();
        let mut process = AgentProcess::new(&program, sender);
        assert!(process.start()? > 1);
        drop(process);
        // Not every user may lower the score, but PID 1 always may.
        let of_agent = events.iter().filter(|event| !matches!(event, Event::Said(_)));
        let mut heard: Vec<_> = of_agent.map(|event| format!("{event:?}")).collect();
        heard.sort();
        let expected = ["AgentSaid(\"hello\")", "AgentSaid(\"oops\")", "Report(Idle { why: \"agent\" })"];
        assert_eq!(heard, expected);
        Ok(())
    }
}
