//! Asks several time servers at once.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::rand::{GetRandomFlags, getrandom};

use super::sntp::{Answer, PORT, Refusal, question};

/// The number of servers that are asked at once; pools have four addresses.
const AT_ONCE: usize = 4;
/// The number of answers that is enough: of three clocks the middle one is right if any two are.
const ENOUGH: usize = 3;
/// After the first answer, the others are waited for at most this fraction of the timeout.
const GRACE: u32 = 16;

/// The measurement from one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    pub server: SocketAddr,
    /// How far the server's clock is ahead of ours, in nanoseconds (RFC 5905 section 8).
    pub offset: i128,
    /// The round-trip delay of the packets, in nanoseconds.
    pub delay: i128,
}

/// The reason why there is no sample of a server.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("looking up the name: {0}")]
    Name(io::Error),
    #[error("asking: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Refusal(#[from] Refusal),
    #[error("no answer")]
    Silence,
    #[error("it says {}, which is before this image was made", super::http::format(*.0))]
    BeforeFloor(SystemTime),
}

/// The addresses of servers: the first of each, then the second of each, and so on.
pub(super) fn addresses(servers: &[String], failures: &mut Vec<(String, Failure)>) -> Vec<SocketAddr> {
    let mut found: Vec<_> = servers
        .iter()
        .filter_map(|server| match lookup(server) {
            Ok(addresses) => Some(addresses.into_iter()),
            Err(error) => {
                failures.push((server.clone(), Failure::Name(error)));
                None
            }
        })
        .collect();
    let mut addresses = Vec::new();
    loop {
        let before = addresses.len();
        addresses.extend(found.iter_mut().filter_map(Iterator::next));
        if addresses.len() == before {
            addresses.truncate(AT_ONCE);
            return addresses;
        }
    }
}

/// `host`, `host:port`, `[IPv6]:port` or an IPv6 address alone.
fn lookup(server: &str) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = server.parse::<Ipv6Addr>() {
        return Ok(vec![SocketAddr::from((address, PORT))]);
    }
    let found = if server.contains(':') { server.to_socket_addrs() } else { (server, PORT).to_socket_addrs() };
    Ok(found?.collect())
}

/// A server that has been asked and has not answered.
struct Pending {
    server: SocketAddr,
    socket: UdpSocket,
    cookie: u64,
    asked: Instant,
    asked_at: SystemTime,
}

