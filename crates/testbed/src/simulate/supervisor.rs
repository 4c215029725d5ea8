//! The process that answers programs' requests to the simulated GPUs, and carries out what they put into queues.
//!
//! It has one thread, so requests are answered one after the other, as if by one lock in the kernel. It ends by itself when
//! no process has the filter any more, however they ended. If it is killed, requests fail with `ENOSYS`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use gpusim::{Answer, Errno, Node, Report, Request, Simulator};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use rustix::time::ClockId;

use super::listener::{self, Listener, Notification, Reply};
use super::program::{ProgramMemory, Run, process_of};

/// How long after work in a queue it is looked at most often, then less; each with the time between two looks.
const PACE: [(Duration, Duration); 3] = [
    (Duration::from_millis(5), Duration::from_micros(50)),
    (Duration::from_millis(200), Duration::from_micros(500)),
    (Duration::MAX, Duration::from_millis(4)),
];
/// Most programs at once; requests of further ones are refused.
const MOST_PROGRAMS: usize = 4096;
/// Open files that are kept free for what is not a program's: the first five, and three that a request needs for a while.
const OTHER_FILES: u64 = 16;

/// `PIDFD_THREAD` of `pidfd_open(2)`, since Linux 6.9.
const THREAD: PidfdFlags = PidfdFlags::from_bits_retain(libc::O_EXCL.cast_unsigned());

/// A process with the GPUs open.
struct Program {
    handle: OwnedFd,
    run: Run,
    memory: ProgramMemory,
}

/// The state of a supervisor.
pub(super) struct Supervisor {
    listener: Listener,
    simulator: Simulator,
    programs: BTreeMap<u32, Program>,
    /// How many programs there can be at once: each needs two open files.
    most_programs: usize,
    /// Whether a program was refused because there were that many.
    was_full: bool,
    last_work: Instant,
}

impl Supervisor {
    /// `files` is how many this process can have open; `None` if there is no limit.
    pub(super) fn new(listener: OwnedFd, simulator: Simulator, files: Option<u64>) -> Self {
        let (listener, programs) = (Listener::new(listener), BTreeMap::new());
        let (most_programs, last_work) = (most_programs(files), Instant::now());
        Self { listener, simulator, programs, most_programs, was_full: false, last_work }
    }

    /// What was done until now.
    pub(super) fn report(&self) -> Report {
        self.simulator.report()
    }

    /// Why programs were refused that did nothing wrong, for people; `None` if none were.
    pub(super) fn refusal(&self) -> Option<String> {
        let most = self.most_programs;
        let cause = if most < MOST_PROGRAMS { ": the limit of open files (`ulimit -Hn`) allows no more" } else { "" };
        self.was_full.then(|| format!("requests of programs beyond {most} at once were refused{cause}"))
    }

