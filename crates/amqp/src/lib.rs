//! A small client of AMQP 0-9-1 brokers such as `RabbitMQ`, for a worker that takes one message at a time.
//!
//! It blocks, and needs no runtime: a machine that tests packages has one connection to its broker. A [`Broker`] keeps it
//! alive from a thread of its own, whatever the caller is doing, and opens it again when it was lost.
//!
//! - [`Broker::take`] takes at most one message, which the broker keeps until [`Broker::acknowledge`]. Nothing is fetched in
//!   advance.
//! - [`Broker::publish`] returns once the broker has confirmed that it has stored the message.
//! - Messages that were taken over a connection that is lost go back into their queue: see [`Broker::is_held`].
//!
//! What a broker sends is read with limits. References are to the AMQP 0-9-1 specification and to `RabbitMQ`'s extensions
//! of it (publisher confirms, `basic.nack`, `connection.blocked`).

mod broker;
mod error;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
pub mod frame;
mod method;
mod session;
mod timing;
mod tls;
mod transport;
mod wire;

pub use broker::{Broker, Message, Options, Queue, Receipt};
pub use error::Error;
pub use method::{Delivery, Method};
pub use session::QueueState;
pub use timing::Timing;
pub use tls::{Identity, TlsError, TlsOptions};
