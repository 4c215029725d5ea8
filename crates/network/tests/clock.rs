//! Tests that set a clock by servers on the loopback device.

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use network::clock::{ClockSettings, Failure, RecordingClock, Source, http, sync_once};

const DAY: u64 = 86_400;
/// The date of the image.
const FLOOR: u64 = 1_790_000_000;
/// The real time.
const NOW: u64 = FLOOR + 40 * DAY;

fn unix(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn settings(servers: &[&str], urls: &[&str]) -> ClockSettings {
    let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    ClockSettings {
        servers: own(servers),
        fallback_servers: Vec::new(),
        urls: own(urls),
        floor: unix(FLOOR),
        // Expected answers come at once.
        timeout: Duration::from_secs(30),
        ..ClockSettings::default()
    }
}

/// A time server whose clock shows `seconds`; `change` can edit each answer. Returns its address.
fn time_server(seconds: u64, change: impl Fn(&mut [u8]) + Send + 'static) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = socket.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let mut question = [0; 48];
        loop {
            let (length, from) = socket.recv_from(&mut question).unwrap();
            assert_eq!((length, question[0]), (48, 0x23));
            let mut answer = [0; 48];
            (answer[0], answer[1]) = (0x24, 2);
            answer[24..32].copy_from_slice(&question[40..48]);
            let timestamp = (seconds + 2_208_988_800) << 32;
            answer[32..40].copy_from_slice(&timestamp.to_be_bytes());
            answer[40..48].copy_from_slice(&timestamp.to_be_bytes());
            change(&mut answer);
            socket.send_to(&answer, from).unwrap();
        }
    });
    at
}

/// A web server that gives every client this answer. Returns its URL.
fn web_server(answer: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut question) = (stream.unwrap(), [0; 1000]);
            let length = stream.read(&mut question).unwrap();
            let question = String::from_utf8_lossy(&question[..length]).to_lowercase();
            assert!(question.starts_with("head / http/1.1\r\n"), "{question}");
            assert!(question.contains("\r\nhost: 127.0.0.1:"), "{question}");
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    url
}

fn dated(seconds: u64) -> String {
    format!("HTTP/1.1 200 OK\r\nDate: {}\r\n\r\n", http::format(unix(seconds)))
}

/// The difference between the time that the clock was set to and the right one.
fn error(clock: &RecordingClock) -> Duration {
    let set = *clock.set_to.last().unwrap();
    set.duration_since(unix(NOW)).unwrap_or_else(|early| early.duration())
}

#[test]
fn a_dead_clock_is_set_to_the_floor_and_then_right() {
    let server = time_server(NOW, |_| ());
    let mut clock = RecordingClock::showing(unix(100));
    let report = sync_once(&settings(&[&server], &[]), &mut clock).unwrap();
    assert!(report.raised && report.stepped);
    assert_eq!(report.source, Some(Source::Ntp(server.parse().unwrap())));
    assert!((report.offset - 40.0 * DAY as f64).abs() < 30.0);
    assert_eq!((clock.set_to.len(), clock.set_to[0]), (2, unix(FLOOR)));
    assert!(error(&clock) < Duration::from_secs(30));
    assert!(report.to_string().contains("s behind and was set"), "{report}");
}

#[test]
fn a_good_clock_is_left_alone() {
    let server = time_server(NOW, |_| ());
    let mut clock = RecordingClock::showing(unix(NOW));
    let settings = ClockSettings { tolerance: Duration::from_secs(30), ..settings(&[&server], &[]) };
    let report = sync_once(&settings, &mut clock).unwrap();
    assert!(report.source.is_some() && !report.stepped && !report.raised);
    assert!(clock.set_to.is_empty());
}

#[test]
fn a_clock_that_is_ahead_is_set_back() {
    let server = time_server(NOW, |_| ());
    let mut clock = RecordingClock::showing(unix(NOW + 1000 * DAY));
    assert!(sync_once(&settings(&[&server], &[]), &mut clock).unwrap().offset < 0.0);
    assert!(error(&clock) < Duration::from_secs(30));
}

