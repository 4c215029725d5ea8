//! Claims: asking the hub for a job, waiting for the answer, and taking the job.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use advice::Advice;
use client::ClientError;
use protocol::Source;
use protocol::api::{Claimed, GiveBackReason, check_id};

use super::packages::{self, FetchFailure};
use super::{Hub, request_id};
use crate::allocation::Offer;
use crate::job_source::{Assignment, Claim, Room, TestbedOptions};

/// A claim that was sent.
pub(super) struct Asked {
    /// What it offers.
    offer: Offer,
    /// How long the hub may wait with its answer.
    pub(super) wait: Duration,
    pub(super) began: Instant,
    pub(super) answer: Receiver<Result<Option<Claimed>, ClientError>>,
}

/// What became of waiting for the answer to a claim.
pub(super) enum Waited {
    /// It came.
    Answered(Asked, Box<Result<Option<Claimed>, ClientError>>),
    /// It is not to be waited for any longer.
    Enough,
    /// The thread that asks could not be started, or has ended without an answer.
    Failed,
}

impl Hub {
    /// Sends a claim, in a thread that can be abandoned.
    fn ask(&self, offer: Offer, wait: Duration) -> Option<Asked> {
        let (sender, answer) = channel();
        let (link, request) = (Arc::clone(&self.link), self.request.clone());
        let all = protocol::api::Claim { request, wait: wait.as_secs(), ..protocol::api::Claim::default() };
        let claim = if offer.is_all {
            all
        } else {
            let gpus = Some(offer.gpus.clone());
            protocol::api::Claim { gpus, without_gpu: offer.without_gpu, memory: Some(offer.memory), ..all }
        };
        let started = thread::Builder::new().name("claim".into()).spawn(move || {
            // The receiver may be gone.
            let _ = sender.send(link.call(|client| client.claim(&claim)));
        });
        started.ok().map(|_| Asked { offer, wait, began: Instant::now(), answer })
    }

    /// Waits for the answer to a claim of what is free. One that was sent before is waited for again, if it offered the
    /// same; another with the same name takes its place at the hub.
    pub(super) fn wait_for_answer(&mut self, room: &Room<'_>, wait: Duration) -> Waited {
        let Some(offer) = room.offer() else { return Waited::Enough };
        let asked = match self.asked.take().filter(|asked| asked.offer == offer) {
            Some(asked) => asked,
            None => match self.ask(offer, wait) {
                Some(asked) => asked,
                None => return Waited::Failed,
            },
        };
        while !self.stopped() && !room.is_over() {
            match asked.answer.recv_timeout(Duration::from_millis(50)) {
                Ok(outcome) => return Waited::Answered(asked, Box::new(outcome)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Waited::Failed,
            }
        }
        self.asked = Some(asked);
        Waited::Enough
    }

    /// Makes an assignment of what was claimed, with its package files; gives back what cannot be run here.
    pub(super) fn accept(&mut self, claimed: Claimed) -> Result<Claim, Advice> {
        self.request = request_id()?;
        let Claimed { lease, lease_seconds, job, usual_seconds, testbed, .. } = claimed;
        // Both become file names.
        if check_id("lease", &lease).is_err() || check_id("job", &job.id).is_err() {
            self.problem(format!("the hub gave out a job with a strange name: {:?}", job.id), "update the hub");
            return Ok(Claim::Nothing);
        }
        if let (Source::Path(path), None) = (&job.source, job.own_source()) {
            let why = format!("{path} is a path, and means nothing on another machine");
            self.give_back_lease(&lease, GiveBackReason::CannotRun, &why);
            return Ok(Claim::Nothing);
        }
        self.lease_time = Duration::from_secs(lease_seconds.max(1));
        let testbed = TestbedOptions {
            upgrade: testbed.upgrade,
            apt_sources: testbed.apt_sources,
            signing_keys: testbed.signing_keys.into_iter().map(String::into_bytes).collect(),
        };
        let mut assignment = Assignment { lease: Some(lease.clone()), usual_seconds, testbed, ..Assignment::new(job) };
        let phase = if assignment.job.packages.is_empty() { "starting" } else { "fetching package files" };
        self.heartbeats.hold(&lease, phase, Some(assignment.interrupt.clone()), self.lease_time);
        let goes_on = || !self.stopped() && assignment.interrupt.why().is_none();
        let (job, options) = (&assignment.job, &self.options);
        let directory = options.packages.join(&lease);
        let fetched = packages::fetch(&self.link, &lease, job, &directory, &options.timeouts, &goes_on);
        if fetched.is_err() {
            // What cannot be removed takes room until the next start.
            let _ = packages::remove(&directory);
        }
        match fetched {
            Ok(fetched) => (assignment.packages, assignment.tree) = (fetched.packages, fetched.source),
            Err(FetchFailure::Stopped) => {
                let (reason, why) = match assignment.interrupt.why() {
                    Some(why) => (GiveBackReason::Cancelled, why.to_owned()),
                    None => (GiveBackReason::ShuttingDown, "the machine is to stop".to_owned()),
                };
                self.give_back_lease(&lease, reason, &why);
                return Ok(Claim::Nothing);
            }
            Err(FetchFailure::GiveBack(reason, why)) => {
                self.problem(format!("job {}: {why}", assignment.job.id), "the job is given back to the hub");
                self.give_back_lease(&lease, reason, &why);
                return Ok(Claim::Nothing);
            }
        }
        Ok(Claim::Job(Box::new(assignment)))
    }
}
