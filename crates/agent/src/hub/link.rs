//! [`Link`]: the connection to the hub. It holds this worker's identity and token, and reports whether the hub
//! answers.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use advice::Advice;
use client::{Client, ClientError, ClientOptions};
use protocol::api::{ProblemCode, Register, Registered};
use serde::{Deserialize, Serialize};

use crate::timeouts::Timeouts;
use crate::uploader::Tell;
use appliance::report::Report;
use appliance::settings::Secret;

/// The file in the data directory with the tokens that hubs have given us.
const TOKENS: &str = "tokens.json";

/// The worker id and token that a hub has given us.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Ticket {
    worker: String,
    token: Secret,
}

#[derive(Debug, Default)]
struct State {
    ticket: Option<Ticket>,
    /// Our registration data, once it is known.
    identity: Option<Register>,
    /// Our name at the hub.
    name: Option<String>,
    said: Option<(String, bool)>,
}

/// The connection to the hub, shared by all threads.
pub(crate) struct Link {
    /// The client for requests that may take long.
    patient: Client,
    /// The client for small requests.
    brief: Client,
    join: Option<Secret>,
    data: PathBuf,
    tell: Tell,
    state: Mutex<State>,
    /// Held by the thread that registers.
    registering: Mutex<()>,
}

impl Link {
    pub(crate) fn new(
        address: &str,
        ca_file: Option<&Path>,
        join: Option<Secret>,
        data: &Path,
        timeouts: &Timeouts,
        tell: Tell,
    ) -> Result<Self, ClientError> {
        let options = ClientOptions {
            ca_file: ca_file.map(Path::to_owned),
            attempts: 1,
            first_pause: timeouts.first_pause,
            longest_pause: timeouts.longest_pause,
            ..ClientOptions::default()
        };
        let patient = Client::new(address, &options)?;
        let brief = Client::new(address, &ClientOptions { timeout: timeouts.answer, ..options })?;
        let ticket = read_tickets(data).remove(patient.address());
        let state = Mutex::new(State { ticket, ..State::default() });
        Ok(Self { patient, brief, join, data: data.to_owned(), tell, state, registering: Mutex::new(()) })
    }

    pub(crate) fn address(&self) -> &str {
        self.patient.address()
    }

    /// The worker's id, once we have one.
    pub(crate) fn worker(&self) -> Option<String> {
        self.state().identity.as_ref().map(|identity| identity.id.clone())
    }

    /// Sets our registration data.
    pub(crate) fn introduce(&self, identity: Register) {
        let mut state = self.state();
        // A token of another machine that had this stick before is not ours.
        state.ticket = state.ticket.take().filter(|ticket| ticket.worker == identity.id);
        state.identity = Some(identity);
    }

    /// Registers, with the token that the hub gave us before, else with the join token. Tries each once.
    pub(crate) fn register(&self) -> Result<Registered, ClientError> {
        let _turn = self.registering.lock().unwrap_or_else(PoisonError::into_inner);
        self.note(self.register_now())
    }

    fn register_now(&self) -> Result<Registered, ClientError> {
        let (identity, own) = {
            let state = self.state();
            (state.identity.clone(), state.ticket.as_ref().map(|ticket| ticket.token.clone()))
        };
        let unknown = || ClientError::NotAHub { url: self.address().into(), reason: "nobody is to register".into() };
        let identity = identity.ok_or_else(unknown)?;
        let mut outcome = Err(unknown());
        for token in [own.as_ref(), self.join.as_ref()].into_iter().flatten() {
            outcome = self.brief.clone().with_token(token.reveal()).register(&identity);
            if !outcome.as_ref().is_err_and(is_stranger) {
                break;
            }
        }
        if own.is_none() && self.join.is_none() {
            outcome = self.brief.register(&identity);
        }
        let registered = outcome?;
        let ticket = Ticket { worker: registered.worker.clone(), token: Secret::new(&registered.token) };
        let mut tickets = read_tickets(&self.data);
        tickets.insert(self.address().to_owned(), ticket.clone());
        let kept = serde_json::to_vec(&tickets).map_err(Into::into);
        let kept = kept.and_then(|json| durable::replace(&self.data.join(TOKENS), &json, durable::Readers::Owner));
        if let Err(error) = kept {
            // After the next start the join token can be used again.
            let what = format!("keeping the hub's token in {}: {error}", self.data.display());
            (self.tell)(&Report::problem(what, "make room on the data partition"));
        }
        let mut state = self.state();
        state.ticket = Some(ticket);
        state.name = Some(registered.name.clone()).filter(|name| !name.is_empty());
        drop(state);
        Ok(registered)
    }