#[test]
fn the_middle_one_of_three_counts() {
    let servers = [time_server(NOW + 9 * DAY, |_| ()), time_server(NOW, |_| ()), time_server(NOW - 9 * DAY, |_| ())];
    let mut clock = RecordingClock::showing(unix(FLOOR));
    let report = sync_once(&settings(&[&servers[0], &servers[1], &servers[2]], &[]), &mut clock).unwrap();
    assert_eq!(report.source, Some(Source::Ntp(servers[1].parse().unwrap())));
    assert!(error(&clock) < Duration::from_secs(30));
}

#[test]
fn servers_that_know_nothing_are_passed_over() {
    let unsynchronised = time_server(NOW, |answer| answer[0] |= 0xc0);
    let kiss = time_server(NOW, |answer| {
        answer[1] = 0;
        answer[12..16].copy_from_slice(b"DENY");
    });
    let old = time_server(FLOOR - 1, |_| ());
    let good = time_server(NOW, |_| ());
    let mut clock = RecordingClock::showing(unix(FLOOR));
    let report = sync_once(&settings(&[&unsynchronised, &kiss, &old, &good], &[]), &mut clock).unwrap();
    assert_eq!(report.source, Some(Source::Ntp(good.parse().unwrap())));
    // How many of them had answered by then is chance, so ask without the good one.
    let report = sync_once(&settings(&[&unsynchronised, &kiss, &old], &[]), &mut clock).unwrap();
    assert_eq!(report.source, None);
    let text = report.to_string();
    for reason in ["no time to give", "does not want to be asked (DENY)", "before this image was made"] {
        assert!(text.contains(reason), "{text}");
    }
}

#[test]
fn a_forged_answer_is_no_answer() {
    // It can't know the request's number, and comes before the real answer.
    let forger = time_server(NOW + 9 * DAY, |answer| answer[24] ^= 1);
    let mut clock = RecordingClock::showing(unix(NOW));
    let settings = ClockSettings { timeout: Duration::from_millis(100), ..settings(&[&forger], &[]) };
    let report = sync_once(&settings, &mut clock).unwrap();
    assert_eq!(report.failures, [Failure { source: forger, reason: "no answer".to_owned() }]);
    assert!(clock.set_to.is_empty());
}

#[test]
fn the_fallback_is_asked_when_the_first_are_silent() {
    let good = time_server(NOW, |_| ());
    let mut clock = RecordingClock::showing(unix(FLOOR));
    // No server listens there: the kernel says so at once.
    let settings = ClockSettings { fallback_servers: vec![good.clone()], ..settings(&["127.0.0.1:9"], &[]) };
    let report = sync_once(&settings, &mut clock).unwrap();
    assert_eq!(report.source, Some(Source::Ntp(good.parse().unwrap())));
    assert_eq!(report.failures.len(), 1);
}

#[test]
fn a_web_server_tells_the_time_where_no_time_server_does() {
    let bad = web_server("HTTP/1.1 200 OK\r\n\r\n".to_owned());
    let old = web_server(dated(FLOOR - DAY));
    let good = web_server(dated(NOW));
    let mut clock = RecordingClock::showing(unix(100));
    let urls = ["https://127.0.0.1/", "http://127.0.0.1:9/", &bad, &old, &good];
    let report = sync_once(&settings(&["127.0.0.1:9"], &urls), &mut clock).unwrap();
    assert_eq!(report.source, Some(Source::Http(good)));
    assert!(report.raised && report.stepped && error(&clock) < Duration::from_secs(30));
    let reasons: Vec<_> = report.failures.iter().map(|failure| failure.reason.as_str()).collect();
    assert!(reasons[1].contains("with TLS the time is needed before"), "{reasons:?}");
    assert!(reasons[2].contains("Connection refused"), "{reasons:?}");
    assert_eq!(reasons[3], "the answer has no Date");
    assert!(reasons[4].contains("before this image was made"), "{reasons:?}");
}

#[test]
fn nobody_tells_the_time() {
    let mut clock = RecordingClock::showing(unix(100));
    let report = sync_once(&settings(&[], &[]), &mut clock).unwrap();
    assert_eq!((report.source, report.raised, clock.set_to), (None, true, vec![unix(FLOOR)]));
}
