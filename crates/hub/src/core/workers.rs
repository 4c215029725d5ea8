//! Commands about workers: registration and status reports.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use protocol::VERSION;
use protocol::api::{Health, Problem, ProblemCode, Register, Registered, WorkerReport};
use rusqlite::params;

use crate::core::offers::OFFERED;
use crate::core::worker::{ClockOffset, Worker};
use crate::core::{Failure, HubEvent, Tx};
use crate::store::names;
use crate::token::{Who, hash, new_token};

/// Number of valid tokens per worker. If an answer is lost, the worker continues with an earlier token.
const TOKENS: i64 = 4;

/// Largest machine description, in bytes; each is kept in memory.
const LARGEST_MACHINE: usize = 256 << 10;

fn unknown(id: &str) -> Problem {
    Problem::new(ProblemCode::NotFound, format!("no worker `{id}` has registered"))
}

impl Tx<'_> {
    /// Registers a worker, or registers it again. Repeating it gives the same worker a second token.
    pub(crate) fn register(&mut self, request: Register) -> Result<Registered, Failure> {
        if request.id == OFFERED {
            let detail = format!("id: `{OFFERED}` is what the hub calls workers of debci, and no machine");
            return Err(Problem::new(ProblemCode::Invalid, detail).into());
        }
        let token = new_token("worker")?;
        let machine = serde_json::to_string(&request.machine)?;
        if machine.len() > LARGEST_MACHINE {
            let detail = format!("machine: its description has more than {LARGEST_MACHINE} bytes");
            return Err(Problem::new(ProblemCode::TooLarge, detail).into());
        }
        let known = self.state.workers.get(&request.id).cloned();
        let registered = known.as_ref().map_or(self.now, |worker| worker.registered);
        if known.as_ref().is_some_and(|worker| worker.boot != request.boot) {
            // A claim of the boot before would get one of the jobs that are given back, and nobody hears of it.
            self.state.waiters.remove_all_of(&request.id);
            self.lose_all_but(&request.id, &request.holding, "the worker was restarted")?;
        }
        self.db
            .prepare_cached(
                "INSERT INTO workers (id, boot, machine, health, message, registered, seen)
             VALUES (?1, ?2, ?3, ?6, '', ?4, ?5)
             ON CONFLICT (id) DO UPDATE SET boot = ?2, machine = ?3, health = ?6, message = '', seen = ?5",
            )?
            .execute(params![request.id, request.boot, machine, registered, self.now, Health::Ready.name()])?;
        self.add_worker_token(&request.id, &token)?;
        let name = names::give(self.db, &request.id, &request.machine.name, request.name.as_deref())?;
        // A restart of the worker has done the retry.
        let retry = known.as_ref().filter(|worker| worker.boot == request.boot).and_then(|worker| worker.retry.clone());
        let worker = Worker {
            name: name.clone(),
            machine: Arc::new(request.machine),
            boot: request.boot,
            health: Health::Ready,
            message: String::new(),
            registered,
            seen: Arc::new(AtomicI64::new(self.now)),
            paused: known.as_ref().and_then(|worker| worker.paused.clone()),
            clock: known.map_or_else(|| ClockOffset::new(None), |worker| worker.clock),
            retry,
        };
        self.state.workers.insert(request.id.clone(), worker);
        self.event(HubEvent::Worker(request.id.clone()));
        Ok(Registered {
            worker: request.id,
            name,
            token,
            lease_seconds: self.config.lease.as_secs(),
            longest_wait: self.config.longest_wait.as_secs(),
            version: VERSION,
        })
    }

    fn add_worker_token(&mut self, worker: &str, token: &str) -> Result<(), Failure> {
        let digest = hash(token);
        self.db
            .prepare_cached("INSERT INTO tokens (hash, kind, worker, created) VALUES (?1, 'worker', ?2, ?3)")?
            .execute(params![digest.as_bytes(), worker, self.now])?;
        let mut statement = self.db.prepare_cached(
            "DELETE FROM tokens WHERE hash IN (SELECT hash FROM tokens WHERE worker = ?1
                 ORDER BY created DESC, hash = ?3 DESC LIMIT -1 OFFSET ?2) RETURNING hash",
        )?;
        let old = statement.query_map(params![worker, TOKENS, digest.as_bytes()], |row| row.get(0))?;
        let old = old.collect::<rusqlite::Result<Vec<[u8; 32]>>>()?;
        for hash in old {
            self.state.tokens.remove(&hash.into());
        }
        self.state.tokens.insert(digest, Who::Worker(worker.to_owned()));
        Ok(())
    }

    /// Records a worker's status report.
    pub(crate) fn report(&mut self, id: &str, report: &WorkerReport) -> Result<(), Failure> {
        let worker = self.state.workers.get_mut(id).ok_or_else(|| unknown(id))?;
        self.db.prepare_cached("UPDATE workers SET health = ?2, message = ?3 WHERE id = ?1")?.execute(params![
            id,
            report.health.name(),
            report.message
        ])?;
        worker.health = report.health;
        worker.message.clone_from(&report.message);
        if matches!(report.health, Health::OutsideHours | Health::Rebooting | Health::Off) {
            // Nobody waits for their answers any more.
            self.state.waiters.remove_all_of(id);
        }
        self.event(HubEvent::Worker(id.to_owned()));
        Ok(())
    }

    /// Pauses a worker, or resumes it (`None`). Its running jobs continue.
    pub(crate) fn pause(&mut self, id: &str, paused: Option<String>) -> Result<(), Failure> {
        let worker = self.state.workers.get_mut(id).ok_or_else(|| unknown(id))?;
        self.db.prepare_cached("UPDATE workers SET paused = ?2 WHERE id = ?1")?.execute(params![id, paused])?;
        let is_paused = paused.is_some();
        worker.paused = paused;
        if is_paused {
            // Their workers ask again and are told that they are paused.
            self.state.waiters.remove_all_of(id);
        }
        self.event(HubEvent::Worker(id.to_owned()));
        Ok(())
    }

    /// Makes a worker retry GPUs that it has excluded; it is told when it asks for a job.
    pub(crate) fn retry_gpus(&mut self, id: &str, gpus: Vec<String>) -> Result<(), Failure> {
        let worker = self.state.workers.get_mut(id).ok_or_else(|| unknown(id))?;
        worker.retry = Some(gpus);
        self.state.waiters.remove_all_of(id);
        self.event(HubEvent::Worker(id.to_owned()));
        Ok(())
    }

    /// Removes a worker: its tokens become invalid, and its jobs are given to others. Its results stay. With the join
    /// token it can register again.
    pub(crate) fn remove_worker(&mut self, id: &str) -> Result<(), Failure> {
        if self.state.workers.remove(id).is_none() {
            return Err(unknown(id).into());
        }
        self.state.waiters.remove_all_of(id);
        self.lose_all_but(id, &[], "the worker was removed")?;
        self.db.prepare_cached("DELETE FROM tokens WHERE worker = ?1")?.execute([id])?;
        self.db.prepare_cached("DELETE FROM workers WHERE id = ?1")?.execute([id])?;
        self.state.tokens.retain(|_, who| !matches!(who, Who::Worker(worker) if worker == id));
        self.event(HubEvent::Worker(id.to_owned()));
        Ok(())
    }

    /// Replaces all admin tokens by a new one.
    pub(crate) fn replace_admin_token(&mut self) -> Result<String, Failure> {
        let token = new_token("admin")?;
        self.db.execute("DELETE FROM tokens WHERE kind = 'admin'", [])?;
        self.db.execute(
            "INSERT INTO tokens (hash, kind, worker, created) VALUES (?1, 'admin', NULL, ?2)",
            params![hash(&token).as_bytes(), self.now],
        )?;
        self.state.tokens.retain(|_, who| *who != Who::Admin);
        self.state.tokens.insert(hash(&token), Who::Admin);
        Ok(token)
    }
}
