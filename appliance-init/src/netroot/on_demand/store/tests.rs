//! A store over a real HTTP server that can be told to misbehave.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use chunked::{Header, Index};

use super::*;
use crate::netroot::download::DownloadOptions;
use crate::netroot::on_demand::ranges::Ranges;

const CHUNK: u32 = 64 << 10;

/// Longer than any test takes.
pub(super) const LONG: Duration = Duration::from_secs(3600);

/// What the server does with a request.
#[derive(Clone, Copy)]
enum Fault {
    /// Status 503.
    Overloaded,
    /// Closes the connection after half of the answer.
    Half,
    /// Closes the connection at once.
    Away,
    /// One bit of the answer is another one.
    Bit,
    /// Sends the whole file.
    Whole,
    /// Another part of the file, with its own range.
    Elsewhere,
    /// Says that the file has another length.
    Longer,
    /// Not there.
    Missing,
    /// Sends the answer in pieces with pauses.
    Slow,
}

const FAULTS: [Fault; 9] = [
    Fault::Overloaded,
    Fault::Half,
    Fault::Away,
    Fault::Bit,
    Fault::Whole,
    Fault::Elsewhere,
    Fault::Longer,
    Fault::Missing,
    Fault::Slow,
];

/// A server with a chunk file; the next requests meet these faults.
struct Server {
    url: String,
    faults: Arc<Mutex<VecDeque<Fault>>>,
    requests: Arc<Mutex<Vec<(usize, usize)>>>,
    connections: Arc<AtomicU64>,
}

impl Server {
    fn start(file: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/root.img.zst", listener.local_addr().expect("an address"));
        let (faults, requests) = (Arc::<Mutex<VecDeque<Fault>>>::default(), Arc::<Mutex<Vec<_>>>::default());
        let (file, next, seen) = (Arc::new(file), Arc::clone(&faults), Arc::clone(&requests));
        let connections = Arc::<AtomicU64>::default();
        let count = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                count.fetch_add(1, Ordering::Relaxed);
                let (file, next, seen) = (Arc::clone(&file), Arc::clone(&next), Arc::clone(&seen));
                thread::spawn(move || serve(stream, &file, &next, &seen));
            }
        });
        Self { url, faults, requests, connections }
    }
}

/// The next request of a connection: the first and the last byte that it asks for, and why.
pub(super) fn request(lines: &mut impl BufRead) -> Option<((usize, usize), Purpose)> {
    let (mut range, mut purpose) = (None, Purpose::Needed);
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim().split_once(": ") {
            Some(("range", value)) => {
                let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
                range = Some((first.parse().ok()?, last.parse().ok()?));
            }
            Some(("sec-purpose", "prefetch")) => purpose = Purpose::Prefetch,
            _ if line.trim().is_empty() => return Some((range?, purpose)),
            _ => {}
        }
    }
}

fn serve(
    mut stream: TcpStream,
    file: &[u8],
    faults: &Mutex<VecDeque<Fault>>,
    seen: &Mutex<Vec<(usize, usize)>>,
) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?);
    loop {
        let ((mut first, mut last), _) = request(&mut lines)?;
        seen.lock().ok()?.push((first, last));
        let fault = faults.lock().ok()?.pop_front();
        let mut total = file.len();
        match fault {
            Some(Fault::Away) => return None,
            Some(Fault::Overloaded | Fault::Missing) => {
                let status = if matches!(fault, Some(Fault::Missing)) { 404 } else { 503 };
                write!(stream, "HTTP/1.1 {status} No\r\ncontent-length: 0\r\n\r\n").ok()?;
                continue;
            }
            Some(Fault::Whole) => {
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", file.len()).ok()?;
                stream.write_all(file).ok()?;
                continue;
            }
            Some(Fault::Elsewhere) => (first, last) = (first - 1, last - 1),
            Some(Fault::Longer) => total += 1,
            _ => {}
        }
        let mut body = file.get(first..=last)?.to_vec();
        if matches!(fault, Some(Fault::Bit)) {
            let middle = body.len() / 2;
            body[middle] ^= 1;
        }
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 206 Partial\r\ncontent-length: {length}\r\ncontent-range: bytes {first}-{last}/{total}\r\n\r\n"
        )
        .ok()?;
        match fault {
            Some(Fault::Half) => {
                stream.write_all(&body[..length / 2]).ok()?;
                return None;
            }
            Some(Fault::Slow) => {
                for piece in body.chunks(length.div_ceil(4)) {
                    stream.write_all(piece).ok()?;
                    thread::sleep(Duration::from_millis(5));
                }
            }
            _ => stream.write_all(&body).ok()?,
        }
    }
}

