//! [`Broker`]: a connection that is opened when it is needed, kept alive, and opened again.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustls::ClientConfig;

use crate::error::Error;
use crate::method::Delivery;
use crate::session::{QueueState, Session, Taken};
use crate::timing::Timing;
use crate::tls::{self, TlsOptions};
use protocol::BrokerAddress;

/// Which broker, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it is.
    pub address: BrokerAddress,
    /// Settings for an encrypted connection.
    pub tls: TlsOptions,
    /// What the broker's pages call this connection: the machine's name.
    pub name: String,
    /// The queues to take messages from, in this order. They are declared with each connection.
    pub queues: Vec<Queue>,
    /// More queues that are declared, and not taken from.
    pub others: Vec<Queue>,
    /// Longest message that is read, in bytes.
    pub largest: usize,
    /// How long connecting and logging in may take.
    pub timeout: Duration,
}

/// A durable queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// Its highest priority, if it has priorities. It has to be the same wherever the queue is declared.
    pub max_priority: Option<u8>,
}

/// A message that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The number of its queue in [`Options::queues`].
    pub queue: usize,
    /// Its contents. If it is longer than [`Options::largest`], one more byte than these, so that it shows.
    pub body: Vec<u8>,
    /// Whether it was taken before, by anybody, and not acknowledged.
    pub redelivered: bool,
    /// Its priority, as its sender says; 0 if it has none.
    pub priority: u8,
    /// For acknowledging it.
    pub receipt: Receipt,
}

/// Identifies a message that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    connection: u64,
    tag: u64,
}

impl Receipt {
    /// The receipt of a message by its connection's number and its delivery tag (specification, `delivery-tag`): for doubles
    /// of a broker in tests.
    pub fn new(connection: u64, tag: u64) -> Self {
        Self { connection, tag }
    }

    /// The number of the connection that the message came over.
    pub fn connection(self) -> u64 {
        self.connection
    }
}

/// A connection to a broker. Clones share it.
#[derive(Debug, Clone)]
pub struct Broker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: Options,
    timing: Timing,
    tls: Option<Arc<ClientConfig>>,
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    session: Option<Session>,
    /// How many connections there were.
    connection: u64,
    /// Why the last one ended.
    lost: Option<Error>,
    over: bool,
}

impl Message {
    fn of(taken: Taken, queue: usize, connection: u64) -> Self {
        let Taken { tag, redelivered, priority, body } = taken;
        Self { queue, body, redelivered, priority, receipt: Receipt { connection, tag } }
    }
}

impl Broker {
    /// Prepares a connection; it is opened when something is first wanted of it.
    ///
    /// # Errors
    /// If certificates cannot be read, or there is no thread for keeping the connection alive.
    pub fn new(options: Options) -> Result<Self, Error> {
        Self::with_timing(options, Timing::default())
    }

    /// As [`Broker::new`], with other times than usual.
    ///
    /// # Errors
    /// As [`Broker::new`].
    pub fn with_timing(options: Options, timing: Timing) -> Result<Self, Error> {
        let tls = if options.address.is_tls { Some(tls::config(&options.tls)?) } else { None };
        let shared = Arc::new(Shared { options, timing, tls, state: Mutex::default(), ended: Condvar::new() });
        let theirs = Arc::clone(&shared);
        thread::Builder::new().name("broker".into()).spawn(move || theirs.keep_alive())?;
        Ok(Self { shared })
    }

    /// Takes a message from the first queue that has one, if any has.
    ///
    /// # Errors
    /// If the broker cannot be reached, or ends the connection.
    pub fn take(&self) -> Result<Option<Message>, Error> {
        let all: Vec<usize> = (0..self.shared.options.queues.len()).collect();
        self.take_from_any(&all)
    }

    /// As [`Broker::take`], but only from these queues, by their numbers in [`Options::queues`].
    ///
    /// # Errors
    /// As [`Broker::take`].
    pub fn take_from_any(&self, numbers: &[usize]) -> Result<Option<Message>, Error> {
        let Shared { options, .. } = &*self.shared;
        self.shared.with(|session, connection| {
            for (number, queue) in numbers.iter().filter_map(|number| Some((*number, options.queues.get(*number)?))) {
                if let Some(taken) = session.get(&queue.name, options.largest)? {
                    return Ok(Some(Message::of(taken, number, connection)));
                }
            }
            Ok(None)
        })
    }

    /// Declares queues that are not among those of the [`Options`], as far as that was not done over this connection.
    ///
    /// # Errors
    /// As [`Broker::take`].
    pub fn declare(&self, queues: &[Queue]) -> Result<(), Error> {
        self.shared.with(|session, _| {
            queues.iter().try_for_each(|queue| session.declare_once(&queue.name, queue.max_priority))
        })
    }

    /// Takes a message from one queue, which was declared, if it has one. [`Message::queue`] is 0 then.
    ///
    /// # Errors
    /// As [`Broker::take`].
    pub fn take_from(&self, queue: &str) -> Result<Option<Message>, Error> {
        let Shared { options, .. } = &*self.shared;
        self.shared.with(|session, connection| {
            let taken = session.get(queue, options.largest)?;
            Ok(taken.map(|taken| Message::of(taken, 0, connection)))
        })
    }

    /// Publishes a message to a queue. Returns once the broker has stored it.
    ///
    /// # Errors
    /// If it has not, or it is not known whether it has: then the connection was lost.
    pub fn publish(&self, queue: &str, body: &[u8]) -> Result<(), Error> {
        self.publish_as(queue, body, Delivery::default())
    }

