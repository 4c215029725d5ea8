//! Downloads from a misbehaving server.

mod server;

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use advice::Advise as _;
use progress::Silent;
use server::{Reply, Server};
use sha256::Digest;
use store::fetch::Problem;
use store::fetch::proxy::Proxies;
use store::{Download, FetchError, FetchOptions, Fetcher, PrunePolicy, Store};

struct Bed {
    _dir: tempfile::TempDir,
    store: Store,
    server: Server,
}

impl Bed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("cache")).unwrap();
        Self { _dir: dir, store, server: Server::start() }
    }

    fn fetcher(&self) -> Fetcher {
        Fetcher::new(self.store.clone(), options()).unwrap()
    }

    fn fetch(&self, download: &Download) -> Result<PathBuf, FetchError> {
        self.fetcher().fetch_all(std::slice::from_ref(download), &Silent).map(|mut paths| paths.remove(0))
    }

    fn problem(&self, download: &Download) -> Problem {
        match self.fetch(download).unwrap_err() {
            FetchError::Failed { mut failures, .. } => failures.remove(0).causes.remove(0).problem,
            other => panic!("{other}"),
        }
    }

    /// The `Range` headers of the requests so far.
    fn ranges(&self) -> Vec<Option<String>> {
        self.server.requests().into_iter().map(|request| request.range).collect()
    }

    fn partials(&self) -> usize {
        fs::read_dir(self.store.root().join("partial")).unwrap().count()
    }
}

fn options() -> FetchOptions {
    FetchOptions {
        attempts: 3,
        idle_timeout: Duration::from_millis(300),
        first_backoff: Duration::from_millis(1),
        longest_backoff: Duration::from_millis(10),
        ..FetchOptions::default()
    }
}

fn body() -> Vec<u8> {
    (0..300_000_u32).flat_map(u32::to_le_bytes).collect()
}

fn wanted(content: &[u8], urls: &[String]) -> Download {
    let (digest, size) = (Digest::of(content), Some(content.len() as u64));
    Download { urls: urls.to_vec(), size, digest, label: "hello 2.12-1".into() }
}

#[test]
fn files_come_in_the_order_asked_for_and_only_once() {
    let bed = Bed::new();
    let contents: Vec<Vec<u8>> = (0..40_u8).map(|i| vec![i; 1000 * usize::from(i)]).collect();
    let urls = contents.iter().enumerate().map(|(i, c)| bed.server.on(&format!("/{i}"), [Reply::Whole(c.clone())]));
    let downloads: Vec<Download> = urls.zip(&contents).map(|(url, content)| wanted(content, &[url])).collect();
    let paths = bed.fetcher().fetch_all(&downloads, &Silent).unwrap();
    for (path, content) in paths.iter().zip(&contents) {
        assert_eq!(&fs::read(path).unwrap(), content);
    }
    assert_eq!(bed.server.requests().len(), 40);
    bed.fetcher().fetch_all(&downloads, &Silent).unwrap();
    assert_eq!(bed.server.requests().len(), 40, "stored files are not asked for again");
    assert_eq!(bed.partials(), 0);
    assert_eq!(bed.store.list().unwrap()[0].label, "hello 2.12-1");
}

#[test]
fn the_same_file_asked_for_many_times_is_fetched_once() {
    let bed = Bed::new();
    let url = bed.server.on("/a", [Reply::Slow(body(), 200_000, Duration::from_millis(2))]);
    let downloads = vec![wanted(&body(), &[url]); 8];
    bed.fetcher().fetch_all(&downloads, &Silent).unwrap();
    assert_eq!(bed.server.requests().len(), 1);
}

#[test]
fn a_broken_connection_is_resumed() {
    let bed = Bed::new();
    let url = bed.server.on("/a", [Reply::Cut(body(), 100_000), Reply::Cut(body(), 50_000), Reply::Whole(body())]);
    let path = bed.fetch(&wanted(&body(), &[url])).unwrap();
    assert_eq!(fs::read(path).unwrap(), body());
    assert_eq!(bed.ranges(), [None, Some("bytes=100000-".into()), Some("bytes=150000-".into())]);
}

