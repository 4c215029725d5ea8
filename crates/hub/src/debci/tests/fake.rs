//! A message broker for tests, in memory, with clients whose connections are cut when a test says so.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use amqp::{Delivery, Error, Message, Queue, QueueState, Receipt};
use debci::RESULTS_QUEUE;

use crate::debci::broker::Broker;

/// When a connection is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    Now,
    /// As soon as a message was taken.
    AfterTake,
    /// The next answer does not arrive.
    BeforeAnswer,
    /// The next answer is stored and confirmed, and what follows does not arrive.
    AfterAnswer,
}

#[derive(Debug, Default)]
pub(super) struct Server(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    queues: HashMap<String, VecDeque<Stored>>,
    held: HashMap<(u64, u64), (String, Stored)>,
    results: Vec<Vec<u8>>,
    connections: u64,
    tags: u64,
    /// The connections that are open.
    open: Vec<u64>,
    cut: Option<Cut>,
    is_closed: bool,
    most: Option<usize>,
    /// Jobs, as their lines, for which no result is small enough.
    unanswerable: Vec<String>,
    consumers: u32,
    rejected: usize,
}

#[derive(Debug, Clone)]
struct Stored {
    body: Vec<u8>,
    priority: u8,
    redelivered: bool,
    expires: Option<Duration>,
}

fn lost() -> Error {
    Error::Lost(io::ErrorKind::ConnectionReset.into())
}

impl State {
    /// Ends all connections: what was not acknowledged goes back.
    fn cut(&mut self) {
        self.open.clear();
        let mut held: Vec<_> = self.held.drain().collect();
        held.sort_by_key(|(receipt, _)| *receipt);
        for (_, (queue, mut stored)) in held.into_iter().rev() {
            stored.redelivered = true;
            self.queues.entry(queue).or_default().push_front(stored);
        }
    }
}

impl Server {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(super) fn client(server: &Arc<Self>) -> Client {
        Client { server: Arc::clone(server), state: Mutex::new((None, false)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, queue: &str, line: &str, priority: u8) {
        let stored = Stored { body: line.as_bytes().to_vec(), priority, redelivered: false, expires: None };
        self.state().queues.entry(queue.to_owned()).or_default().push_back(stored);
    }

    /// A message that another client has had.
    pub(super) fn put_back(&self, queue: &str, line: &str) {
        let stored = Stored { body: line.as_bytes().to_vec(), priority: 0, redelivered: true, expires: None };
        self.state().queues.entry(queue.to_owned()).or_default().push_back(stored);
    }

    /// A result that a worker has published.
    pub(super) fn publish_result(&self, body: &[u8]) {
        let stored = Stored { body: body.to_vec(), priority: 0, redelivered: false, expires: None };
        self.state().queues.entry(RESULTS_QUEUE.to_owned()).or_default().push_back(stored);
    }

    /// The next job of a queue, as one of debci's workers gets it, with its priority and how long it would have waited.
    pub(super) fn take_job(&self, queue: &str) -> Option<(String, u8, Option<Duration>)> {
        let stored = self.state().queues.get_mut(queue)?.pop_front()?;
        Some((String::from_utf8_lossy(&stored.body).into_owned(), stored.priority, stored.expires))
    }

    /// How many others read each queue.
    pub(super) fn read_by_others(&self, consumers: u32) {
        self.state().consumers = consumers;
    }

    pub(super) fn rejected(&self) -> usize {
        self.state().rejected
    }

    pub(super) fn cut(&self, when: Cut) {
        let mut state = self.state();
        if when == Cut::Now { state.cut() } else { state.cut = Some(when) }
    }

    pub(super) fn refuse_connections(&self, refuse: bool) {
        self.state().is_closed = refuse;
    }

    pub(super) fn takes_at_most(&self, bytes: usize) {
        self.state().most = Some(bytes);
    }

    pub(super) fn takes_no_result_of(&self, lines: Vec<String>) {
        self.state().unanswerable = lines;
    }

    pub(super) fn held(&self) -> usize {
        self.state().held.len()
    }

    pub(super) fn waiting(&self, queue: &str) -> usize {
        self.state().queues.get(queue).map_or(0, VecDeque::len)
    }

    pub(super) fn has_queue(&self, queue: &str) -> bool {
        self.state().queues.contains_key(queue)
    }

    pub(super) fn results(&self) -> usize {
        self.state().results.len()
    }

    /// The files of a result; waits for it.
    pub(super) fn result(&self, number: usize) -> io::Result<BTreeMap<String, Vec<u8>>> {
        let began = std::time::Instant::now();
        while self.results() <= number {
            assert!(began.elapsed() < super::lab::PATIENCE, "there is no result {number}");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let bytes = self.state().results.get(number).cloned().unwrap_or_default();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&bytes[..]));
        let mut files = BTreeMap::new();
        for entry in archive.entries()? {
            let mut entry = entry?;
            let name = entry.path()?.to_string_lossy().into_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            files.insert(name, content);
        }
        Ok(files)
    }
}

pub(super) fn unpacked(bytes: &[u8]) -> io::Result<String> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes).read_to_string(&mut text)?;
    Ok(text)
}

