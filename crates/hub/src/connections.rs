//! [`Connections`]: open connections, and which to close when there are too many.
//!
//! A connection is anonymous until a request with a token comes over it. Anonymous connections have a limit per
//! address, and all together have half of the places; beyond that the oldest is closed. So a client with a token always
//! finds a place, even from an address with many anonymous connections: its request follows at once, and connections
//! that are only held open are older.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::party::{Origin, Party};

/// Most connections of one worker.
const OF_A_WORKER: usize = 64;

/// Most connections of registering machines from one address.
const OF_JOINING: usize = 1024;

/// The open connections.
#[derive(Debug, Clone)]
pub(crate) struct Connections {
    each: usize,
    all: usize,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    last: u64,
    /// Signals that close each party's connections, oldest first.
    parties: HashMap<Party, BTreeMap<u64, Arc<Notify>>>,
    /// Anonymous connections, oldest first.
    anybody: BTreeMap<u64, Party>,
}

/// An open connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct Visit {
    number: u64,
    /// Address of the other side.
    pub(crate) peer: IpAddr,
    /// Whether the other side is a trusted proxy, whose connections many clients share.
    is_proxy: bool,
    party: Mutex<Party>,
    end: Arc<Notify>,
    connections: Connections,
}

impl Connections {
    /// Creates the limits for anonymous connections: per address, and for all together.
    pub(crate) fn new(each: usize, all: usize) -> Self {
        Self { each: each.max(1), all: all.max(1), known: Arc::default() }
    }

    /// Records a new connection.
    pub(crate) fn open(&self, peer: IpAddr, is_proxy: bool) -> Visit {
        let party = Party::Anybody(Origin::of(peer));
        let end = Arc::new(Notify::new());
        let mut known = self.lock();
        known.last = known.last.wrapping_add(1);
        let number = known.last;
        known.insert(number, &party, end.clone());
        if is_proxy {
            // Connections of a proxy are shared by workers, so they are not anonymous.
            known.anybody.remove(&number);
        } else {
            known.leave_oldest_of(&party, self.each);
        }
        while known.anybody.len() > self.all {
            known.leave_oldest();
        }
        drop(known);
        Visit { number, peer, is_proxy, party: Mutex::new(party), end, connections: self.clone() }
    }

    /// Closes the oldest anonymous connection to make room for one more. False if there is none.
    pub(crate) fn make_room(&self) -> bool {
        self.lock().leave_oldest()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn insert(&mut self, number: u64, party: &Party, end: Arc<Notify>) {
        self.parties.entry(party.clone()).or_default().insert(number, end);
        if party.is_anybody() {
            self.anybody.insert(number, party.clone());
        }
    }

    fn remove(&mut self, number: u64, party: &Party) -> Option<Arc<Notify>> {
        self.anybody.remove(&number);
        let of_party = self.parties.get_mut(party)?;
        let end = of_party.remove(&number);
        if of_party.is_empty() {
            self.parties.remove(party);
        }
        end
    }

    fn leave_oldest_of(&mut self, party: &Party, most: usize) {
        while let Some(of_party) = self.parties.get(party)
            && of_party.len() > most
            && let Some(oldest) = of_party.keys().next().copied()
        {
            if let Some(end) = self.remove(oldest, party) {
                end.notify_one();
            }
        }
    }

    fn leave_oldest(&mut self) -> bool {
        let Some((number, party)) = self.anybody.pop_first() else { return false };
        if let Some(end) = self.remove(number, &party) {
            end.notify_one();
        }
        true
    }
}

impl Visit {
    /// Records that a request of this party has come over the connection.
    pub(crate) fn belongs_to(&self, party: &Party) {
        let mut mine = self.party.lock().unwrap_or_else(PoisonError::into_inner);
        // A proxy's connection stays the proxy's, and a request without a token does not make a connection anonymous
        // again.
        if self.is_proxy || *mine == *party || party.is_anybody() {
            return;
        }
        let mut known = self.connections.lock();
        let Some(end) = known.remove(self.number, &mine) else { return };
        known.insert(self.number, party, end);
        match party {
            Party::Worker(_) => known.leave_oldest_of(party, OF_A_WORKER),
            Party::Joining(_) => known.leave_oldest_of(party, OF_JOINING),
            Party::Anybody(_) | Party::Admin => {}
        }
        *mine = party.clone();
    }

    /// Completes when this connection is to be closed to make room.
    pub(crate) async fn left(&self) {
        self.end.notified().await;
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let party = self.party.lock().unwrap_or_else(PoisonError::into_inner);
        self.connections.lock().remove(self.number, &party);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_left(visit: &Visit) -> bool {
        use std::future::Future;
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        std::pin::pin!(visit.left()).poll(&mut context).is_ready()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn the_oldest_without_a_token_is_left() {
        let connections = Connections::new(2, 3);
        let first = connections.open(ip("192.0.2.1"), false);
        let worker = connections.open(ip("192.0.2.1"), false);
        worker.belongs_to(&Party::Worker("w".into()));
        let second = connections.open(ip("192.0.2.1"), false);
        assert!(!is_left(&first), "the worker's does not count");
        let third = connections.open(ip("192.0.2.1"), false);
        assert!(is_left(&first) && !is_left(&second) && !is_left(&third) && !is_left(&worker));
        let other = connections.open(ip("192.0.2.2"), false);
        let another = connections.open(ip("192.0.2.3"), false);
        assert!(is_left(&second) && !is_left(&other) && !is_left(&another), "three are the most of all");
        drop(third);
        assert!(connections.make_room() && is_left(&other) && connections.make_room() && is_left(&another));
        assert!(!connections.make_room() && !is_left(&worker));
        drop((first, worker, second, other, another));
        assert!(connections.lock().parties.is_empty() && connections.lock().anybody.is_empty());
    }

    #[test]
    fn a_worker_has_a_limit_of_its_own_and_a_proxy_none() {
        let connections = Connections::new(1, 1000);
        let party = Party::Worker("w".into());
        let visits: Vec<_> = (0..OF_A_WORKER + 2)
            .map(|_| {
                let visit = connections.open(ip("192.0.2.1"), false);
                visit.belongs_to(&party);
                visit
            })
            .collect();
        assert_eq!(visits.iter().filter(|visit| is_left(visit)).count(), 2);
        let proxy: Vec<_> = (0..100).map(|_| connections.open(ip("127.0.0.1"), true)).collect();
        assert!(!proxy.iter().any(is_left));
    }
}
