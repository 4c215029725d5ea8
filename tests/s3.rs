//! Tests of result bundles in S3-compatible storage, with `OpenStack` Swift as the storage: what the client does with what
//! can go wrong, and a hub that keeps its bundles there.

#[path = "s3/worker.rs"]
mod worker;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use advice::Advise as _;
use jiff::{SignedDuration, Timestamp};
use protocol::Verdict;
use protocol::api::{Complete, ProblemCode};
use rocbed_tests::{Authority, Hub, MadeUpWorker, Relay, Swift, in_home, noise};
use s3::{Bucket, Content, Credentials, Location, Options, PresignedParts, PresignedPut, Put, S3Error};
use serde_json::Value;
use sha256::Digest;
use tempfile::TempDir;

/// Time limit for anything that must happen in the end.
const PATIENCE: Duration = Duration::from_secs(120);

const MIB: u64 = 1 << 20;

/// One Swift for all tests of this program.
fn swift() -> &'static Swift {
    static SWIFT: OnceLock<Swift> = OnceLock::new();
    SWIFT.get_or_init(Swift::start)
}

/// One attempt, and small parts.
fn once() -> Options {
    Options { attempts: 1, single_limit: MIB, part_size: 5 * MIB, ..Options::default() }
}

fn file(directory: &TempDir, content: &[u8]) -> (PathBuf, Content) {
    let path = directory.path().join("bundle");
    fs::write(&path, content).expect("a file");
    let content = Content::of_file(&path).expect("its digest");
    (path, content)
}

fn temporary() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

/// Waits until something is so.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}: not after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn an_object_is_put_once_and_verified_when_it_is_read() -> Result<(), S3Error> {
    swift().make_bucket("objects");
    let bucket = Swift::bucket(swift().port(), "objects/lab one", Swift::credentials(), &once());
    bucket.check()?;
    let (temp, key) = (temporary(), "unstable/amd64+gfx1030/ü@x y.tar.zst");
    let (path, content) = file(&temp, b"a bundle");
    assert_eq!(bucket.head(key)?, None);
    assert_eq!(bucket.put(key, &path, &content)?, Put::Stored);
    assert_eq!(bucket.put(key, &path, &content)?, Put::AlreadyThere);
    let info = bucket.head(key)?.expect("it is there");
    assert_eq!((info.size, info.sha256), (8, Some(content.sha256)));
    let copy = temp.path().join("copy");
    bucket.download(key, &content, &copy)?;
    assert_eq!(fs::read(&copy).expect("a copy"), b"a bundle");

    // Another content never takes its place, and a file that is not what it was is not put.
    let (path, other) = file(&temp, b"a bumble");
    let error = bucket.put(key, &path, &other).unwrap_err();
    assert!(matches!(&error, S3Error::Changed { what, .. } if what.contains("lab one/unstable/")), "{error}");
    let error = bucket.put("other", &path, &content).unwrap_err();
    assert!(matches!(error, S3Error::FileChanged(_)), "{error}");
    assert_eq!(bucket.head("other")?, None);

    // Somebody changes it: same length, another length, gone.
    let place = "objects/lab%20one/unstable/amd64%2Bgfx1030/%C3%BC@x%20y.tar.zst";
    for changed in [&b"a bungle"[..], b"a bundle, longer"] {
        swift().native("PUT", place, Some(changed));
        let error = bucket.download(key, &content, &copy).unwrap_err();
        assert!(matches!(&error, S3Error::Changed { what, .. } if what.ends_with(key)), "{error}");
        assert!(!copy.exists(), "what is not right is not kept");
        assert!(matches!(bucket.verify(key, &content), Err(S3Error::Changed { .. })));
    }
    bucket.delete(key)?;
    bucket.delete(key)?;
    let error = bucket.download(key, &content, &copy).unwrap_err();
    assert!(matches!(error, S3Error::NoObject { .. }), "{error}");
    Ok(())
}

