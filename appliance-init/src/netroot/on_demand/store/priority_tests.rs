//! Reads and the background on one link, over a server that can hold requests back.

use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use super::tests::{LONG, chunks, client, meminfo, read, request};
use super::*;

/// The store keeps whole chunks, which these cannot be compressed to less than.
const CHUNK: u32 = 64 << 10;
const CHUNKS: usize = 6;

/// What the server has seen and done, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Chunks from this one on were asked for.
    Asked(Purpose, usize),
    /// Then they were sent.
    Sent(Purpose, usize),
}

/// What the server's threads share with the test.
#[derive(Default)]
struct State {
    steps: Vec<Step>,
    /// Requests of this purpose wait.
    held: Option<Purpose>,
    /// Requests of this purpose are answered with an error.
    refused: Option<Purpose>,
}

/// A server for a file of chunks.
struct Server {
    url: String,
    index: Index,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Server {
    /// Starts one that holds requests of a purpose back.
    fn holding(purpose: Purpose) -> Self {
        let (index, file) = chunks(&whole(), CHUNK);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/root.img.zst", listener.local_addr().expect("an address"));
        let state: Arc<(Mutex<State>, Condvar)> = Arc::default();
        state.0.lock().expect("state").held = Some(purpose);
        let (shared, known) = (Arc::clone(&state), index.clone());
        thread::spawn(move || {
            let file = Arc::new(file);
            for stream in listener.incoming().map_while(Result::ok) {
                let (file, index, state) = (Arc::clone(&file), known.clone(), Arc::clone(&shared));
                thread::spawn(move || serve(stream, &file, &index, &state));
            }
        });
        Self { url, index, state }
    }

    /// Waits until the server has seen something.
    fn wait_for(&self, step: Step) {
        let (state, changed) = &*self.state;
        let state = state.lock().expect("state");
        drop(changed.wait_while(state, |state| !state.steps.contains(&step)).expect("state"));
    }

    /// From now on answers requests of a purpose with an error.
    fn refuse(&self, purpose: Purpose) {
        self.state.0.lock().expect("state").refused = Some(purpose);
    }

    /// Answers what was held back.
    fn release(&self) {
        self.state.0.lock().expect("state").held = None;
        self.state.1.notify_all();
    }

    /// Whether the background has asked for something.
    fn has_prefetched(&self) -> bool {
        self.steps().iter().any(|step| matches!(step, Step::Asked(Purpose::Prefetch, _)))
    }

    fn steps(&self) -> Vec<Step> {
        self.state.0.lock().expect("state").steps.clone()
    }
}

fn serve(mut stream: TcpStream, file: &[u8], index: &Index, state: &(Mutex<State>, Condvar)) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?);
    let (state, changed) = state;
    loop {
        let ((first, last), purpose) = request(&mut lines)?;
        let number = index.chunks().iter().position(|chunk| chunk.offset == first as u64)?;
        let mut now = state.lock().ok()?;
        now.steps.push(Step::Asked(purpose, number));
        changed.notify_all();
        let mut now = changed.wait_while(now, |now| now.held == Some(purpose)).ok()?;
        if now.refused == Some(purpose) {
            drop(now);
            write!(stream, "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n").ok()?;
            continue;
        }
        now.steps.push(Step::Sent(purpose, number));
        drop(now);
        let (bytes, total) = (file.get(first..=last)?, file.len());
        let length = bytes.len();
        let head = format!("content-length: {length}\r\ncontent-range: bytes {first}-{last}/{total}");
        write!(stream, "HTTP/1.1 206 Partial\r\n{head}\r\n\r\n").ok()?;
        stream.write_all(bytes).ok()?;
    }
}

/// Bytes that do not compress.
fn whole() -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..CHUNKS * CHUNK as usize).map(|_| next()).collect()
}

fn part(number: usize) -> Vec<u8> {
    let start = number * CHUNK as usize;
    whole()[start..start + 1000].to_vec()
}

#[test]
fn a_read_does_not_wait_for_an_answer_to_the_background() {
    let server = Server::holding(Purpose::Prefetch);
    let (_file, memory) = meminfo(4096);
    let (mut store, notes) = client(&server.url, server.index.clone(), &[3, 1], memory);
    store.patience.of_reads = Duration::ZERO;
    thread::scope(|scope| {
        scope.spawn(|| store.fetch_rest());
        server.wait_for(Step::Asked(Purpose::Prefetch, 3));
        // The chunk that the background has asked for, and one that was not asked for.
        assert!(read(&store, 3 * CHUNK as usize, 1000) == part(3));
        assert!(read(&store, 0, 1000) == part(0));
        assert!(!server.steps().contains(&Step::Sent(Purpose::Prefetch, 3)));
        server.release();
    });
    assert!(notes.is_complete.load(Ordering::Relaxed));
    assert!(read(&store, 0, whole().len()) == whole());
}