/// Notes what it is told.
#[derive(Default)]
pub(super) struct Notes {
    reasons: Mutex<Vec<String>>,
    pub(super) is_complete: AtomicBool,
    gave_up: AtomicU64,
}

impl Observer for Arc<Notes> {
    fn waiting(&self, reason: &str, _pause: Duration) {
        self.reasons.lock().expect("notes").push(reason.to_owned());
    }

    fn arrived(&self) {}

    fn complete(&self, _bytes: u64) {
        self.is_complete.store(true, Ordering::Relaxed);
    }

    fn gave_up(&self, bytes: u64) {
        self.gave_up.fetch_add(bytes, Ordering::Relaxed);
    }
}

fn whole() -> Vec<u8> {
    (0..10 * CHUNK as usize + 777).map(|at| (at / 3 % 249) as u8).collect()
}

/// The index of the whole, and its chunk file.
pub(super) fn chunks(whole: &[u8], chunk: u32) -> (Index, Vec<u8>) {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    let index = chunked::write(&mut &*whole, file.as_file_mut(), chunk, &mut |_| {}).expect("chunks");
    (Index::parse(&index.to_bytes()).expect("an index"), fs::read(file.path()).expect("the chunks"))
}

/// A store over a server, and what it is told.
fn store() -> (Server, Store<Arc<Notes>>, Arc<Notes>) {
    store_with(&[])
}

/// One with an order of earlier starts.
fn store_with(order: &[usize]) -> (Server, Store<Arc<Notes>>, Arc<Notes>) {
    let (index, file) = chunks(&whole(), CHUNK);
    let server = Server::start(file);
    let (store, notes) = client(&server.url, index, order, Meminfo::open().expect("/proc/meminfo"));
    (server, store, notes)
}

/// A machine that reads its root from a server.
pub(super) fn client(url: &str, index: Index, order: &[usize], memory: Meminfo) -> (Store<Arc<Notes>>, Arc<Notes>) {
    let options = DownloadOptions {
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(2),
        timeout: Duration::from_secs(5),
        ..DownloadOptions::default()
    };
    let ranges = Ranges::new(url, index.file_length(), &options);
    let notes = Arc::new(Notes::default());
    (Store::new(index, order.to_vec(), ranges, memory, Arc::clone(&notes)), notes)
}

pub(super) fn read(store: &Store<Arc<Notes>>, offset: usize, length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.read(offset as u64, length, &mut bytes).expect("the bytes");
    bytes
}

#[test]
fn any_part_is_read_and_each_chunk_fetched_once() {
    let (server, store, _) = store();
    let whole = whole();
    let chunk = CHUNK as usize;
    for (offset, length) in [(0, 1), (5, 3 * chunk), (chunk - 1, 2), (10 * chunk, 777), (0, whole.len())] {
        assert!(read(&store, offset, length) == whole[offset..offset + length], "{offset} {length}");
    }
    let mut requests = server.requests.lock().expect("requests").clone();
    let all = requests.len();
    requests.sort_unstable();
    requests.dedup();
    assert_eq!((requests.len(), all), (11, 11));
    assert!(requests.iter().all(|(first, _)| *first >= Header::LENGTH));
}

#[test]
fn reads_one_after_the_other_share_a_connection() {
    let (server, store, _) = store();
    assert!(read(&store, 0, whole().len()) == whole());
    assert_eq!(server.requests.lock().expect("requests").len(), 11);
    assert_eq!(server.connections.load(Ordering::Relaxed), 1);
}

#[test]
fn whatever_the_server_does_the_bytes_are_right_or_waited_for() {
    for (number, fault) in FAULTS.into_iter().enumerate() {
        let (server, store, notes) = store();
        server.faults.lock().expect("faults").extend([fault; 3]);
        assert!(read(&store, 3, 100_000) == whole()[3..100_003], "fault {number}");
        let reasons = notes.reasons.lock().expect("notes").clone();
        assert_eq!(reasons.is_empty(), matches!(fault, Fault::Slow), "fault {number}: {reasons:?}");
    }
}

