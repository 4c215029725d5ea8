use super::*;
use crate::allocation::Allocation;
use protocol::Verdict;
use sha256::Digest;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Mutex;

const LIST: &str = "[[job]]\npackage = \"gzip\"\n[[job]]\npackage = \"sed\"\n[[job]]\npath = \"x\"\nid = \"x\"\n";

/// A web server that has a list, and takes files once it was asked so often.
#[derive(Default)]
struct Shelf {
    seen: Vec<String>,
    files: Vec<(String, Vec<u8>)>,
    refuse: usize,
}

fn serve(shelf: &Arc<Mutex<Shelf>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let shelf = Arc::clone(shelf);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut head = String::new();
            while stream.read_line(&mut head).is_ok_and(|length| length > 2) {}
            let head = head.to_ascii_lowercase();
            let field = |name: &str| {
                let line = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                line.map(str::to_owned)
            };
            let mut body = vec![0; field("content-length").and_then(|text| text.parse().ok()).unwrap_or(0)];
            stream.read_exact(&mut body).unwrap();
            let mut shelf = shelf.lock().unwrap();
            let mut words = head.split(' ');
            let (method, path) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
            shelf.seen.push(format!("{method} {path} {}", field("repr-digest").unwrap_or_default()).trim().to_owned());
            let answer = if method == "put" && shelf.refuse > 0 {
                shelf.refuse -= 1;
                "HTTP/1.1 507 Full\r\ncontent-length: 4\r\nconnection: close\r\n\r\nfull".to_owned()
            } else if method == "put" {
                shelf.files.push((path, body));
                "HTTP/1.1 201 Created\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned()
            } else if field("if-none-match").as_deref() == Some("\"1\"") {
                "HTTP/1.1 304 Same\r\nconnection: close\r\n\r\n".to_owned()
            } else {
                let length = LIST.len();
                format!("HTTP/1.1 200 OK\r\netag: \"1\"\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{LIST}")
            };
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    });
    address
}

fn open(address: &str, data: &Path) -> UrlList {
    let mut list = UrlList::open(UrlListOptions {
        jobs: &format!("{address}/jobs.toml"),
        results: &format!("{address}/results/"),
        when_done: WhenDone::PowerOff,
        data,
        timeouts: Timeouts::of_tests(),
        tell: Arc::new(|_| {}),
        stop: &Arc::default(),
    })
    .unwrap();
    list.ready(&Machine { name: "lab.4".into(), ..Machine::default() }, &[]).unwrap();
    list
}

fn run(list: &mut UrlList, data: &Path) -> Vec<String> {
    let mut ran = Vec::new();
    loop {
        let allocation = Allocation::new(&Machine::default(), None);
        match list.claim(&Room::all_of(&allocation)).unwrap() {
            Claim::Job(assignment) => {
                let bundle = data.join("made");
                std::fs::write(&bundle, "abc").unwrap();
                let (job, sha256) = (assignment.job.id.clone(), Digest::of("abc"));
                ran.push(job.clone());
                let (verdict, summary) = (Verdict::Pass, String::new());
                let delivery = Delivery { job, verdict, summary, bundle, size: 3, sha256 };
                list.deliver(&assignment, &delivery).unwrap();
            }
            Claim::Nothing | Claim::RetryGpus(_) => {}
            Claim::End(_) => return ran,
        }
    }
}

#[test]
fn every_job_is_run_once_and_its_bundle_put_until_it_is_taken() {
    let (shelf, data) = (Arc::new(Mutex::new(Shelf { refuse: 3, ..Shelf::default() })), tempfile::tempdir().unwrap());
    let address = serve(&shelf);
    assert_eq!(run(&mut open(&address, data.path()), data.path()), ["gzip", "sed"]);
    let told = shelf.lock().unwrap();
    assert_eq!(told.files.len(), 2, "{:?}", told.seen);
    assert!(told.files.iter().all(|(_, body)| body == b"abc"));
    assert!(told.files[0].0.starts_with("/results/lab-4-gzip-") && told.files[0].0.ends_with(".tar.zst"));
    // The digest of `abc` (FIPS 180-4), as the server's lower case has it.
    let digest = "sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:".to_ascii_lowercase();
    assert!(told.seen.iter().filter(|line| line.ends_with(&digest)).count() >= 5, "{:?}", told.seen);
    drop(told);
    assert_eq!(Outbox::open(data.path()).unwrap().waiting().unwrap().len(), 0);
    // After a restart there is nothing to do.
    assert_eq!(run(&mut open(&address, data.path()), data.path()), [""; 0]);
    assert_eq!(shelf.lock().unwrap().files.len(), 2);
}

#[test]
fn a_list_on_a_web_server_is_no_hub() {
    let data = tempfile::tempdir().unwrap();
    let list = open("http://127.0.0.1:1", data.path());
    assert_eq!((list.name().as_str(), list.hub()), ("http://127.0.0.1:1/jobs.toml", None));
}

#[test]
fn an_unchanged_list_is_not_read_again() {
    let (shelf, data) = (Arc::default(), tempfile::tempdir().unwrap());
    let web = Web::new().unwrap();
    let address = format!("{}/jobs.toml", serve(&shelf));
    let Ok(Fetched::List(list, known)) = web.fetch(&address, &Validators::default()) else { panic!("no list") };
    assert_eq!(list, LIST.as_bytes());
    assert_eq!(web.fetch(&address, &known).unwrap(), Fetched::Unchanged);
    drop(data);
}

#[test]
fn a_list_that_is_read_again_does_not_give_out_what_runs() {
    let (shelf, data) = (Arc::default(), tempfile::tempdir().unwrap());
    let mut list = open(&serve(&shelf), data.path());
    let machine = Machine { gpus: gpu::simulate("gfx1030,gfx942").unwrap(), memory: 4096, ..Machine::default() };
    let allocation = Allocation::new(&machine, None);
    let mut next = || {
        // As if it had changed meanwhile.
        (list.asked, list.known) = (None, Validators::default());
        match list.claim(&Room::all_of(&allocation)) {
            Ok(Claim::Job(assignment)) => Some(assignment),
            _ => None,
        }
    };
    let (gzip, sed) = (next().unwrap(), next().unwrap());
    assert_eq!((gzip.job.id.as_str(), sed.job.id.as_str()), ("gzip", "sed"));
    assert!(next().is_none());
    // What is given back comes again.
    list.give_back(&sed, GiveBackReason::Other, "").unwrap();
    assert_eq!(run(&mut list, data.path()), ["sed"]);
}