#[test]
fn an_upload_that_is_cut_in_each_part_goes_on() -> Result<(), S3Error> {
    swift().make_bucket("parts");
    let relay = Relay::start(swift().port());
    let bucket = Swift::bucket(relay.address().port(), "parts", Swift::credentials(), &once());
    let temp = temporary();
    // Three parts, the last one short.
    let (path, content) = file(&temp, noise(12 << 20).as_bytes());
    // Each time the first bytes of the next part are lost, and none of the parts before is sent again.
    for (part, passes) in [(1, MIB), (2, 6 * MIB), (3, 6 * MIB)] {
        relay.cut_after(passes);
        let error = bucket.put("cut", &path, &content).unwrap_err();
        assert!(matches!(error, S3Error::Unreachable { .. }), "part {part}: {error}");
        relay.mend();
        assert_eq!(bucket.head("cut")?, None, "part {part}");
    }
    relay.sent();
    assert_eq!(bucket.put("cut", &path, &content)?, Put::Stored);
    let sent = relay.sent();
    assert!((2 * MIB..3 * MIB).contains(&sent), "{sent} bytes were sent for the last part");
    assert_eq!(bucket.put("cut", &path, &content)?, Put::AlreadyThere);
    assert!(relay.sent() < MIB);

    // A download that is cut goes on, too.
    let patient = Options { attempts: 5, first_pause: Duration::from_millis(10), ..once() };
    let bucket = Swift::bucket(relay.address().port(), "parts", Swift::credentials(), &patient);
    relay.cut_answers_after(7 * MIB);
    bucket.download("cut", &content, &temp.path().join("copy"))?;
    assert_eq!(Content::of_file(&temp.path().join("copy"))?, content);

    // The answer to a request is lost: the object is there, and that is found out.
    let another = temporary();
    let (small, of_small) = file(&another, b"a bundle");
    relay.cut_answers_after(0);
    assert_eq!(bucket.put("whole", &small, &of_small)?, Put::AlreadyThere);

    // What nobody goes on with is aborted.
    relay.cut_after(6 * MIB);
    let hasty = Swift::bucket(relay.address().port(), "parts", Swift::credentials(), &once());
    assert!(hasty.put("given-up", &path, &content).is_err());
    relay.mend();
    assert_eq!(bucket.abort_uploads(Timestamp::UNIX_EPOCH)?, 0);
    let later = Timestamp::now().checked_add(SignedDuration::from_hours(1)).expect("a time");
    assert_eq!((bucket.abort_uploads(later)?, bucket.abort_uploads(later)?), (1, 0));
    Ok(())
}

fn an_hour_ago() -> Timestamp {
    Timestamp::now().checked_sub(SignedDuration::from_hours(1)).expect("a time")
}

#[test]
fn errors_say_what_is_wrong() -> Result<(), S3Error> {
    swift().make_bucket("errors");
    let temp = temporary();
    let (path, content) = file(&temp, b"a bundle");
    let put = |bucket: &Bucket| bucket.put("key", &path, &content).unwrap_err().to_string();
    let port = swift().port();
    let of = |name, credentials, options: &Options| Swift::bucket(port, name, credentials, options);
    let long_wrong = "s3cret-that-is-wrong";
    for (key, secret) in [("test:tester", long_wrong), ("nobody:here", long_wrong)] {
        let bucket = of("errors", Credentials::new(key, secret), &once());
        let said = put(&bucket);
        assert!(said.contains("does not accept the key") && said.contains(key) && !said.contains(long_wrong), "{said}");
        assert!(matches!(bucket.check(), Err(S3Error::WrongKey { .. })));
    }
    let said = put(&of("nowhere", Swift::credentials(), &once()));
    assert!(said.contains("no bucket nowhere"), "{said}");
    let said = put(&of("errors", Swift::credentials(), &Options { clock: an_hour_ago, ..once() }));
    assert!(said.contains("its own is ") && said.contains(" s slow"), "{said}");
    let relay = Relay::start(port);
    relay.cut();
    let said = put(&Swift::bucket(relay.address().port(), "errors", Swift::credentials(), &once()));
    assert!(said.contains("does not answer"), "{said}");
    // Storage that comes back is found again.
    let patient = Options { attempts: 50, longest_pause: Duration::from_millis(100), ..once() };
    let back = Swift::bucket(relay.address().port(), "errors", Swift::credentials(), &patient);
    let mending = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        relay.mend();
    });
    assert_eq!(back.put("key", &path, &content)?, Put::Stored);
    mending.join().expect("it ends");
    Ok(())
}

