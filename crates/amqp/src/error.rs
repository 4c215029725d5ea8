//! [`Error`]: what goes wrong with a broker, and what to do about it.

use std::io;

use advice::{Advise, Help};

use crate::tls::TlsError;

/// What goes wrong with a broker.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host has no address, or nothing answers there.
    #[error("{host}:{port} does not answer: {error}")]
    Unreachable {
        /// The broker's host.
        host: String,
        /// Its port.
        port: u16,
        /// What the system says.
        error: io::Error,
    },
    /// There is no encrypted connection.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// What answers is not a broker of AMQP 0-9-1.
    #[error("what answers there is not a broker of AMQP 0-9-1: {0}")]
    NotABroker(String),
    /// The broker does not know the user, or the password is wrong.
    #[error("the broker refuses this user: {0}")]
    Login(String),
    /// The user may not use the virtual host, or it does not exist.
    #[error("the broker refuses the virtual host: {0}")]
    VirtualHost(String),
    /// The broker has closed the connection or a channel, with one of AMQP's reply codes.
    #[error("the broker has ended it with code {code}: {text}")]
    Closed {
        /// AMQP's reply code.
        code: u16,
        /// What the broker says.
        text: String,
    },
    /// The broker does not take the message, with one of AMQP's reply codes. The connection and what was taken stay.
    #[error("the broker refuses the message with code {code}: {text}")]
    Refused {
        /// AMQP's reply code.
        code: u16,
        /// What the broker says.
        text: String,
    },
    /// The message is larger than the broker takes.
    #[error("the broker takes no message of {size} bytes, only up to {most}")]
    TooLarge {
        /// The message's size, in bytes.
        size: usize,
        /// The broker's limit, in bytes.
        most: usize,
    },
    /// There is no queue of this name.
    #[error("the broker has no queue {0}")]
    NoQueue(String),
    /// The broker could not store the message.
    #[error("the broker has not stored the message")]
    NotStored,
    /// The broker takes no messages for now.
    #[error("the broker takes no messages for now: {0}")]
    Blocked(String),
    /// The connection was lost.
    #[error("the connection to the broker was lost: {0}")]
    Lost(#[from] io::Error),
    /// The message was taken over a connection that is lost: the broker has put it back into its queue.
    #[error("the broker has given the message back to its queue, as the connection was lost")]
    NotHeld,
}

impl Advise for Error {
    fn help(&self) -> Help {
        match self {
            Self::Unreachable { .. } => {
                "check host and port of the address, the firewall between, and whether the broker listens there".into()
            }
            Self::Tls(error) => error.help(),
            Self::NotABroker(_) => {
                "an encrypted port wants amqps:// and a plain one amqp://; 5671 and 5672 are the usual ports. A broker that is \
                 being started, and a proxy without one, end connections too"
                    .into()
            }
            Self::Login(_) => {
                "check user and password in the address; `guest` is taken from the broker's own host only \
                               (RabbitMQ: loopback_users)"
                    .into()
            }
            Self::VirtualHost(_) => {
                "check the address after the host, and the user's permissions: rabbitmqctl list_permissions".into()
            }
            Self::Closed { code: 403, .. } | Self::Refused { code: 403, .. } => {
                "the user needs permission to configure, write and read debci's queues: rabbitmqctl set_permissions"
                    .into()
            }
            Self::Closed { .. } | Self::Refused { .. } | Self::NotStored => "look into the broker's log".into(),
            Self::TooLarge { .. } => "leave more out, or raise the broker's max_message_size".into(),
            Self::NoQueue(_) => "start the program that reads from that queue, such as debci's collector".into(),
            Self::Blocked(_) => "the broker has too little memory or disk space: look into its log".into(),
            Self::Lost(_) | Self::NotHeld => "it is tried again".into(),
        }
    }
}

impl Error {
    /// Whether it may be gone after a while without anybody doing anything here.
    pub fn is_passing(&self) -> bool {
        !matches!(self, Self::TooLarge { .. } | Self::NotHeld)
    }
}

/// An error of the protocol: the other side sent something else than expected.
pub(crate) fn unexpected(what: &str) -> Error {
    Error::Lost(io::Error::new(io::ErrorKind::InvalidData, format!("it sent {what}")))
}
