//! [`Broker`]: what the bridge wants of a message broker, so that tests can have one of their own.

use std::time::Duration;

use advice::{Advice, Advise as _};
use amqp::{Delivery, Error, Message, Queue, QueueState, Receipt, TlsOptions};
use debci::RESULTS_QUEUE;
use protocol::BrokerAddress;
use transfer::Backoff;

/// How long connecting and logging in may take.
const CONNECT: Duration = Duration::from_secs(30);
/// Pauses after errors.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The queue of results.
pub(super) fn results() -> Queue {
    Queue { name: RESULTS_QUEUE.to_owned(), max_priority: None }
}

/// Prepares the connection to a broker. Messages that are taken from it have at most `largest` bytes.
pub(super) fn prepare(address: &BrokerAddress, tls: &TlsOptions, largest: usize) -> Result<amqp::Broker, Advice> {
    let broker = amqp::Broker::new(amqp::Options {
        address: address.clone(),
        tls: tls.clone(),
        name: format!("rocbed hub on {}", rustix::system::uname().nodename().to_string_lossy()),
        queues: Vec::new(),
        others: vec![results()],
        largest,
        timeout: CONNECT,
    });
    broker.map_err(|error| Advice::new(format!("preparing the connection to {address}: {error}"), error.help()))
}

/// Pauses after errors of a broker.
pub(super) fn pauses() -> Backoff {
    Backoff::new(FIRST_PAUSE, LONGEST_PAUSE)
}

/// A message broker. Methods connect where that is necessary.
///
/// # Errors
/// As the methods of [`amqp::Broker`].
pub(crate) trait Broker: Send + Sync {
    /// Connects, and declares queues that were not declared over this connection.
    fn declare(&self, queues: &[Queue]) -> Result<(), Error>;

    /// Takes a message from a queue, if it has one.
    fn take(&self, queue: &str) -> Result<Option<Message>, Error>;

    /// Publishes an answer while the broker keeps the message for us; returns once it is confirmed.
    fn answer(&self, receipt: Receipt, queue: &str, body: &[u8]) -> Result<(), Error>;

    /// Declares a queue, and tells what is in it.
    fn look_at(&self, queue: &Queue) -> Result<QueueState, Error>;

    /// Publishes a message; returns once it is confirmed.
    fn publish(&self, queue: &str, body: &[u8], delivery: Delivery) -> Result<(), Error>;

    /// Refuses a message for good.
    fn reject(&self, receipt: Receipt) -> Result<(), Error>;

    /// Has the broker forget a message.
    fn acknowledge(&self, receipt: Receipt) -> Result<(), Error>;

    /// Gives a message back to its queue.
    fn requeue(&self, receipt: Receipt) -> Result<(), Error>;

    /// The number of the connection that is open, if one is.
    fn connection(&self) -> Option<u64>;

    /// Ends the connection for good; what is not acknowledged goes back into its queue.
    fn close(&self);
}

impl Broker for amqp::Broker {
    fn declare(&self, queues: &[Queue]) -> Result<(), Error> {
        Self::declare(self, queues)
    }

    fn take(&self, queue: &str) -> Result<Option<Message>, Error> {
        self.take_from(queue)
    }

    fn answer(&self, receipt: Receipt, queue: &str, body: &[u8]) -> Result<(), Error> {
        Self::answer(self, receipt, queue, body)
    }

    fn look_at(&self, queue: &Queue) -> Result<QueueState, Error> {
        Self::look_at(self, queue)
    }

    fn publish(&self, queue: &str, body: &[u8], delivery: Delivery) -> Result<(), Error> {
        self.publish_as(queue, body, delivery)
    }

    fn reject(&self, receipt: Receipt) -> Result<(), Error> {
        Self::reject(self, receipt)
    }

    fn acknowledge(&self, receipt: Receipt) -> Result<(), Error> {
        Self::acknowledge(self, receipt)
    }

    fn requeue(&self, receipt: Receipt) -> Result<(), Error> {
        Self::requeue(self, receipt)
    }

    fn connection(&self) -> Option<u64> {
        Self::connection(self)
    }

    fn close(&self) {
        Self::close(self);
    }
}