#[test]
fn a_presigned_address_is_for_one_content_and_a_limited_time() -> Result<(), S3Error> {
    swift().make_bucket("presigned");
    let bucket = Swift::bucket(swift().port(), "presigned", Swift::credentials(), &once());
    let temp = temporary();
    let hour = Duration::from_secs(3600);
    let (path, content) = file(&temp, noise(600 << 10).as_bytes());
    let signed = bucket.presign_put("a+b", &content, hour);
    assert!(!format!("{signed:?}").contains("Signature"));
    assert_eq!(s3::put_presigned(&once(), &signed, &path, &content)?, Put::Stored);
    assert_eq!(s3::put_presigned(&once(), &signed, &path, &content)?, Put::AlreadyThere);
    bucket.verify("a+b", &content)?;
    let mut got = Vec::new();
    let url = bucket.presign_get("a+b", hour);
    let answer = ureq::get(url.reveal()).call().expect("an answer");
    std::io::Read::read_to_end(&mut answer.into_body().into_reader(), &mut got).expect("the object");
    assert_eq!(got, fs::read(&path).expect("the file"));

    // Another content, another key, too late.
    let signed = bucket.presign_put("c", &content, hour);
    let (path, other) = file(&temp, noise(600 << 10).to_uppercase().as_bytes());
    let error = s3::put_presigned(&once(), &signed, &path, &other).unwrap_err();
    assert!(matches!(error, S3Error::Refused { status: 400, .. }), "{error}");
    let signed = bucket.presign_put("c", &other, hour);
    let mut elsewhere = signed.clone();
    elsewhere.url = safetext::Secret::new(signed.url.reveal().replace("/c?", "/d?"));
    let error = s3::put_presigned(&once(), &elsewhere, &path, &other).unwrap_err();
    assert!(matches!(error, S3Error::WrongKey { .. }), "{error}");
    let earlier = Options { clock: some_minutes_ago, ..once() };
    let slow = Swift::bucket(swift().port(), "presigned", Swift::credentials(), &earlier);
    let expired = slow.presign_put("c", &other, Duration::from_secs(60));
    let error = s3::put_presigned(&once(), &expired, &path, &other).unwrap_err();
    assert!(matches!(error, S3Error::Expired { .. }), "{error}");
    for key in ["c", "d"] {
        assert_eq!(bucket.head(key)?, None);
    }
    Ok(())
}

/// The parts that an answer says are missing.
fn missing(answer: PresignedParts) -> Vec<(u32, PresignedPut)> {
    let PresignedParts::Missing(parts) = answer else { panic!("it is complete") };
    parts
}