#[test]
fn reasons_say_what_the_server_did() {
    for (fault, says) in [
        (Fault::Overloaded, "status 503"),
        (Fault::Missing, "status 404"),
        (Fault::Whole, "whole files only"),
        (Fault::Elsewhere, "another file there"),
        (Fault::Longer, "another file there"),
        (Fault::Bit, "chunk 0 is not the one that the index names"),
    ] {
        let (server, store, notes) = store();
        server.faults.lock().expect("faults").push_back(fault);
        read(&store, 0, 10);
        let reasons = notes.reasons.lock().expect("notes").clone();
        assert!(reasons.len() == 1 && reasons[0].contains(says), "{reasons:?}");
    }
}

#[test]
fn a_server_is_probed_before_anything_depends_on_it() {
    let (server, store, _) = store();
    let header = Header { size: store.index.size(), sha256: *store.index.sha256() }.to_bytes();
    let mut lines = Vec::new();
    let mut probe = |start: &[u8], patience: u64| {
        let patience = Some(Duration::from_millis(patience));
        store.ranges.probe(start, patience, &mut |line| lines.push(line.to_owned()))
    };
    server.faults.lock().expect("faults").extend([Fault::Away, Fault::Overloaded, Fault::Bit]);
    assert!(probe(&header, 60_000).expect("the right root"));
    server.faults.lock().expect("faults").push_back(Fault::Whole);
    assert!(!probe(&header, 60_000).expect("an answer"), "it knows no ranges");
    // The root of another build is not waited for without end.
    let error = probe(&[7; Header::LENGTH], 5).expect_err("another root").to_string();
    assert!(error.contains("another root there"), "{error}");
    assert!(lines.len() >= 3 && lines.iter().any(|line| line.contains("status 503")), "{lines:?}");
}

#[test]
fn many_readers_at_once_get_right_bytes_from_few_requests() {
    let (server, store, _) = store();
    server.faults.lock().expect("faults").extend(FAULTS);
    let whole = whole();
    thread::scope(|scope| {
        for reader in 0..16_usize {
            let (store, whole) = (&store, &whole);
            scope.spawn(move || {
                for step in 0..40 {
                    let offset = (reader * 7919 + step * 65_551) % (whole.len() - 5000);
                    assert!(read(store, offset, 5000) == whole[offset..offset + 5000]);
                }
            });
        }
    });
    // Each of eleven chunks once, and again for each fault.
    assert!(server.requests.lock().expect("requests").len() <= 11 + FAULTS.len());
}

#[test]
fn the_rest_comes_in_the_background_and_then_no_server_is_needed() {
    let (server, store, notes) = store();
    read(&store, 5 * CHUNK as usize, 10);
    store.fetch_rest();
    assert!(notes.is_complete.load(Ordering::Relaxed));
    let requests = server.requests.lock().expect("requests").len();
    assert!(requests < 6, "several chunks in one request: {requests}");
    assert!(read(&store, 0, whole().len()) == whole());
    assert_eq!(server.requests.lock().expect("requests").len(), requests);
}

#[test]
fn frames_that_were_not_used_for_longest_go_first() {
    let mut kept = Kept {
        frames: vec![None; 4],
        bytes: 0,
        clock: 0,
        ahead: 0,
        fetching: HashMap::new(),
        waiting: 0,
        lets_reads_pass: false,
        decompressed: VecDeque::new(),
    };
    for number in 0..4 {
        kept.keep(number, vec![0; 100].into());
    }
    kept.frame(0);
    kept.shrink_to(250);
    let there: Vec<bool> = kept.frames.iter().map(Option::is_some).collect();
    assert_eq!((there, kept.bytes), (vec![true, false, false, true], 200));
    kept.shrink_to(0);
    assert_eq!(kept.bytes, 100, "the last one used stays");
}

#[test]
fn what_earlier_starts_read_comes_first() {
    let (server, store, notes) = store_with(&[7, 3, 4, 99, 8, 7]);
    read(&store, 3 * CHUNK as usize, 10);
    let chunks = store.index.chunks().to_vec();
    store.fetch_rest();
    assert!(notes.is_complete.load(Ordering::Relaxed));
    let requests = server.requests.lock().expect("requests").clone();
    let firsts: Vec<usize> = requests
        .iter()
        .filter_map(|(first, _)| chunks.iter().position(|chunk| chunk.offset == *first as u64))
        .collect();
    // The one that was read, the order with neighbours together, and then the rest.
    assert_eq!(firsts, [3, 7, 4, 0, 5, 9]);
    assert!(read(&store, 0, whole().len()) == whole());
    assert_eq!(server.requests.lock().expect("requests").len(), requests.len());
}