#[test]
fn a_read_takes_what_the_background_brings_while_its_own_requests_fail() {
    let server = Server::holding(Purpose::Prefetch);
    server.refuse(Purpose::Needed);
    let (_file, memory) = meminfo(4096);
    let (mut store, notes) = client(&server.url, server.index.clone(), &[3, 1], memory);
    store.patience.of_reads = Duration::ZERO;
    thread::scope(|scope| {
        scope.spawn(|| store.fetch_rest());
        server.wait_for(Step::Asked(Purpose::Prefetch, 3));
        scope.spawn(|| assert!(read(&store, 3 * CHUNK as usize, 1000) == part(3)));
        server.wait_for(Step::Asked(Purpose::Needed, 3));
        server.release();
    });
    assert!(!server.steps().contains(&Step::Sent(Purpose::Needed, 3)));
    assert!(notes.is_complete.load(Ordering::Relaxed));
}

#[test]
fn the_background_asks_for_nothing_while_a_read_waits_on_a_link_that_may_be_slow() {
    let server = Server::holding(Purpose::Needed);
    let (_file, memory) = meminfo(4096);
    let (mut store, notes) = client(&server.url, server.index.clone(), &[3, 1], memory);
    store.patience.of_the_background = LONG;
    thread::scope(|scope| {
        scope.spawn(|| assert!(read(&store, 0, 1000) == part(0)));
        server.wait_for(Step::Asked(Purpose::Needed, 0));
        scope.spawn(|| store.fetch_rest());
        while !store.kept().lets_reads_pass {
            assert!(!server.has_prefetched(), "the background does not wait");
            thread::yield_now();
        }
        assert!(!server.has_prefetched());
        server.release();
    });
    assert!(notes.is_complete.load(Ordering::Relaxed));
    let (needed, prefetch) = (Purpose::Needed, Purpose::Prefetch);
    let steps = server.steps();
    // Then it asks for one chunk, as it does not know the link yet, and in the order of earlier starts.
    assert_eq!(
        steps.get(..5),
        Some(
            &[
                Step::Asked(needed, 0),
                Step::Sent(needed, 0),
                Step::Asked(prefetch, 3),
                Step::Sent(prefetch, 3),
                Step::Asked(prefetch, 1),
            ][..]
        )
    );
}

#[test]
fn a_chunk_that_does_not_come_holds_the_others_up_for_a_while_only() {
    let server = Server::holding(Purpose::Needed);
    let (_file, memory) = meminfo(4096);
    let (mut store, notes) = client(&server.url, server.index.clone(), &[3, 1], memory);
    store.patience.of_the_background = Duration::from_millis(1);
    thread::scope(|scope| {
        scope.spawn(|| assert!(read(&store, 0, 1000) == part(0)));
        server.wait_for(Step::Asked(Purpose::Needed, 0));
        scope.spawn(|| store.fetch_rest());
        server.wait_for(Step::Sent(Purpose::Prefetch, 1));
        assert!(!server.steps().contains(&Step::Sent(Purpose::Needed, 0)));
        server.release();
    });
    assert!(notes.is_complete.load(Ordering::Relaxed));
    assert!(read(&store, 0, whole().len()) == whole());
}

/// This takes as long as an answer on a slow link does.
#[test]
fn what_reads_wait_for_shows_how_fast_the_link_is() {
    let server = Server::holding(Purpose::Needed);
    let (_file, memory) = meminfo(4096);
    let (store, _) = client(&server.url, server.index.clone(), &[], memory);
    for _ in 0..4 {
        store.pace().took(1 << 20, Duration::from_millis(1));
    }
    assert!(!store.pace().is_slow());
    thread::scope(|scope| {
        scope.spawn(|| assert!(read(&store, 0, 1000) == part(0)));
        server.wait_for(Step::Asked(Purpose::Needed, 0));
        thread::sleep(Duration::from_millis(300));
        server.release();
    });
    assert!(store.pace().is_slow());
}

#[test]
fn the_background_ends_where_memory_has_become_short_while_it_let_reads_pass() {
    let server = Server::holding(Purpose::Needed);
    let (_file, memory) = meminfo(4096);
    let (mut store, notes) = client(&server.url, server.index.clone(), &[3, 1], memory);
    store.patience.of_the_background = LONG;
    thread::scope(|scope| {
        scope.spawn(|| assert!(read(&store, 0, 1000) == part(0)));
        server.wait_for(Step::Asked(Purpose::Needed, 0));
        let background = scope.spawn(|| store.fetch_rest());
        while !store.kept().lets_reads_pass {
            assert!(!background.is_finished() && !server.has_prefetched(), "the background does not wait");
            thread::yield_now();
        }
        store.keep_all.store(false, Ordering::Relaxed);
        server.release();
    });
    assert!(!server.has_prefetched() && !notes.is_complete.load(Ordering::Relaxed));
}