/// Asks all servers at once, twice if necessary, and waits for `timeout` at most.
pub(super) fn ask(
    servers: &[SocketAddr],
    timeout: Duration,
    floor: SystemTime,
    now: &dyn Fn() -> SystemTime,
    failures: &mut Vec<(String, Failure)>,
) -> Vec<Sample> {
    let mut fail = |server: SocketAddr, failure: Failure| failures.push((server.to_string(), failure));
    let mut pending = Vec::new();
    for &server in servers {
        match open(server, now) {
            Ok(asked) => pending.push(asked),
            Err(error) => fail(server, error.into()),
        }
    }
    let mut samples = Vec::new();
    for round in 0..2 {
        if !samples.is_empty() {
            break;
        }
        pending.retain_mut(|asked| match asked.send(now) {
            Ok(()) => true,
            Err(error) => {
                fail(asked.server, error.into());
                false
            }
        });
        let mut deadline = Instant::now() + timeout / 2;
        while !pending.is_empty() && samples.len() < ENOUGH {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { break };
            let ready = wait(&pending, left);
            // From the back, so that removing an entry does not move those that are still to be handled.
            for at in ready.into_iter().rev() {
                match pending[at].receive(floor) {
                    // Late, forged or empty: the real answer may still come.
                    Err(Failure::Refusal(Refusal::NotOurs | Refusal::NotAnAnswer)) => {}
                    Err(Failure::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(failure) => fail(pending.remove(at).server, failure),
                    Ok(sample) => {
                        pending.remove(at);
                        deadline = deadline.min(Instant::now() + timeout / GRACE);
                        samples.push(sample);
                    }
                }
            }
        }
        if round == 1 || !samples.is_empty() {
            pending.drain(..).for_each(|asked| fail(asked.server, Failure::Silence));
        }
    }
    samples
}

fn open(server: SocketAddr, now: &dyn Fn() -> SystemTime) -> io::Result<Pending> {
    let any: SocketAddr = if server.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
    let socket = UdpSocket::bind(any)?;
    // Connected: the kernel drops packets from others, and reports a closed port of the server.
    socket.connect(server)?;
    socket.set_nonblocking(true)?;
    Ok(Pending { server, socket, cookie: 0, asked: Instant::now(), asked_at: now() })
}

/// The servers whose answers can be read; waits for `left` at most.
fn wait(pending: &[Pending], left: Duration) -> Vec<usize> {
    let mut polled: Vec<_> =
        pending.iter().map(|asked| PollFd::from_borrowed_fd(asked.socket.as_fd(), PollFlags::IN)).collect();
    // An interrupted or failed poll counts as one that found nothing: the caller's deadline ends the waiting.
    let _ = poll(&mut polled, Timespec::try_from(left).ok().as_ref());
    polled.iter().enumerate().filter(|(_, fd)| !fd.revents().is_empty()).map(|(at, _)| at).collect()
}

impl Pending {
    fn send(&mut self, now: &dyn Fn() -> SystemTime) -> io::Result<()> {
        self.cookie = cookie();
        (self.asked, self.asked_at) = (Instant::now(), now());
        self.socket.send(&question(self.cookie)).map(drop)
    }

    fn receive(&self, floor: SystemTime) -> Result<Sample, Failure> {
        let mut bytes = [0; 512];
        let length = self.socket.recv(&mut bytes)?;
        let under_way = self.asked.elapsed();
        let answer = Answer::parse(bytes.get(..length).unwrap_or_default(), self.cookie, floor)?;
        if answer.sent < floor {
            return Err(Failure::BeforeFloor(answer.sent));
        }
        // RFC 5905 section 8: T1 is asked_at, T2 received, T3 sent, T4 arrived.
        let arrived = self.asked_at + under_way;
        let offset = i128::midpoint(difference(answer.received, self.asked_at), difference(answer.sent, arrived));
        let delay = under_way.as_nanos().cast_signed() - difference(answer.sent, answer.received);
        Ok(Sample { server: self.server, offset, delay })
    }
}

/// `a` - `b` in nanoseconds.
pub(super) fn difference(a: SystemTime, b: SystemTime) -> i128 {
    match a.duration_since(b) {
        Ok(ahead) => ahead.as_nanos().cast_signed(),
        Err(behind) => -behind.duration().as_nanos().cast_signed(),
    }
}

/// A number that cannot be guessed without seeing the request; early in a boot, when the kernel has no random numbers
/// yet, at least one that differs each time.
fn cookie() -> u64 {
    let mut bytes = [0; 8];
    if let Ok(8) = getrandom(&mut bytes, GetRandomFlags::NONBLOCK) {
        return u64::from_ne_bytes(bytes);
    }
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (time.tv_sec as u64 ^ (time.tv_nsec as u64) << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The sample to use: the middle one of three or more; of fewer the one with the shortest delay.
pub(super) fn best(mut samples: Vec<Sample>) -> Option<Sample> {
    if samples.len() < ENOUGH {
        return samples.into_iter().min_by_key(|sample| sample.delay);
    }
    samples.sort_by_key(|sample| sample.offset);
    samples.get(samples.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_clock_of_three_does_no_harm() {
        let sample = |offset, delay| Sample { server: ([192, 0, 2, 1], PORT).into(), offset, delay };
        assert_eq!(best(vec![sample(-9_000, 1), sample(5, 9), sample(6, 9)]), Some(sample(5, 9)));
        assert_eq!(best(vec![sample(7, 20), sample(5, 10)]), Some(sample(5, 10)));
        assert_eq!(best(Vec::new()), None);
    }

    #[test]
    fn addresses_of_servers() {
        let servers = ["192.0.2.1", "192.0.2.2:1123", "2001:db8::1", "[2001:db8::2]:9"].map(str::to_owned);
        let mut failures = Vec::new();
        let found: Vec<_> = addresses(&servers, &mut failures).iter().map(SocketAddr::to_string).collect();
        assert_eq!(found, ["192.0.2.1:123", "192.0.2.2:1123", "[2001:db8::1]:123", "[2001:db8::2]:9"]);
        assert!(failures.is_empty());
    }
}