#[test]
fn addresses_of_parts_carry_a_file_of_any_size_and_go_on_after_a_cut() -> Result<(), S3Error> {
    swift().make_bucket("presigned-parts");
    let relay = Relay::start(swift().port());
    let of = |port, options: &Options| Swift::bucket(port, "presigned-parts", Swift::credentials(), options);
    // It signs for the relay, through which the file is sent; the other one looks.
    let bucket = of(relay.address().port(), &once());
    let temp = temporary();
    let (path, content) = file(&temp, noise(12 << 20).as_bytes());
    let pieces = s3::pieces(&path, &content, 5 * MIB)?;
    assert_eq!(pieces.iter().map(|piece| piece.length).collect::<Vec<_>>(), [5 * MIB, 5 * MIB, 2 * MIB]);
    let hour = Duration::from_secs(3600);
    let ask = |bucket: &Bucket, valid| bucket.presign_parts("big", &content, &pieces, valid, 2);
    let put =
        |part: &(u32, PresignedPut)| s3::put_presigned_part(&once(), &part.1, &path, &pieces[part.0 as usize - 1]);
    let numbers = |parts: &[(u32, PresignedPut)]| parts.iter().map(|(number, _)| *number).collect::<Vec<_>>();

    // No more addresses at once than asked for. Each part is cut once, and none is sent twice.
    for part in 1..=3_u32 {
        let parts = missing(ask(&bucket, hour)?);
        assert_eq!(numbers(&parts), (part..=3).take(2).collect::<Vec<_>>());
        relay.cut_after(MIB);
        let error = put(&parts[0]).unwrap_err();
        assert!(matches!(error, S3Error::Unreachable { .. }), "part {part}: {error}");
        relay.mend();
        assert_eq!(bucket.head("big")?, None, "part {part}");
        // An address is for one content, and for one part.
        let other = s3::Piece { sha256: pieces[part as usize % 3].sha256, ..pieces[part as usize % 3].clone() };
        let error = s3::put_presigned_part(&once(), &parts[0].1, &path, &other).unwrap_err();
        assert!(matches!(error, S3Error::Refused { status: 400, .. } | S3Error::Unreachable { .. }), "{error}");
        let mut elsewhere = parts[0].1.clone();
        let (here, there) = (format!("partNumber={part}&"), format!("partNumber={}&", part + 5));
        elsewhere.url = safetext::Secret::new(elsewhere.url.reveal().replace(&here, &there));
        let error = s3::put_presigned_part(&once(), &elsewhere, &path, &pieces[part as usize - 1]).unwrap_err();
        assert!(matches!(error, S3Error::WrongKey { .. }), "{error}");
        // One that has expired is asked for again.
        let earlier = of(relay.address().port(), &Options { clock: some_minutes_ago, ..once() });
        let expired = missing(ask(&earlier, Duration::from_secs(60))?);
        assert!(matches!(put(&expired[0]), Err(S3Error::Expired { .. })));
        put(&missing(ask(&bucket, hour)?)[0])?;
    }
    relay.sent();
    assert_eq!(ask(&bucket, hour)?, PresignedParts::Complete);
    assert_eq!(ask(&bucket, hour)?, PresignedParts::Complete, "also if the answer was lost");
    assert!(relay.sent() < MIB, "nothing is sent again");
    bucket.verify("big", &content)?;
    assert_eq!(bucket.put("big", &path, &content)?, Put::AlreadyThere);
    let later = Timestamp::now().checked_add(SignedDuration::from_hours(1)).expect("a time");
    assert_eq!(bucket.abort_uploads(later)?, 0, "no upload is left");
    Ok(())
}

#[test]
fn a_private_authority_is_trusted_if_it_is_named() -> Result<(), S3Error> {
    let authority = Authority::new();
    let port = authority.start_server();
    let check = |host: &str, ca_file: Option<PathBuf>| {
        let location = Location::parse(&format!("s3+https://{host}:{port}/results"), |_| None)?;
        Bucket::new(location, Swift::credentials(), &Options { ca_file, ..once() })?.check()
    };
    let error = check("127.0.0.1", None).unwrap_err();
    assert!(matches!(&error, S3Error::Certificate { reason, .. } if reason.contains("UnknownIssuer")), "{error}");
    assert!(error.help().to_string().contains("AWS_CA_BUNDLE"));
    check("127.0.0.1", Some(authority.certificate()))?;
    let error = check("localhost", Some(authority.certificate())).unwrap_err();
    assert!(matches!(&error, S3Error::Certificate { reason, .. } if reason.contains("localhost")), "{error}");
    Ok(())
}

fn some_minutes_ago() -> Timestamp {
    Timestamp::now().checked_sub(SignedDuration::from_mins(5)).expect("a time")
}

/// A hub that keeps its bundles in a bucket, which it reaches through a relay.
struct Stored {
    relay: Relay,
    address: String,
}

impl Stored {
    fn new(bucket: &str) -> Self {
        swift().make_bucket(bucket);
        let relay = Relay::start(swift().port());
        let address = format!("s3+http://{}/{bucket}/hub", relay.address());
        Self { relay, address }
    }

    fn start(&self, home: TempDir, options: &[&str]) -> Hub {
        let words = ["--listen", "127.0.0.1:0", "--min-free", "0", "--bundles", &self.address];
        Hub::start_with(home, &[&words, options].concat(), &Swift::environment())
    }
}

