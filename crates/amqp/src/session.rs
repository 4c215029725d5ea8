//! [`Session`]: one connection to a broker, from the handshake to its end.
//!
//! Channel 1 is for taking messages, channel 2 for publishing: a broker closes the channel on which a message is too large,
//! and what was taken on the other one stays ours.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use crate::error::{Error, unexpected};
use crate::frame::{Frame, Kind, LARGEST, OVERHEAD};
use crate::method::{self, Delivery, Method};
use crate::timing::Timing;
use crate::transport::{Transport, ended, lost};
use protocol::BrokerAddress;

const CONNECTION: u16 = 0;
const TAKING: u16 = 1;
const PUBLISHING: u16 = 2;

/// Shortest and longest heartbeat interval that is agreed to, in seconds.
const HEARTBEATS: std::ops::RangeInclusive<u16> = 4..=60;

/// A connection.
#[derive(Debug)]
pub(crate) struct Session {
    transport: Transport,
    host: String,
    input: Vec<u8>,
    largest_frame: usize,
    timing: Timing,
    heartbeat: Duration,
    sent: Instant,
    heard: Instant,
    /// How many messages were published; `None` if the channel for it is closed.
    published: Option<u64>,
    blocked: Option<String>,
    /// Whether the broker is known to take heartbeats: it has told how often.
    is_open: bool,
    /// Names of the queues that were declared.
    declared: BTreeSet<String>,
}

/// What a broker says of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueState {
    /// How many messages it has that nobody has taken.
    pub messages: u32,
    /// How many clients have its messages sent to them. Those that ask for single messages, as this one, do not count.
    pub consumers: u32,
}

/// What a broker says of a message that was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Confirmed {
    Stored,
    /// There is no queue for it.
    Returned,
    NotStored,
}

/// A message that was taken.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) tag: u64,
    pub(crate) redelivered: bool,
    pub(crate) priority: u8,
    pub(crate) body: Vec<u8>,
}

impl Session {
    /// Connects and logs in.
    pub(crate) fn open(
        address: &BrokerAddress,
        tls: Option<&Arc<ClientConfig>>,
        has_certificate: bool,
        name: &str,
        timeout: Duration,
        timing: Timing,
    ) -> Result<Self, Error> {
        let transport = Transport::connect(address, tls, timeout)?;
        let now = Instant::now();
        let mut session = Self {
            transport,
            host: address.host.clone(),
            input: Vec::new(),
            largest_frame: LARGEST,
            timing,
            heartbeat: timeout,
            sent: now,
            heard: now,
            published: None,
            blocked: None,
            is_open: false,
            declared: BTreeSet::new(),
        };
        session.shake_hands(address, has_certificate, name, timeout)?;
        session.is_open = true;
        session.open_channel(TAKING)?;
        Ok(session)
    }

    fn shake_hands(
        &mut self,
        address: &BrokerAddress,
        has_certificate: bool,
        name: &str,
        timeout: Duration,
    ) -> Result<(), Error> {
        self.write(b"AMQP\x00\x00\x09\x01")?;
        let until = Instant::now() + timeout;
        let first = self.next(until).map_err(|error| match error {
            // A port of something else, or a broker that wants TLS.
            Error::Lost(error) => Error::NotABroker(error.to_string()),
            other => other,
        })?;
        let Some(Method::Start(mechanisms)) = self.method(&first, CONNECTION)? else {
            return Err(Error::NotABroker("it does not begin with connection.start".into()));
        };
        let offers = |mechanism: &str| mechanisms.split(' ').any(|offered| offered == mechanism);
        let (mechanism, response) = match &address.login {
            None if has_certificate && offers("EXTERNAL") => ("EXTERNAL", Vec::new()),
            login => {
                let guest = || ("guest".to_owned(), safetext::Secret::new("guest"));
                let (user, password) = login.clone().unwrap_or_else(guest);
                ("PLAIN", format!("\0{user}\0{}", password.reveal()).into_bytes())
            }
        };
        if !offers(mechanism) {
            return Err(Error::Login(format!("it takes {mechanisms}, and not {mechanism}")));
        }
        self.send(CONNECTION, method::start_ok(name, mechanism, &response))?;
        let refused = |error| match error {
            Error::Closed { code: 403, text } => Error::Login(text),
            // Brokers that cannot say so end the connection.
            Error::Lost(error) if error.kind() == io::ErrorKind::UnexpectedEof => Error::Login("it has hung up".into()),
            other => other,
        };
        let tuned = self.answer(CONNECTION, until, |method| match method {
            Method::Tune(channels, frame, heartbeat) => Some((channels, frame, heartbeat)),
            _ => None,
        });
        let (channels, frame, heartbeat) = tuned.map_err(refused)?;
        if channels != 0 && channels < PUBLISHING {
            return Err(unexpected("a limit of less than two channels"));
        }
        let frame = if frame == 0 { LARGEST } else { LARGEST.min(frame as usize) };
        // 4096 is the least that a broker may ask for (specification, `frame-min-size`).
        self.largest_frame = frame.max(4096);
        let wanted = if heartbeat == 0 { *HEARTBEATS.end() } else { heartbeat };
        let heartbeat = wanted.clamp(*HEARTBEATS.start(), *HEARTBEATS.end());
        self.heartbeat = self.timing.heartbeat_unit * heartbeat.into();
        self.transport.set_write_timeout(self.heartbeat * 2)?;
        self.send(CONNECTION, method::tune_ok(PUBLISHING, self.largest_frame as u32, heartbeat))?;
        self.send(CONNECTION, method::connection_open(&address.virtual_host))?;
        let opened = self.answer(CONNECTION, until, |method| (method == Method::ConnectionOpenOk).then_some(()));
        opened.map_err(|error| match error {
            Error::Closed { code: 402 | 403 | 530, text } => Error::VirtualHost(text),
            Error::Lost(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Error::VirtualHost(format!("it has hung up ({})", address.virtual_host))
            }
            other => other,
        })
    }