/// `/proc/meminfo` of a machine with so many MiB available, which can be changed.
pub(super) fn meminfo(available: u64) -> (tempfile::NamedTempFile, Meminfo) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    set_available(&file, available);
    let memory = Meminfo::of(fs::File::open(file.path()).expect("the file"));
    (file, memory)
}

fn set_available(file: &tempfile::NamedTempFile, available: u64) {
    let available = available << 10;
    let text = format!("MemTotal: 8388608 kB\nMemFree: {available} kB\nMemAvailable: {available} kB\n");
    fs::write(file.path(), text).expect("writing it");
}

#[test]
fn short_memory_gives_up_chunks_which_are_fetched_again() {
    let (index, file) = chunks(&whole(), CHUNK);
    let (server, all) = (Server::start(file), index.file_length());
    let (available, memory) = meminfo(4096);
    let (store, notes) = client(&server.url, index, &[], memory);
    store.fetch_rest();
    store.relieve();
    assert_eq!((notes.is_complete.load(Ordering::Relaxed), notes.gave_up.load(Ordering::Relaxed)), (true, 0));
    set_available(&available, 50);
    store.relieve();
    let left = store.kept().bytes;
    assert!(left <= all / 2 && notes.gave_up.load(Ordering::Relaxed) >= all / 2 - 48, "{left} of {all}");
    // As often as it takes.
    store.relieve();
    assert!(store.kept().bytes < left);
    set_available(&available, 4096);
    let requests = server.requests.lock().expect("requests").len();
    assert!(read(&store, 0, whole().len()) == whole());
    assert!(server.requests.lock().expect("requests").len() > requests, "chunks were fetched again");
}

/// Bytes of memory that this process has.
fn resident() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").expect("statm");
    pages.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("a number") * 4096
}

#[test]
fn memory_that_was_given_up_is_the_machines_again() {
    // Does not compress, so that there is something to give up: 32 MiB.
    let mut state = 1_u64;
    let whole: Vec<u8> = (0..4 << 20)
        .flat_map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 16).to_le_bytes()
        })
        .collect();
    let (index, file) = chunks(&whole, CHUNK);
    drop(whole);
    let server = Server::start(file);
    let (available, memory) = meminfo(4096);
    let (store, notes) = client(&server.url, index, &[], memory);
    store.fetch_rest();
    let before = resident();
    set_available(&available, 50);
    for _ in 0..4 {
        store.relieve();
    }
    let gave_up = notes.gave_up.load(Ordering::Relaxed);
    let freed = before.saturating_sub(resident());
    // Other tests take and free memory meanwhile.
    assert!(gave_up > 24 << 20 && freed > gave_up / 2, "{gave_up} given up, {freed} freed");
}

#[test]
fn sixty_four_machines_at_once_get_their_root_from_a_server_with_faults() {
    let (index, file) = chunks(&whole(), CHUNK);
    let server = Server::start(file);
    let whole = whole();
    let (available, _) = meminfo(4096);
    server.faults.lock().expect("faults").extend(FAULTS.into_iter().cycle().take(300));
    thread::scope(|scope| {
        for machine in 0..64_usize {
            let (server, index, whole, available) = (&server, &index, &whole, &available);
            scope.spawn(move || {
                let memory = Meminfo::of(fs::File::open(available.path()).expect("the file"));
                let (mut store, notes) = client(&server.url, index.clone(), &[machine % 11, 4, 5], memory);
                // However slow this machine is, no read asks for what the background has asked for.
                store.patience.of_reads = LONG;
                thread::scope(|scope| {
                    scope.spawn(|| store.fetch_rest());
                    for step in 0..20 {
                        let offset = (machine * 7919 + step * 65_551) % (whole.len() - 5000);
                        assert!(read(&store, offset, 5000) == whole[offset..offset + 5000], "machine {machine}");
                    }
                });
                assert!(notes.is_complete.load(Ordering::Relaxed), "machine {machine}");
                assert!(read(&store, 0, whole.len()) == *whole, "machine {machine}");
            });
        }
    });
    // Each machine gets each of eleven chunks once, and again for each fault.
    assert!(server.requests.lock().expect("requests").len() <= 64 * 11 + 300);
}