    /// Answers requests until no process can make any more, or `control` is readable: returns whether it is.
    pub(super) fn serve(&mut self, control: Option<&OwnedFd>) -> io::Result<bool> {
        loop {
            let wait = self.wait();
            let mut fds = vec![PollFd::new(&self.listener, PollFlags::IN)];
            fds.extend(control.map(|control| PollFd::new(control, PollFlags::IN)));
            let first = fds.len();
            fds.extend(self.programs.values().map(|program| PollFd::new(&program.handle, PollFlags::IN)));
            match poll(&mut fds, wait.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let happened: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
            let ended = happened.iter().skip(first).zip(self.programs.keys());
            let ended: Vec<u32> = ended.filter(|(flags, _)| !flags.is_empty()).map(|(_, process)| *process).collect();
            // Before calls, as what calls may have the number of one that has ended.
            for process in ended {
                self.programs.remove(&process);
                self.simulator.leave(process.into());
            }
            let calls = happened.first().copied().unwrap_or(PollFlags::empty());
            if calls.contains(PollFlags::IN)
                && let Some(call) = self.listener.receive()?
            {
                self.call(&call)?;
            }
            self.step()?;
            if !calls.contains(PollFlags::IN) && calls.intersects(PollFlags::HUP | PollFlags::ERR) {
                return Ok(false);
            }
            if first > 1 && happened.get(1).is_some_and(|flags| !flags.is_empty()) {
                return Ok(true);
            }
        }
    }

    /// How long nothing has to be looked at.
    fn wait(&self) -> Option<Timespec> {
        let idle = self.last_work.elapsed();
        let pace = PACE.iter().find(|(until, _)| idle < *until).map(|(_, pace)| *pace);
        let queues = pace.filter(|_| self.simulator.has_queues());
        let end = self.simulator.next_end().map(|end| end.saturating_sub(now()));
        queues.into_iter().chain(end).min().and_then(|wait| Timespec::try_from(wait).ok())
    }

    fn step(&mut self) -> io::Result<()> {
        let (ended, busy) = self.simulator.step(now());
        for ended in ended {
            self.listener.answer(ended.token, reply(ended.result))?;
        }
        if busy {
            self.last_work = Instant::now();
        }
        Ok(())
    }

    /// Answers a call, now or later.
    fn call(&mut self, call: &Notification) -> io::Result<()> {
        // Queues often get work just after a request.
        self.last_work = Instant::now();
        let [file, number, argument, ..] = call.arguments;
        // Both are 32 bits wide, whatever stands above them.
        let (file, number) = (file as i32, number as u32);
        let refused = Errno::NotPermitted;
        // It has ended meanwhile and waits for no answer, or the machine has too many files open to look.
        let Some(process) = process_of(call.thread) else {
            return self.listener.answer(call.id, reply(Err(refused)));
        };
        let answer = match self.program(process, call) {
            Ok(()) => match self.node(process, call, file) {
                Ok(Some(node)) => {
                    let request = Request { node, number, argument };
                    self.simulator.ioctl(process.into(), &request, call.id, now())
                }
                Ok(None) => return self.listener.answer(call.id, Reply::Continue),
                Err(error) => Answer::Now(Err(error)),
            },
            Err(_) if !self.listener.is_waiting(call.id) => return Ok(()),
            // A process whose memory this one may not access: the GPU could not either.
            Err(_) => Answer::Now(Err(refused)),
        };
        match answer {
            Answer::Now(result) => self.listener.answer(call.id, reply(result)),
            Answer::Later => Ok(()),
        }
    }

    /// Makes a process known, and forgets what another program in the same process had.
    fn program(&mut self, process: u32, call: &Notification) -> io::Result<()> {
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let run = Run::of(process, call.thread).ok_or_else(gone)?;
        // Without random addresses another program can look the same, but the first one's memory is gone then.
        if self.programs.get(&process).is_some_and(|program| program.run == run && program.memory.has_stack(run)) {
            return Ok(());
        }
        if !self.programs.contains_key(&process) && self.programs.len() >= self.most_programs {
            self.was_full = true;
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let handle = handle(process, PidfdFlags::empty())?;
        let memory = ProgramMemory::open(call.thread)?;
        if !self.listener.is_waiting(call.id) {
            return Err(gone());
        }
        self.programs.insert(process, Program { handle, run, memory: memory.clone() });
        self.simulator.enter(process.into(), Box::new(memory));
        Ok(())
    }

    /// Which of the simulated devices a file of a thread is; `None` for any other file.
    fn node(&self, process: u32, call: &Notification, file: i32) -> Result<Option<Node>, Errno> {
        let Some(program) = self.programs.get(&process) else { return Err(Errno::BadDescriptor) };
        // The process's files are those of its first thread, which may have ended, and any thread may have files of its own.
        // Linux before 6.9 has no handles of threads.
        let of_thread = (call.thread != process).then(|| handle(call.thread, THREAD).ok()).flatten();
        let from = of_thread.as_ref().unwrap_or(&program.handle);
        let file = pidfd_getfd(from, file, PidfdGetfdFlags::empty()).map_err(not_had)?;
        // If the caller is gone, its number may be another thread's, and so the file. Nobody hears this answer then.
        if !self.listener.is_waiting(call.id) {
            return Err(Errno::BadDescriptor);
        }
        let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).map_err(|_| Errno::BadDescriptor)?;
        let Some(node) = path.to_str().and_then(|path| self.simulator.machine().node(path)) else { return Ok(None) };
        if node == Node::Kfd {
            // As in the kernel, a file of KFD's is of no use to another process that inherited it.
            let process = i32::try_from(process).map_err(|_| Errno::BadDescriptor)?;
            if listener::owner(file.as_fd(), process).map_err(|_| Errno::BadDescriptor)? != Some(process) {
                return Err(Errno::BadDescriptor);
            }
        }
        Ok(Some(node))
    }
}

/// Most programs at once, with so many files. Each has two open.
fn most_programs(files: Option<u64>) -> usize {
    let programs = files.and_then(|files| usize::try_from(files.saturating_sub(OTHER_FILES) / 2).ok());
    programs.map_or(MOST_PROGRAMS, |programs| programs.min(MOST_PROGRAMS))
}

/// What a program is told whose file this process could not get.
fn not_had(error: rustix::io::Errno) -> Errno {
    match error {
        // Of this process, or of the machine: the program's own file may be good.
        rustix::io::Errno::MFILE | rustix::io::Errno::NFILE => Errno::NotPermitted,
        _ => Errno::BadDescriptor,
    }
}

/// A handle of a process, or with [`THREAD`] of a thread.
fn handle(number: u32, flags: PidfdFlags) -> io::Result<OwnedFd> {
    let number = i32::try_from(number).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
    Ok(pidfd_open(number, flags)?)
}

fn reply(result: Result<(), Errno>) -> Reply {
    match result {
        Ok(()) => Reply::Done,
        Err(error) => Reply::Error(error.number()),
    }
}

/// Time since the machine started, with which programs compare the GPU's clock.
fn now() -> Duration {
    Duration::try_from(rustix::time::clock_gettime(ClockId::Boottime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_files_are_kept_free_of_programs() {
        for (files, programs) in [(None, 4096), (Some(1 << 20), 4096), (Some(128), 56), (Some(129), 56), (Some(7), 0)] {
            assert_eq!(most_programs(files), programs, "{files:?}");
        }
    }

    #[test]
    fn a_file_that_there_is_no_room_for_is_not_called_a_wrong_one() {
        assert_eq!(not_had(rustix::io::Errno::MFILE), Errno::NotPermitted);
        assert_eq!(not_had(rustix::io::Errno::BADF), Errno::BadDescriptor);
    }
}