    /// When the broker has to have answered what it is asked now.
    fn answer_due(&self) -> Instant {
        Instant::now() + self.timing.answer
    }

    fn open_channel(&mut self, channel: u16) -> Result<(), Error> {
        self.send(channel, method::channel_open())?;
        self.answer(channel, self.answer_due(), |method| (method == Method::ChannelOpenOk).then_some(()))
    }

    /// Declares a durable queue, and tells what is in it.
    pub(crate) fn declare(&mut self, queue: &str, max_priority: Option<u8>) -> Result<QueueState, Error> {
        self.send(TAKING, method::declare(queue, max_priority))?;
        self.answer(TAKING, self.answer_due(), |method| match method {
            Method::DeclareOk(messages, consumers) => Some(QueueState { messages, consumers }),
            _ => None,
        })
    }

    /// Declares a durable queue, unless it was declared over this connection.
    pub(crate) fn declare_once(&mut self, queue: &str, max_priority: Option<u8>) -> Result<(), Error> {
        if !self.declared.contains(queue) {
            self.declare(queue, max_priority)?;
            self.declared.insert(queue.to_owned());
        }
        Ok(())
    }

    /// Takes a message from a queue, if there is one. Of a body, no more than `most` bytes and one more are kept.
    pub(crate) fn get(&mut self, queue: &str, most: usize) -> Result<Option<Taken>, Error> {
        self.send(TAKING, method::get(queue))?;
        let until = self.answer_due();
        let got = self.answer(TAKING, until, |method| match method {
            Method::GetOk(tag, redelivered) => Some(Some((tag, redelivered))),
            Method::GetEmpty => Some(None),
            _ => None,
        })?;
        let Some((tag, redelivered)) = got else { return Ok(None) };
        let header = self.content(TAKING, Kind::Header, until)?;
        let properties = method::content_properties(&header).ok_or_else(|| unexpected("a message without a size"))?;
        let method::Properties { size, priority } = properties;
        let (mut body, mut seen) = (Vec::new(), 0_u64);
        while seen < size {
            let part = self.content(TAKING, Kind::Body, until)?;
            seen += part.len() as u64;
            let room = most.saturating_add(1).saturating_sub(body.len());
            body.extend_from_slice(part.get(..room).unwrap_or(&part));
        }
        Ok(Some(Taken { tag, redelivered, priority, body }))
    }

    /// Tells the broker that a message is dealt with.
    pub(crate) fn acknowledge(&mut self, tag: u64) -> Result<(), Error> {
        self.send(TAKING, method::ack(tag))?;
        self.settled()
    }

    /// Gives a message back.
    pub(crate) fn requeue(&mut self, tag: u64) -> Result<(), Error> {
        self.send(TAKING, method::requeue(tag))?;
        self.settled()
    }

    /// Refuses a message for good: the broker forgets it, or keeps it elsewhere if its administrator has said where.
    pub(crate) fn reject(&mut self, tag: u64) -> Result<(), Error> {
        self.send(TAKING, method::reject(tag))?;
        self.settled()
    }

    /// Waits until the broker has dealt with everything before on the channel: `basic.ack` has no answer of its own, so
    /// something harmless that has one follows.
    fn settled(&mut self) -> Result<(), Error> {
        self.send(TAKING, method::qos())?;
        self.answer(TAKING, self.answer_due(), |method| (method == Method::QosOk).then_some(()))
    }