fn status(hub: &Hub) -> Value {
    let answer = ureq::get(format!("{}/api/v1/storage", hub.address())).call().expect("an answer");
    serde_json::from_reader(answer.into_body().into_reader()).expect("JSON")
}

/// Adds a job and delivers its result; returns the digest of its bundle, and whether the worker put it into the bucket.
fn deliver(hub: &Hub, worker: &MadeUpWorker, package: &str) -> (Digest, bool) {
    hub.call(&["jobs", "add", package]).ok();
    worker.deliver(&worker.begin(), Verdict::Pass)
}

fn place(bucket: &str, sha256: &Digest) -> String {
    format!("{bucket}/hub/bundles/{}/{sha256}.tar.zst", sha256.prefix(2))
}

/// Fetches the bundle of a job's result; returns its digest, or what the command said.
fn fetch(hub: &Hub, job: &str) -> Result<Digest, String> {
    let to = temporary();
    let output = hub.call(&["results", "fetch", job]).current_dir(to.path()).run();
    if output.code != Some(0) {
        return Err(output.stderr);
    }
    let path = to.path().join("results").join(format!("{job}.tar.zst"));
    Ok(Content::of_file(&path).expect("a bundle").sha256)
}

fn in_data(home: &Path, directory: &str) -> usize {
    let root = home.join(".local/share/rocbed/hub").join(directory);
    let entries = |path: &Path| fs::read_dir(path).map_or(0, Iterator::count);
    fs::read_dir(&root).map_or(0, |all| all.flatten().map(|entry| entries(&entry.path())).sum())
}

#[test]
fn a_hub_keeps_its_bundles_in_a_bucket_and_loses_nothing_when_that_is_away() {
    let stored = Stored::new("hub-one");
    // Without a cache, so that all that is read comes from the bucket.
    let hub = stored.start(temporary(), &["--bundle-cache", "0"]);
    let worker = MadeUpWorker::register(&hub, "lab-1", "gfx1030");
    let (first, direct) = deliver(&hub, &worker, "rocrand");
    assert!(!direct, "workers use the bucket only if the hub is told so");
    wait_until("the first bundle is in the bucket", || status(&hub)["uploaded"] == 1);
    swift().native("HEAD", &place("hub-one", &first), None);
    assert_eq!((in_data(hub.home(), "bundles"), in_data(hub.home(), "bundle-cache")), (0, 0));
    assert_eq!(fetch(&hub, "rocrand"), Ok(first));
    // A single file of it, too.
    let file = ureq::get(format!("{}/jobs/rocrand/files/0", hub.address())).call().expect("an answer");
    let file: Value = serde_json::from_reader(file.into_body().into_reader()).expect("JSON");
    assert_eq!(file["job"]["package"], "rocrand");

    // The bucket is away: results are taken and can be read, also after the hub is started again.
    stored.relay.cut();
    let (second, _) = deliver(&hub, &worker, "rocfft");
    wait_until("the hub says so", || status(&hub)["problem"].is_string());
    let page = ureq::get(format!("{}/storage", hub.address())).call().expect("an answer");
    let page = page.into_body().read_to_string().expect("text");
    assert!(page.contains("does not answer") && page.contains("1 bundles"), "{page}");
    assert_eq!(fetch(&hub, "rocfft"), Ok(second));
    let (_, said, home) = hub.end("-TERM");
    assert!(said.contains("bundles cannot be put into the bucket, and are kept here until they can"), "{said}");
    let hub = stored.start(home, &["--bundle-cache", "0"]);
    assert_eq!(fetch(&hub, "rocfft"), Ok(second));

    // It is back: nothing is lost.
    stored.relay.mend();
    wait_until("the second bundle is in the bucket", || status(&hub)["waiting"] == 0);
    assert_eq!(status(&hub)["problem"], Value::Null);
    assert_eq!((fetch(&hub, "rocrand"), fetch(&hub, "rocfft")), (Ok(first), Ok(second)));

    // Somebody changes one object and deletes another: an error that names it, and never wrong data.
    swift().native("PUT", &place("hub-one", &first), Some(b"not a bundle"));
    swift().native("DELETE", &place("hub-one", &second), None);
    let error = fetch(&hub, "rocrand").unwrap_err();
    assert!(error.contains(&format!("{first}.tar.zst")) && error.contains("not what was"), "{error}");
    let error = fetch(&hub, "rocfft").unwrap_err();
    assert!(error.contains("no longer kept"), "{error}");
}