/// A client: its connection, and whether it was closed for good.
pub(super) struct Client {
    server: Arc<Server>,
    state: Mutex<(Option<u64>, bool)>,
}

impl Client {
    /// The number of an open connection.
    fn connect(&self) -> Result<u64, Error> {
        let mut mine = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut server = self.server.state();
        if let Some(connection) = mine.0.filter(|connection| server.open.contains(connection)) {
            return Ok(connection);
        }
        if mine.1 || server.is_closed {
            return Err(lost());
        }
        server.connections += 1;
        let connection = server.connections;
        server.open.push(connection);
        mine.0 = Some(connection);
        Ok(connection)
    }
}

impl Broker for Client {
    fn declare(&self, queues: &[Queue]) -> Result<(), Error> {
        self.connect()?;
        let mut server = self.server.state();
        for queue in queues {
            let wanted = (queue.name != RESULTS_QUEUE).then_some(10);
            assert_eq!(queue.max_priority, wanted, "as debci declares it");
            server.queues.entry(queue.name.clone()).or_default();
        }
        Ok(())
    }

    fn take(&self, queue: &str) -> Result<Option<Message>, Error> {
        let connection = self.connect()?;
        let mut server = self.server.state();
        let Some(stored) = server.queues.get_mut(queue).and_then(VecDeque::pop_front) else { return Ok(None) };
        server.tags += 1;
        let tag = server.tags;
        server.held.insert((connection, tag), (queue.to_owned(), stored.clone()));
        if server.cut == Some(Cut::AfterTake) {
            server.cut = None;
            server.cut();
        }
        let Stored { body, priority, redelivered, .. } = stored;
        Ok(Some(Message { queue: 0, body, redelivered, priority, receipt: Receipt::new(connection, tag) }))
    }

    fn look_at(&self, queue: &Queue) -> Result<QueueState, Error> {
        self.declare(std::slice::from_ref(queue))?;
        let server = self.server.state();
        let messages = server.queues.get(&queue.name).map_or(0, VecDeque::len) as u32;
        Ok(QueueState { messages, consumers: server.consumers })
    }

    fn publish(&self, queue: &str, body: &[u8], delivery: Delivery) -> Result<(), Error> {
        self.connect()?;
        let mut server = self.server.state();
        let (priority, expires) = (delivery.priority.unwrap_or(0), delivery.expires);
        let stored = Stored { body: body.to_vec(), priority, redelivered: false, expires };
        let cut = server.cut.take();
        if cut != Some(Cut::BeforeAnswer) {
            server.queues.get_mut(queue).ok_or_else(|| Error::NoQueue(queue.to_owned()))?.push_back(stored);
        }
        if cut.is_some() {
            // Nobody knows whether it has arrived.
            server.cut();
            return Err(lost());
        }
        Ok(())
    }

    fn reject(&self, receipt: Receipt) -> Result<(), Error> {
        self.acknowledge(receipt)?;
        self.server.state().rejected += 1;
        Ok(())
    }

    fn answer(&self, receipt: Receipt, queue: &str, body: &[u8]) -> Result<(), Error> {
        assert_eq!(queue, "debci_results");
        let mut server = self.server.state();
        if !server.open.contains(&receipt.connection()) {
            return Err(Error::NotHeld);
        }
        let mut held = server.held.iter();
        let asked = held.find(|((connection, tag), _)| Receipt::new(*connection, *tag) == receipt);
        let asked = asked.map(|(_, (_, stored))| stored.body.clone());
        if server.unanswerable.iter().any(|line| Some(line.as_bytes()) == asked.as_deref()) {
            return Err(Error::TooLarge { size: body.len(), most: 0 });
        }
        if let Some(most) = server.most.filter(|most| body.len() > *most) {
            return Err(Error::TooLarge { size: body.len(), most });
        }
        match server.cut.take() {
            None => server.results.push(body.to_vec()),
            Some(Cut::AfterAnswer) => {
                server.results.push(body.to_vec());
                server.cut();
            }
            Some(_) => {
                server.cut();
                return Err(lost());
            }
        }
        Ok(())
    }

    fn acknowledge(&self, receipt: Receipt) -> Result<(), Error> {
        let mut server = self.server.state();
        let found = server.held.keys().find(|(connection, tag)| Receipt::new(*connection, *tag) == receipt).copied();
        found.and_then(|key| server.held.remove(&key)).map(drop).ok_or(Error::NotHeld)
    }

    fn requeue(&self, receipt: Receipt) -> Result<(), Error> {
        let mut server = self.server.state();
        let found = server.held.keys().find(|(connection, tag)| Receipt::new(*connection, *tag) == receipt).copied();
        let (queue, mut stored) = found.and_then(|key| server.held.remove(&key)).ok_or(Error::NotHeld)?;
        stored.redelivered = true;
        server.queues.entry(queue).or_default().push_front(stored);
        Ok(())
    }

    fn connection(&self) -> Option<u64> {
        let mine = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let server = self.server.state();
        mine.0.filter(|connection| server.open.contains(connection))
    }

    fn close(&self) {
        let mut mine = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        mine.1 = true;
        if mine.0.take().is_some() {
            // There is one client at a time in these tests.
            self.server.state().cut();
        }
    }
}