    /// Publishes a message to a queue with a priority, or so that it expires. Returns once the broker has stored it.
    ///
    /// # Errors
    /// As [`Broker::publish`].
    pub fn publish_as(&self, queue: &str, body: &[u8], delivery: Delivery) -> Result<(), Error> {
        self.shared.with(|session, _| session.publish(queue, body, delivery))
    }

    /// Publishes the answer to a message, as [`Broker::publish`], while the broker still keeps that message for us.
    ///
    /// # Errors
    /// [`Error::NotHeld`] if it does not, and those of [`Broker::publish`].
    pub fn answer(&self, receipt: Receipt, queue: &str, body: &[u8]) -> Result<(), Error> {
        self.shared.held(receipt, |session, _| session.publish(queue, body, Delivery::default()))
    }

    /// Tells the broker that a message is dealt with, so that it forgets it.
    ///
    /// # Errors
    /// [`Error::NotHeld`] if the broker has put it back into its queue meanwhile; others if the connection is lost now.
    pub fn acknowledge(&self, receipt: Receipt) -> Result<(), Error> {
        self.shared.held(receipt, Session::acknowledge)
    }

    /// Gives a message back to its queue, for anybody.
    ///
    /// # Errors
    /// As [`Broker::acknowledge`]; then it is there already.
    pub fn requeue(&self, receipt: Receipt) -> Result<(), Error> {
        self.shared.held(receipt, Session::requeue)
    }

    /// Refuses a message for good, without an answer. The broker forgets it, or moves it to the place for such messages
    /// that its administrator has named (`RabbitMQ`'s dead letter exchange).
    ///
    /// # Errors
    /// As [`Broker::acknowledge`].
    pub fn reject(&self, receipt: Receipt) -> Result<(), Error> {
        self.shared.held(receipt, Session::reject)
    }

    /// How many messages are in a queue, without those that somebody has taken and not acknowledged.
    ///
    /// # Errors
    /// As [`Broker::take`].
    pub fn count(&self, queue: &Queue) -> Result<u32, Error> {
        self.look_at(queue).map(|state| state.messages)
    }

    /// Declares a queue, and tells what is in it and who reads it.
    ///
    /// # Errors
    /// As [`Broker::take`].
    pub fn look_at(&self, queue: &Queue) -> Result<QueueState, Error> {
        self.shared.with(|session, _| session.declare(&queue.name, queue.max_priority))
    }

    /// Whether the broker still keeps a message for us: the connection over which it came is still there.
    pub fn is_held(&self, receipt: Receipt) -> bool {
        let state = self.shared.lock();
        state.session.is_some() && state.connection == receipt.connection
    }

    /// The number of the connection that is open, which counts all that were opened; `None` if none is.
    pub fn connection(&self) -> Option<u64> {
        let state = self.shared.lock();
        state.session.as_ref().map(|_| state.connection)
    }

    /// Why the last connection ended, until the next one is open.
    pub fn problem(&self) -> Option<String> {
        self.shared.lock().lost.as_ref().map(ToString::to_string)
    }

    /// Ends the connection and its thread. What was taken and is not acknowledged goes back into its queue.
    pub fn close(&self) {
        let session = {
            let mut state = self.shared.lock();
            state.over = true;
            state.session.take()
        };
        self.shared.ended.notify_all();
        if let Some(session) = session {
            session.close();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with an open connection.
    fn with<T>(&self, action: impl FnOnce(&mut Session, u64) -> Result<T, Error>) -> Result<T, Error> {
        let mut state = self.lock();
        if state.over {
            return Err(Error::Lost(io::Error::new(io::ErrorKind::NotConnected, "the connection was closed here")));
        }
        if state.session.is_none() {
            let session = self.connect()?;
            state.connection += 1;
            state.lost = None;
            state.session = Some(session);
        }
        let connection = state.connection;
        let Some(session) = state.session.as_mut() else { return Err(Error::NotHeld) };
        let outcome = action(session, connection);
        state.settle(outcome)
    }

    /// Does something with a message that the broker still keeps for us.
    fn held(&self, receipt: Receipt, action: impl FnOnce(&mut Session, u64) -> Result<(), Error>) -> Result<(), Error> {
        let mut state = self.lock();
        let is_same = state.connection == receipt.connection;
        let Some(session) = state.session.as_mut().filter(|_| is_same) else { return Err(Error::NotHeld) };
        let outcome = action(session, receipt.tag);
        state.settle(outcome)
    }

    fn connect(&self) -> Result<Session, Error> {
        let Options { address, tls, name, queues, others, timeout, .. } = &self.options;
        let mut session =
            Session::open(address, self.tls.as_ref(), tls.identity.is_some(), name, *timeout, self.timing)?;
        for queue in queues.iter().chain(others) {
            session.declare(&queue.name, queue.max_priority)?;
        }
        Ok(session)
    }

    /// The thread: no test and no upload elsewhere keeps heartbeats from being sent.
    fn keep_alive(&self) {
        let mut state = self.lock();
        while !state.over {
            if let Some(session) = state.session.as_mut() {
                let outcome = session.keep_alive();
                // An error is told when the connection is used next.
                let _ = state.settle(outcome);
            }
            state = self.ended.wait_timeout(state, self.timing.tick).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl State {
    /// Drops the connection after an error that it does not survive.
    fn settle<T>(&mut self, outcome: Result<T, Error>) -> Result<T, Error> {
        let survives = match &outcome {
            Ok(_)
            | Err(
                Error::TooLarge { .. }
                | Error::Refused { .. }
                | Error::NoQueue(_)
                | Error::NotStored
                | Error::Blocked(_),
            ) => true,
            Err(_) => false,
        };
        if !survives {
            self.session = None;
        }
        match outcome {
            Err(error) if !survives => {
                let again = io::Error::other(error.to_string());
                self.lost = Some(Error::Lost(again));
                Err(error)
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests;