#[test]
fn workers_put_bundles_into_the_bucket_themselves_if_the_hub_offers_it() {
    let stored = Stored::new("hub-two");
    let hub = stored.start(temporary(), &["--direct-uploads"]);
    let worker = MadeUpWorker::register(&hub, "lab-1", "gfx1030");
    let (first, direct) = deliver(&hub, &worker, "rocrand");
    assert!(direct);
    swift().native("HEAD", &place("hub-two", &first), None);
    assert_eq!(in_data(hub.home(), "bundles"), 0, "the bundle did not come through the hub");
    assert_eq!(fetch(&hub, "rocrand"), Ok(first));
    // What is not a bundle is refused as always, and deleted from the bucket.
    hub.call(&["jobs", "add", "hipcub"]).ok();
    let claimed = worker.begin();
    let temp = temporary();
    let (path, content) = file(&temp, noise(300_000).as_bytes());
    assert_eq!(worker.client().upload_directly(&path).expect("an upload"), (content.sha256, true));
    let bucket = Swift::bucket(swift().port(), "hub-two/hub", Swift::credentials(), &once());
    let key = format!("bundles/{}/{}.tar.zst", content.sha256.prefix(2), content.sha256);
    assert!(bucket.head(&key).expect("an answer").is_some());
    let complete = Complete { bundle: content.sha256, verdict: Verdict::Pass, summary: String::new() };
    let error = worker.client().complete(&claimed.lease, &complete).expect_err("it is not a bundle");
    assert_eq!(error.code(), Some(ProblemCode::BundleInvalid), "{error}");
    assert_eq!(bucket.head(&key).expect("an answer"), None);

    // More than one request takes: in parts, and not through the hub either.
    hub.call(&["jobs", "add", "rocblas"]).ok();
    let (large, direct) = worker.deliver_with(&worker.begin(), Verdict::Pass, 90 << 20);
    assert!(direct);
    swift().native("HEAD", &place("hub-two", &large), None);
    assert_eq!(in_data(hub.home(), "bundles"), 0, "the bundle did not come through the hub");
    assert_eq!(fetch(&hub, "rocblas"), Ok(large));

    // The storage is away for a worker: the bundle goes to the hub.
    stored.relay.cut();
    let (second, direct) = deliver(&hub, &worker, "rocfft");
    assert!(!direct);
    assert_eq!(fetch(&hub, "rocfft"), Ok(second));
}

#[test]
fn a_hub_says_what_is_wrong_with_its_bucket_when_it_starts() {
    swift().make_bucket("hub-three");
    let home = temporary();
    let start = |address: &str, secret: &str| {
        in_home(home.path(), &["hub", "--listen", "127.0.0.1:0", "--bundles", address])
            .env("AWS_ACCESS_KEY_ID", "test:tester")
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .run()
    };
    let at = |bucket: &str| format!("s3+http://127.0.0.1:{}/{bucket}", swift().port());
    for (address, secret, says) in [
        (at("hub-three"), "wrong-secret", ["does not accept the key test:tester", "help: compare AWS_ACCESS_KEY_ID"]),
        (at("nowhere"), "testing", ["there is no bucket nowhere", "help: create the bucket"]),
        ("s3://Results".into(), "testing", ["a bucket's name has", "help: write s3://BUCKET/PREFIX"]),
        (at("hub-three"), "", ["AWS_SECRET_ACCESS_KEY is not set", "help: set AWS_ACCESS_KEY_ID"]),
    ] {
        let output = start(&address, secret);
        assert_eq!(output.code, Some(1), "{}", output.stderr);
        for part in says {
            assert!(output.stderr.contains(part), "{part:?} is not in:\n{}", output.stderr);
        }
        assert!(!output.stderr.contains("wrong-secret"), "{}", output.stderr);
    }
}