    fn open_publishing(&mut self) -> Result<(), Error> {
        self.open_channel(PUBLISHING)?;
        self.send(PUBLISHING, method::confirm_select())?;
        self.answer(PUBLISHING, self.answer_due(), |method| (method == Method::SelectOk).then_some(()))?;
        self.published = Some(0);
        Ok(())
    }

    /// Publishes a message to a queue. Returns once the broker has stored it.
    pub(crate) fn publish(&mut self, queue: &str, body: &[u8], delivery: Delivery) -> Result<(), Error> {
        if let Some(reason) = &self.blocked {
            return Err(Error::Blocked(reason.clone()));
        }
        if self.published.is_none() {
            self.open_publishing()?;
        }
        let number = self.published.unwrap_or(0) + 1;
        self.published = Some(number);
        self.send(PUBLISHING, method::publish(queue))?;
        self.send_frame(Kind::Header, PUBLISHING, method::content_header(body.len() as u64, delivery))?;
        for part in body.chunks(self.largest_frame - OVERHEAD) {
            self.send_frame(Kind::Body, PUBLISHING, part.to_vec())?;
        }
        match self.confirmed(number) {
            Ok(Confirmed::Stored) => Ok(()),
            Ok(Confirmed::Returned) => Err(Error::NoQueue(queue.to_owned())),
            Ok(Confirmed::NotStored) => Err(Error::NotStored),
            Err(Error::Refused { code, text }) => {
                Err(too_large(code, &text, body.len()).unwrap_or(Error::Refused { code, text }))
            }
            Err(error) => Err(error),
        }
    }

    /// Waits for the confirmation of a message. A broker without memory or disk space stops reading, and takes the message
    /// later: a new connection would only bring it another copy.
    fn confirmed(&mut self, number: u64) -> Result<Confirmed, Error> {
        let (mut returned, until) = (false, Instant::now() + self.timing.blocked);
        loop {
            let confirmed = self.answer(PUBLISHING, self.answer_due().min(until), |method| match method {
                Method::Return(..) => {
                    returned = true;
                    None
                }
                Method::Ack(tag, _) if tag >= number => Some(Confirmed::Stored),
                Method::Nack(tag, _) if tag >= number => Some(Confirmed::NotStored),
                _ => None,
            });
            match confirmed {
                Ok(Confirmed::Stored) if returned => return Ok(Confirmed::Returned),
                Err(Error::Lost(error))
                    if error.kind() == io::ErrorKind::TimedOut
                        && self.blocked.is_some()
                        && Instant::now() < until
                        && !self.is_silent() => {}
                other => return other,
            }
        }
    }

    /// Whether the broker has not been heard for so long that it counts as gone.
    fn is_silent(&self) -> bool {
        self.heard.elapsed() > self.heartbeat * 2
    }

    /// Sends a heartbeat if one is due, and reads what has come. Fails if the broker has not been heard for too long.
    pub(crate) fn keep_alive(&mut self) -> Result<(), Error> {
        loop {
            match self.next(Instant::now()) {
                Ok(frame) => drop(self.method(&frame, CONNECTION)?),
                Err(Error::Lost(error)) if error.kind() == io::ErrorKind::TimedOut => break,
                Err(error) => return Err(error),
            }
        }
        if self.is_silent() {
            let silent = format!("it was silent for {} s", self.heard.elapsed().as_secs());
            return Err(Error::Lost(io::Error::new(io::ErrorKind::TimedOut, silent)));
        }
        Ok(())
    }

    /// Says goodbye. What was taken and is not acknowledged goes back into its queue.
    pub(crate) fn close(mut self) {
        let ended = self.send(CONNECTION, method::connection_close()).and_then(|()| {
            self.answer(CONNECTION, Instant::now() + Duration::from_secs(2), |method| {
                (method == Method::ConnectionCloseOk).then_some(())
            })
        });
        // The broker notices the end of the stream too.
        drop(ended);
    }

    /// Reads until a method on this channel is what is waited for.
    fn answer<T>(
        &mut self,
        channel: u16,
        until: Instant,
        mut wanted: impl FnMut(Method) -> Option<T>,
    ) -> Result<T, Error> {
        loop {
            let frame = self.next(until)?;
            if let Some(found) = self.method(&frame, channel)?.and_then(&mut wanted) {
                return Ok(found);
            }
        }
    }