#[test]
fn progress_counts_more_than_the_number_of_attempts() {
    let bed = Bed::new();
    // 1,200,000 bytes in pieces of 100,000 is many more than three attempts.
    let url = bed.server.on("/a", [Reply::Cut(body(), 100_000)]);
    bed.fetch(&wanted(&body(), &[url])).unwrap();
    assert_eq!(bed.server.requests().len(), 12);
}

#[test]
fn a_server_without_ranges_starts_over_and_does_not_go_on_for_ever() {
    let bed = Bed::new();
    let url = bed.server.on("/a", [Reply::CutNoRanges(body(), 100_000), Reply::NoRanges(body())]);
    let path = bed.fetch(&wanted(&body(), &[url])).unwrap();
    assert_eq!(fs::read(path).unwrap(), body());

    let other = b"something else".repeat(1000);
    let url = bed.server.on("/b", [Reply::CutNoRanges(other.clone(), 5000)]);
    let problem = bed.problem(&wanted(&other, &[url]));
    assert!(matches!(problem, Problem::Broken(_) | Problem::Short { .. }), "{problem}");
}

#[test]
fn an_interrupted_download_goes_on_in_the_next_run() {
    let bed = Bed::new();
    let url = bed.server.on("/a", [Reply::Cut(body(), 700_000), Reply::Status(403, vec![]), Reply::Whole(body())]);
    let download = wanted(&body(), &[url]);
    bed.fetch(&download).unwrap_err();
    assert_eq!(bed.partials(), 1);
    assert_eq!(fs::read(bed.fetch(&download).unwrap()).unwrap(), body());
    assert_eq!(bed.ranges().last().unwrap().as_deref(), Some("bytes=700000-"));
}

#[test]
fn a_second_mirror_goes_on_where_the_first_ended() {
    let bed = Bed::new();
    let first = bed.server.on("/a", [Reply::Cut(body(), 700_000), Reply::Status(404, vec![])]);
    let second = bed.server.on("/b", [Reply::Whole(body())]);
    bed.fetch(&wanted(&body(), &[first, second])).unwrap();
    assert_eq!(bed.ranges().last().unwrap().as_deref(), Some("bytes=700000-"));
}

#[test]
fn a_complete_partial_file_needs_no_request() {
    let bed = Bed::new();
    let download = wanted(&body(), &[bed.server.url("/gone")]);
    fs::write(bed.store.root().join("partial").join(download.digest.to_string()), body()).unwrap();
    bed.fetch(&download).unwrap();
    assert_eq!(bed.server.requests(), []);
}

