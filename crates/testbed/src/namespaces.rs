//! Starts and ends testbeds, on the server's side.

use std::cell::Cell;
use std::fs;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType, socketpair,
};

use crate::Error;
use crate::control_group::Group;
use crate::identity::Identity;
use crate::inside::{self, TestbedPlan};
use crate::options::Network;
use crate::process::{Child, Event, Signals, fork_first};
use crate::proxy::{self, AllowedHosts};

/// Longest time for a testbed to start; a slow disk is not a failure.
const START: Duration = Duration::from_secs(60);
/// Longest time for killed processes to end before they count as stuck in the kernel.
const END: Duration = Duration::from_secs(30);

/// A running testbed.
#[derive(Debug)]
pub(crate) struct RunningTestbed {
    first: Child,
    /// The first process ends when this is closed, so that even after SIGKILL to the server nothing is left behind.
    _line: OwnedFd,
    namespaces: Vec<OwnedFd>,
    /// The group with its limits.
    pub(crate) control_group: Option<Group>,
    /// The writable layer.
    pub(crate) layer: OwnedFd,
    /// Path of the scratch directory inside.
    pub(crate) scratch: String,
    /// Its proxy, if it has one.
    proxy: Option<Child>,
}

/// What a process needs to get into a testbed.
#[derive(Debug)]
pub(crate) struct Access<'a> {
    /// The namespaces to join, in order.
    pub(crate) namespaces: Vec<BorrowedFd<'a>>,
    /// `cgroup.procs` of its control group.
    pub(crate) control_group: Option<BorrowedFd<'a>>,
}

/// Starts a testbed in its control group, if it has one, and its proxy, which reaches `hosts`.
pub(crate) fn start(
    plan: &TestbedPlan<'_>,
    hosts: &AllowedHosts,
    identity: &Identity,
    control_group: Option<Group>,
    signals: &Signals,
) -> Result<RunningTestbed, Error> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(Error::step("making a socket"))?;
    let (ours, theirs) = (Cell::new(Some(ours)), Cell::new(Some(theirs)));
    let first = fork_first(|| {
        // The line closes for this process only if it does not hold the other end itself.
        drop(ours.take());
        theirs.take().map_or(1, |line| inside::run(plan, identity, control_group.as_ref(), line))
    })
    .map_err(Error::step("starting the testbed's first process"))?;
    drop(theirs.take());
    let started = ours.take().ok_or_else(|| Error::Inside("there is no line".into())).and_then(|line| {
        let event = signals.wait(line.as_fd(), Some(START)).map_err(Error::step("waiting for the testbed"))?;
        match event {
            Event::Ready => receive(&line).map(|received| (line, received)),
            Event::Signal(number) => Err(Error::Signal(number)),
            Event::TimedOut => Err(Error::TimedOut { what: "making the testbed".into(), seconds: START.as_secs() }),
        }
    });
    match started {
        Ok((line, (scratch, mut namespaces))) => {
            let listener = if plan.network == Network::Proxy { namespaces.pop() } else { None };
            let layer = namespaces.pop().ok_or_else(|| Error::Inside("it did not say where it is".into()))?;
            let proxy = listener.map(|listener| proxy::start(listener, hosts, identity)).transpose()?;
            Ok(RunningTestbed { first, _line: line, namespaces, control_group, layer, scratch, proxy })
        }
        Err(error) => {
            first.kill();
            signals.wait(first.as_fd(), Some(END)).and_then(|_| first.ended()).map_err(Error::step("cleaning up"))?;
            Err(error)
        }
    }
}

/// Receives the message of the first process.
fn receive(line: &OwnedFd) -> Result<(String, Vec<OwnedFd>), Error> {
    let mut text = [0; 8192];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(line, &mut [IoSliceMut::new(&mut text)], &mut control, RecvFlags::CMSG_CLOEXEC)
        .map_err(Error::step("hearing from the testbed"))?;
    let descriptors: Vec<OwnedFd> = control
        .drain()
        .filter_map(|message| if let RecvAncillaryMessage::ScmRights(fds) = message { Some(fds) } else { None })
        .flatten()
        .collect();
    let text = String::from_utf8_lossy(text.get(..received.bytes).unwrap_or_default()).into_owned();
    match text.split_at_checked(1) {
        Some(("k", scratch)) if !scratch.is_empty() => Ok((scratch.to_owned(), descriptors)),
        Some(("e", message)) => Err(Error::Inside(message.to_owned())),
        _ => Err(Error::Inside("its first process ended without a word".into())),
    }
}

impl RunningTestbed {
    /// The namespaces that the server's processes have to join, in order.
    pub(crate) fn joins<'a>(&'a self, identity: &'a Identity) -> Vec<BorrowedFd<'a>> {
        self.namespaces.iter().chain([&identity.inner]).map(AsFd::as_fd).collect()
    }

    /// What the server's processes need to get in.
    pub(crate) fn access<'a>(&'a self, identity: &'a Identity) -> Access<'a> {
        let control_group = self.control_group.as_ref().map(Group::members);
        Access { namespaces: self.joins(identity), control_group }
    }

    /// Kills every process in the testbed and waits until all are gone.
    pub(crate) fn end(self, signals: &Signals) -> Result<(), Error> {
        self.first.kill();
        if let Some(proxy) = &self.proxy {
            proxy.kill();
            proxy.wait().map_err(Error::step("closing the testbed"))?;
        }
        // A signal to the server must not leave the testbed half closed, so the wait is repeated.
        let mut signal = None;
        loop {
            match signals.wait(self.first.as_fd(), Some(END)).map_err(Error::step("closing the testbed"))? {
                Event::Ready => break,
                Event::Signal(number) => signal = Some(number),
                Event::TimedOut => return Err(Error::Stuck(self.members())),
            }
        }
        self.first.ended().map_err(Error::step("closing the testbed"))?;
        self.control_group.map_or(Ok(()), Group::remove)?;
        signal.map_or(Ok(()), |number| Err(Error::Signal(number)))
    }

    /// The processes of the testbed, with the host's process ids, their names, and the kernel functions they wait in.
    fn members(&self) -> String {
        let Some(pids) = self.namespaces.first() else { return String::new() };
        let ours = fs::read_link(format!("/proc/self/fd/{}", pids.as_raw_fd())).ok();
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let stuck: Vec<String> = processes
            .filter(|process| fs::read_link(process.path().join("ns/pid")).ok() == ours && ours.is_some())
            .map(|process| {
                let field = |name: &str| {
                    let text = fs::read_to_string(Path::new(&process.path()).join(name)).unwrap_or_default();
                    text.trim().to_owned()
                };
                format!("process {} ({} in {})", process.file_name().to_string_lossy(), field("comm"), field("wchan"))
            })
            .collect();
        stuck.join(", ")
    }
}