    /// Reads a part of a message.
    fn content(&mut self, channel: u16, kind: Kind, until: Instant) -> Result<Vec<u8>, Error> {
        loop {
            let frame = self.next(until)?;
            if frame.channel == channel && frame.kind == kind {
                return Ok(frame.payload);
            }
            self.method(&frame, channel)?;
        }
    }

    /// The method in a frame, if it is for this channel. Deals with what may come at any time.
    fn method(&mut self, frame: &Frame, channel: u16) -> Result<Option<Method>, Error> {
        if frame.kind != Kind::Method {
            // A returned message has contents, which nobody reads.
            return Ok(None);
        }
        let method = Method::parse(&frame.payload).ok_or_else(|| unexpected("a method that is cut off"))?;
        match method {
            Method::ConnectionClose(code, text) => {
                // The connection is over in any case; the broker's reason is the error to report.
                let _ = self.send(CONNECTION, method::connection_close_ok());
                Err(Error::Closed { code, text: safetext::printable(&text) })
            }
            Method::ChannelClose(code, text) => {
                self.send(frame.channel, method::channel_close_ok())?;
                let text = safetext::printable(&text);
                if frame.channel != PUBLISHING {
                    return Err(Error::Closed { code, text });
                }
                // What was taken on the other channel is still ours. Whoever does not publish does not need to know.
                self.published = None;
                if channel == PUBLISHING { Err(Error::Refused { code, text }) } else { Ok(None) }
            }
            Method::Blocked(reason) => {
                self.blocked = Some(safetext::printable(&reason));
                Ok(None)
            }
            Method::Unblocked => {
                self.blocked = None;
                Ok(None)
            }
            method => Ok((frame.channel == channel).then_some(method)),
        }
    }

    /// The next frame that is not a heartbeat. Fails with [`io::ErrorKind::TimedOut`] if none comes in time; a part of
    /// one is kept.
    fn next(&mut self, until: Instant) -> Result<Frame, Error> {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let parsed = Frame::parse(&self.input).map_err(|error| unexpected(&error.to_string()))?;
            if let Some((frame, length)) = parsed {
                self.input.drain(..length);
                if frame.kind == Kind::Heartbeat {
                    continue;
                }
                return Ok(frame);
            }
            if self.is_open && self.sent.elapsed() >= self.heartbeat / 3 {
                self.send_frame(Kind::Heartbeat, CONNECTION, Vec::new())?;
            }
            let left = until.saturating_duration_since(Instant::now());
            self.transport.set_read_timeout(left.min(self.heartbeat / 3))?;
            match self.transport.read(&mut buffer) {
                Ok(0) => return Err(Error::Lost(ended())),
                Ok(length) => {
                    self.heard = Instant::now();
                    self.input.extend_from_slice(buffer.get(..length).unwrap_or_default());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    // Without heartbeats there will be no answer.
                    if Instant::now() >= until || self.is_open && self.is_silent() {
                        return Err(Error::Lost(io::Error::new(io::ErrorKind::TimedOut, "the broker does not answer")));
                    }
                }
                Err(error) => return Err(lost(error, &self.host)),
            }
        }
    }

    fn send(&mut self, channel: u16, method: Vec<u8>) -> Result<(), Error> {
        self.send_frame(Kind::Method, channel, method)
    }

    fn send_frame(&mut self, kind: Kind, channel: u16, payload: Vec<u8>) -> Result<(), Error> {
        let mut bytes = Vec::with_capacity(payload.len() + OVERHEAD);
        Frame { kind, channel, payload }.encode_to(&mut bytes);
        self.write(&bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = self.transport.write_all(bytes).and_then(|()| self.transport.flush());
        written.map_err(|error| lost(error, &self.host))?;
        self.sent = Instant::now();
        Ok(())
    }
}

/// Reads the broker's limit from its complaint: `PRECONDITION_FAILED - message size 17832106 is larger than configured max
/// size 16777216`.
fn too_large(code: u16, text: &str, size: usize) -> Option<Error> {
    let is_it = code == 406 && text.contains("message size");
    let most = text.rsplit(|char: char| !char.is_ascii_digit()).find(|word| !word.is_empty())?.parse().ok()?;
    // 311 is AMQP's own code for it, and says nothing of the limit.
    is_it.then_some(Error::TooLarge { size, most })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brokers_limit_is_read_from_its_words() {
        let text = "PRECONDITION_FAILED - message size 17832106 is larger than configured max size 16777216";
        assert!(matches!(too_large(406, text, 9), Some(Error::TooLarge { size: 9, most: 16_777_216 })));
        assert!(too_large(406, "PRECONDITION_FAILED - inequivalent arg 'x-max-priority'", 9).is_none());
        assert!(too_large(404, text, 9).is_none());
    }
}