#[test]
fn a_spoilt_partial_file_is_fetched_from_the_start() {
    let bed = Bed::new();
    let url = bed.server.on("/a", [Reply::Whole(body())]);
    let download = wanted(&body(), &[url]);
    for spoilt in [vec![0; 5000], vec![0; body().len() + 1], vec![0; body().len()]] {
        fs::write(bed.store.root().join("partial").join(download.digest.to_string()), spoilt).unwrap();
        let path = bed.fetch(&download).unwrap();
        assert_eq!(fs::read(&path).unwrap(), body());
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn an_unsatisfiable_range_is_answered_by_starting_over() {
    let bed = Bed::new();
    let url = bed.server.on("/a", [Reply::Status(416, vec![]), Reply::Whole(body())]);
    let download = wanted(&body(), &[url]);
    fs::write(bed.store.root().join("partial").join(download.digest.to_string()), &body()[..10]).unwrap();
    bed.fetch(&download).unwrap();
    assert_eq!(bed.ranges(), [Some("bytes=10-".into()), None]);
}

#[test]
fn of_unknown_size_and_complete_already() {
    let bed = Bed::new();
    let url = bed.server.on("/a", [Reply::Whole(body())]);
    let download = Download { size: None, ..wanted(&body(), &[url]) };
    fs::write(bed.store.root().join("partial").join(download.digest.to_string()), body()).unwrap();
    bed.fetch(&download).unwrap();
    assert_eq!(bed.server.requests().len(), 1, "416 with the right length says that it is complete");
}

#[test]
fn the_wrong_part_of_a_file_is_not_taken() {
    let bed = Bed::new();
    let wrong = Reply::Partial("bytes 20-29/1200000".into(), vec![0; 10]);
    let url = bed.server.on("/a", [Reply::Cut(body(), 10), wrong, Reply::Whole(body())]);
    assert_eq!(fs::read(bed.fetch(&wanted(&body(), &[url])).unwrap()).unwrap(), body());
    assert_eq!(bed.ranges()[2], None);
}

#[test]
fn server_errors_pass_and_missing_files_do_not() {
    let bed = Bed::new();
    let late = vec![("Retry-After", "3600".to_owned())];
    let busy = bed.server.on("/busy", [Reply::Status(503, late), Reply::Hangup, Reply::Whole(body())]);
    bed.fetch(&wanted(&body(), &[busy])).unwrap();
    assert_eq!(bed.server.requests().len(), 3, "an hour's wait was cut short");

    let gone = wanted(b"gone", &[bed.server.url("/gone"), bed.server.on("/b", [Reply::Whole(b"gone".to_vec())])]);
    bed.fetch(&gone).unwrap();
    let paths: Vec<String> = bed.server.requests().into_iter().skip(3).map(|request| request.path).collect();
    assert_eq!(paths, ["/gone", "/b"], "a 404 is not asked for twice");
}

#[test]
fn a_stalled_server_is_left() {
    let bed = Bed::new();
    let url = bed.server.on("/a", [Reply::Stall(body(), 1000), Reply::Whole(body())]);
    bed.fetch(&wanted(&body(), &[url])).unwrap();
    assert_eq!(bed.ranges()[1].as_deref(), Some("bytes=1000-"));

    let other = b"x".repeat(2000);
    let url = bed.server.on("/b", [Reply::Stall(other.clone(), 0)]);
    assert!(matches!(bed.problem(&wanted(&other, &[url])), Problem::TimedOut(_)));
}

#[test]
fn wrong_content_is_refused_with_both_digests() {
    let bed = Bed::new();
    let bad = b"bad".repeat(10);
    let good = b"gut".repeat(10);
    let url = bed.server.on("/a", [Reply::Whole(bad.clone())]);
    let problem = bed.problem(&wanted(&good, std::slice::from_ref(&url)));
    assert_eq!(problem, Problem::WrongDigest { expected: Digest::of(&good), got: Digest::of(&bad) });
    assert_eq!(bed.server.requests().len(), 2, "one retry from the start");
    assert!(!bed.store.has(&Digest::of(&good), None).unwrap());
    assert!(!bed.store.has(&Digest::of(&bad), None).unwrap());
    assert_eq!(bed.partials(), 0);

    let second = bed.server.on("/b", [Reply::Whole(good.clone())]);
    bed.fetch(&wanted(&good, &[url, second])).unwrap();
}

#[test]
fn no_more_than_the_expected_size_is_read() {
    let bed = Bed::new();
    let endless = bed.server.on("/endless", [Reply::Endless]);
    let problem = bed.problem(&wanted(b"short", std::slice::from_ref(&endless)));
    assert!(matches!(problem, Problem::WrongSize { expected: 5, .. }), "{problem}");
    let longer = bed.server.on("/longer", [Reply::Whole(b"longer".to_vec())]);
    assert_eq!(bed.problem(&wanted(b"short", &[longer])), Problem::WrongSize { expected: 5, got: 6 });
    let unknown = Download { size: None, ..wanted(b"short", &[endless]) };
    let fetcher = Fetcher::new(bed.store.clone(), FetchOptions { size_limit: 100_000, ..options() }).unwrap();
    assert!(fetcher.fetch_all(&[unknown], &Silent).unwrap_err().to_string().contains("expected 100000 bytes"));
    assert_eq!(bed.partials(), 0);
}

#[test]
fn redirections_are_followed_within_reason() {
    let bed = Bed::new();
    let target = bed.server.on("/target", [Reply::Whole(body())]);
    let absolute = Reply::Status(302, vec![("Location", target)]);
    let relative = Reply::Status(307, vec![("Location", "/target".into())]);
    let url = bed.server.on("/a", [absolute]);
    bed.fetch(&wanted(&body(), &[url])).unwrap();
    let other = b"relative".to_vec();
    bed.server.on("/target", [Reply::Whole(other.clone())]);
    let url = bed.server.on("/b", [relative]);
    bed.fetch(&wanted(&other, &[url])).unwrap();
    let url = bed.server.on("/loop", [Reply::Status(301, vec![("Location", "/loop".into())])]);
    assert!(matches!(bed.problem(&wanted(b"loop", &[url])), Problem::Redirection(_)));
}

#[test]
fn every_failure_is_told_and_the_rest_is_kept() {
    let bed = Bed::new();
    let good = wanted(&body(), &[bed.server.on("/good", [Reply::Whole(body())])]);
    let mut downloads = vec![good.clone()];
    for i in 0..12 {
        let digest = Digest::of(format!("{i}").as_bytes());
        let label = format!("package-{i}");
        downloads.push(Download { urls: vec![bed.server.url(&format!("/no/{i}"))], size: None, digest, label });
    }
    let error = bed.fetcher().fetch_all(&downloads, &Silent).unwrap_err();
    assert!(error.is_not_found());
    let text = error.to_string();
    assert!(text.starts_with("12 of 13 downloads failed:\n  package-0\n"), "{text}");
    assert!(text.contains("/no/9: the server answered 404 (not found)\n  and 2 more"), "{text}");
    assert!(bed.store.has(&good.digest, good.size).unwrap());
}

#[test]
fn a_mirror_that_is_down_is_named_once_and_not_asked_for_every_file() {
    let bed = Bed::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let downloads: Vec<Download> = (0..100_u32)
        .map(|i| {
            let urls = vec![format!("http://127.0.0.1:{port}/{i}")];
            Download { urls, size: None, digest: Digest::of(i.to_le_bytes()), label: format!("p{i}") }
        })
        .collect();
    let error = bed.fetcher().fetch_all(&downloads, &Silent).unwrap_err();
    let text = error.to_string();
    assert!(text.ends_with(&format!("\n127.0.0.1:{port} could not be reached at all")), "{text}");
    assert_eq!(error.help().to_string(), "check the network, the proxy settings and the mirror's name");
    let FetchError::Failed { failures, .. } = error else { panic!() };
    assert_eq!(failures.len(), 100);
    assert!(failures.iter().map(|f| f.causes[0].attempts).sum::<u32>() <= 8 * 3);
}

#[test]
fn offline_lists_what_is_missing_and_asks_nobody() {
    let bed = Bed::new();
    let stored = wanted(&body(), &[bed.server.on("/a", [Reply::Whole(body())])]);
    bed.fetch(&stored).unwrap();
    let offline = Fetcher::new(bed.store.clone(), FetchOptions { offline: true, ..options() }).unwrap();
    offline.fetch_all(std::slice::from_ref(&stored), &Silent).unwrap();
    let missing = wanted(b"missing", &[bed.server.url("/b")]);
    let text = offline.fetch_all(&[stored, missing], &Silent).unwrap_err().to_string();
    assert!(text.starts_with("offline, and a file (7 bytes) is not stored:\n  hello 2.12-1 (http://"), "{text}");
    assert!(offline.fetch_bytes(&bed.server.url("/b"), 10).is_err());
    assert_eq!(bed.server.requests().len(), 1);
}

#[test]
fn file_urls_are_verified_like_any_other() {
    let bed = Bed::new();
    let local = bed.store.root().join("local file");
    fs::write(&local, body()).unwrap();
    let url = format!("file://{}", local.display()).replace(' ', "%20");
    let mut copy = Vec::new();
    let path = bed.fetch(&wanted(&body(), std::slice::from_ref(&url))).unwrap();
    fs::File::open(path).unwrap().read_to_end(&mut copy).unwrap();
    assert_eq!(copy, body());
    assert!(matches!(bed.problem(&wanted(b"other", &[url])), Problem::WrongSize { expected: 5, got: 1_200_000 }));
    assert!(matches!(bed.problem(&wanted(b"x", &["file:///nowhere".into()])), Problem::LocalFile(_)));
    assert!(matches!(bed.problem(&wanted(b"x", &["gopher://x/".into()])), Problem::BadUrl(_)));
    assert!(matches!(bed.problem(&wanted(b"x", &[])), Problem::BadUrl(_)));
}

#[test]
fn small_files_are_read_whole_or_not_at_all() {
    let bed = Bed::new();
    let url = bed.server.on(
        "/InRelease",
        [Reply::Status(500, vec![]), Reply::Cut(b"Origin".to_vec(), 3), Reply::Whole(b"Origin".to_vec())],
    );
    assert_eq!(bed.fetcher().fetch_bytes(&url, 6).unwrap(), b"Origin");
    assert!(bed.fetcher().fetch_bytes(&url, 5).unwrap_err().to_string().contains("wrong size"));
    assert!(bed.fetcher().fetch_bytes(&bed.server.url("/none"), 5).unwrap_err().is_not_found());
}

#[test]
fn tls_to_a_server_that_speaks_none_is_an_error_that_says_so() {
    let bed = Bed::new();
    let url = bed.server.url("/a").replace("http:", "https:");
    let text = bed.fetch(&wanted(b"x", &[url])).unwrap_err().to_string();
    assert!(text.contains("https://127.0.0.1"), "{text}");
}

#[test]
fn old_partial_downloads_are_pruned() {
    let bed = Bed::new();
    let url = bed.server.on("/a", [Reply::Cut(body(), 1000), Reply::Status(404, vec![])]);
    bed.fetch(&wanted(&body(), &[url])).unwrap_err();
    let report = bed.store.prune(&PrunePolicy { max_bytes: Some(0), ..PrunePolicy::default() }).unwrap();
    assert_eq!((report.removed.len(), report.freed_bytes, bed.partials()), (1, 1000, 0));
}

#[test]
fn a_proxy_that_is_down_is_named_and_not_only_the_server_behind_it() {
    let bed = Bed::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let set = |name: &str| (name == "http_proxy").then(|| format!("http://127.0.0.1:{port}").into());
    let proxies = Proxies::from_variables(set);
    let fetcher = Fetcher::new(bed.store.clone(), FetchOptions { proxies, ..options() }).unwrap();
    let error = fetcher.fetch_all(&[wanted(&body(), &["http://deb.invalid/x".to_owned()])], &Silent).unwrap_err();
    let expected =
        format!("deb.invalid through the proxy http://127.0.0.1:{port} (http_proxy) could not be reached at all");
    assert!(error.to_string().contains(&expected), "{error}");
}

/// A fetcher that goes through the bed's server as a proxy, with the `no_proxy` given.
fn through(bed: &Bed, login: &str, no_proxy: &str) -> Fetcher {
    let proxy = bed.server.url("").replace("http://", &format!("http://{login}"));
    let set = |name: &str| match name {
        "http_proxy" | "https_proxy" => Some(proxy.clone().into()),
        "no_proxy" => Some(no_proxy.into()),
        _ => None,
    };
    Fetcher::new(bed.store.clone(), FetchOptions { proxies: Proxies::from_variables(set), ..options() }).unwrap()
}

#[test]
fn a_proxy_is_asked_for_whole_addresses_and_not_for_a_tunnel() {
    let bed = Bed::new();
    // Only the proxy knows this name.
    let url = "http://deb.invalid:8080/debian/hello.deb";
    bed.server.on(url, [Reply::Cut(body(), 100_000), Reply::Whole(body())]);
    let fetcher = through(&bed, "user:p%40ss%20word@", "");
    let paths = fetcher.fetch_all(&[wanted(&body(), &[url.to_owned()])], &Silent).unwrap();
    assert_eq!(fs::read(&paths[0]).unwrap(), body());
    for head in bed.server.heads() {
        assert!(head.starts_with("GET http://deb.invalid:8080/debian/hello.deb HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("\r\nProxy-Authorization: Basic dXNlcjpwQHNzIHdvcmQ=\r\n"), "{head}");
        assert!(head.contains("host: deb.invalid:8080\r\n"), "{head}");
    }
    assert_eq!(bed.ranges(), [None, Some("bytes=100000-".into())], "both attempts went through the proxy");
}

#[test]
fn many_files_go_through_a_proxy_over_few_connections() {
    let bed = Bed::new();
    let contents: Vec<Vec<u8>> = (0..40_u8).map(|i| vec![i; 1000 * usize::from(i)]).collect();
    let downloads: Vec<Download> = contents
        .iter()
        .enumerate()
        .map(|(i, content)| {
            let url = format!("http://deb.invalid/{i}");
            bed.server.on(&url, [Reply::Whole(content.clone())]);
            wanted(content, &[url])
        })
        .collect();
    through(&bed, "", "").fetch_all(&downloads, &Silent).unwrap();
    assert_eq!(bed.server.requests().len(), 40);
    assert!(bed.server.heads().iter().all(|head| !head.to_lowercase().contains("proxy-authorization")));
}

#[test]
fn a_server_of_no_proxy_is_asked_directly() {
    let bed = Bed::new();
    let url = bed.server.on("/a", [Reply::Whole(body())]);
    through(&bed, "", "127.0.0.0/8").fetch_all(&[wanted(&body(), &[url])], &Silent).unwrap();
    assert!(bed.server.heads()[0].starts_with("GET /a HTTP/1.1\r\n"));
}

#[test]
fn redirections_go_through_the_proxy_and_its_refusals_are_told() {
    let bed = Bed::new();
    let problem = |login: &str, url: &str| {
        let download = wanted(b"x", &[url.to_owned()]);
        let error = through(&bed, login, "").fetch_all(&[download], &Silent).unwrap_err();
        let help = error.help().to_string();
        match error {
            FetchError::Failed { mut failures, .. } => (failures.remove(0).causes.remove(0).problem, help),
            other => panic!("{other}"),
        }
    };
    bed.server.on("http://deb.invalid/a", [Reply::Status(301, vec![("Location", "http://other.invalid/b".into())])]);
    assert_eq!(problem("", "http://deb.invalid/a").0, Problem::Status(404));
    assert_eq!(bed.server.requests().last().unwrap().path, "http://other.invalid/b");
    bed.server.on("deb.invalid:443", [Reply::Status(407, vec![])]);
    let (refused, help) = problem("user:secret@", "https://deb.invalid/a");
    assert_eq!(refused, Problem::Tunnel(407));
    assert!(help.contains("name:password"), "{help}");
    assert!(bed.server.heads().last().unwrap().contains("Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n"));
}

#[test]
fn a_proxy_that_is_not_there_is_named_without_its_password() {
    let bed = Bed::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let set = |name: &str| (name == "http_proxy").then(|| format!("http://me:secret@127.0.0.1:{port}").into());
    let options = FetchOptions { proxies: Proxies::from_variables(set), ..options() };
    let fetcher = Fetcher::new(bed.store.clone(), options).unwrap();
    let text = fetcher.fetch_bytes("http://deb.invalid/x", 10).unwrap_err().to_string();
    assert!(text.contains(&format!("through the proxy http://127.0.0.1:{port} (http_proxy)")), "{text}");
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn a_socks_proxy_is_refused_in_words() {
    let bed = Bed::new();
    for scheme in ["socks", "socks4", "socks4a", "socks5", "socks5h"] {
        let set = |name: &str| (name == "all_proxy").then(|| format!("{scheme}://127.0.0.1:1080").into());
        let options = FetchOptions { proxies: Proxies::from_variables(set), ..options() };
        let fetcher = Fetcher::new(bed.store.clone(), options).unwrap();
        for url in ["http://deb.invalid/x", "https://deb.invalid/x"] {
            let text = fetcher.fetch_bytes(url, 10).unwrap_err().to_string();
            assert!(text.contains("all_proxy") && text.contains("SOCKS proxies are not supported"), "{text}");
        }
    }
}