    /// Makes a call that may take long, once. Registers again if the hub does not know us any more.
    pub(crate) fn call<T>(&self, call: impl Fn(&Client) -> Result<T, ClientError>) -> Result<T, ClientError> {
        self.make(&self.patient, &call)
    }

    /// The same for a small call.
    pub(crate) fn brief<T>(&self, call: impl Fn(&Client) -> Result<T, ClientError>) -> Result<T, ClientError> {
        self.make(&self.brief, &call)
    }

    fn make<T>(&self, client: &Client, call: &impl Fn(&Client) -> Result<T, ClientError>) -> Result<T, ClientError> {
        let token = || self.state().ticket.as_ref().map(|ticket| ticket.token.clone());
        let with = |token: Option<&Secret>| match token {
            Some(token) => client.clone().with_token(token.reveal()),
            None => client.clone(),
        };
        let used = token();
        let outcome = call(&with(used.as_ref()));
        if !outcome.as_ref().is_err_and(is_stranger) {
            return self.note(outcome);
        }
        {
            let _turn = self.registering.lock().unwrap_or_else(PoisonError::into_inner);
            // Another thread may have done it meanwhile.
            if token() == used {
                self.note(self.register_now())?;
            }
        }
        self.note(call(&with(token().as_ref())))
    }

    /// Reports the state of the hub, if it has changed.
    fn note<T>(&self, outcome: Result<T, ClientError>) -> Result<T, ClientError> {
        let connected = || match &self.state().name {
            Some(name) => format!("connected as {name}"),
            None => "connected".to_owned(),
        };
        let (text, bad) = match &outcome {
            Ok(_) => (connected(), false),
            Err(ClientError::Refused(_)) if !outcome.as_ref().is_err_and(is_stranger) => (connected(), false),
            Err(error @ (ClientError::Refused(_) | ClientError::NotAHub { .. } | ClientError::Certificate { .. })) => {
                (Advice::of(error).and(self.help(error)).in_one_line(), true)
            }
            Err(ClientError::Unreachable { reason, .. }) => {
                (format!("no answer: {reason}; it is asked again, and results are kept"), true)
            }
            // This error is not the hub's.
            Err(_) => return outcome,
        };
        let news = (text, bad);
        let mut state = self.state();
        if state.said.as_ref() != Some(&news) {
            let (text, bad) = news.clone();
            state.said = Some(news);
            drop(state);
            (self.tell)(&Report::Condition { of: "hub".into(), text, bad });
        }
        outcome
    }

    /// What to do about an error, beside what the client knows.
    fn help(&self, error: &ClientError) -> &'static str {
        match (is_stranger(error), &self.join) {
            (true, None) => "set join-token in rocbed.toml on the stick: the hub prints it when it starts",
            (true, Some(_)) => "the join token is another hub's: compare it with what the hub prints when it starts",
            _ => "",
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the hub does not know our token.
fn is_stranger(error: &ClientError) -> bool {
    matches!(error.code(), Some(ProblemCode::Unauthorized | ProblemCode::Forbidden))
}

/// Reads the tokens. A file that cannot be read counts as missing: the join token can be used instead.
fn read_tickets(data: &Path) -> BTreeMap<String, Ticket> {
    fs::read(data.join(TOKENS)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}
