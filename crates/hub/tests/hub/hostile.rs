//! Requests that no worker of rocbed would send.

use protocol::Verdict;
use protocol::api::{Complete, Heartbeat, Problem, ProblemCode};

use crate::support::{Outcome, Running, Worker, archive, bundle, start, start_with};

const GZIP: &str = "[[job]]\npackage = \"gzip\"\n";

fn code<T: std::fmt::Debug>(outcome: Result<T, client::ClientError>) -> Option<ProblemCode> {
    outcome.expect_err("it is refused").code()
}

#[test]
fn tokens_are_good_for_one_thing() -> Outcome {
    let hub = start();
    let worker = hub.worker("w1", "");
    let request = crate::support::add_request(GZIP);
    let join = hub.client().with_token(hub.hub.join_token());
    assert_eq!(code(hub.client().add_jobs(&request)), Some(ProblemCode::Unauthorized));
    assert_eq!(code(hub.client().with_token("rocbed-admin-00").add_jobs(&request)), Some(ProblemCode::Unauthorized));
    assert_eq!(code(worker.client.add_jobs(&request)), Some(ProblemCode::Forbidden));
    assert_eq!(code(join.add_jobs(&request)), Some(ProblemCode::Forbidden));
    let claim = protocol::api::Claim { request: "r".into(), wait: 0, ..protocol::api::Claim::default() };
    assert_eq!(code(hub.people().claim(&claim)), Some(ProblemCode::Forbidden));
    assert_eq!(code(join.claim(&claim)), Some(ProblemCode::Forbidden));
    // A worker's token is for that worker only.
    let report = protocol::api::WorkerReport { health: protocol::api::Health::Off, message: String::new() };
    hub.worker("w2", "");
    assert_eq!(code(worker.client.report("w2", &report)), Some(ProblemCode::Forbidden));
    // A new admin token invalidates the old one.
    let new = hub.hub.replace_admin_token()?;
    assert_eq!(code(hub.people().add_jobs(&request)), Some(ProblemCode::Unauthorized));
    hub.client().with_token(&new).add_jobs(&request)?;
    Ok(())
}

#[test]
fn a_hub_that_is_not_public_shows_nothing_without_a_token() -> Outcome {
    let hub = start_with(|config| config.public = false);
    for path in ["/api/v1/jobs", "/api/v1/results", "/api/v1/workers", "/metrics", "/", "/jobs", "/workers"] {
        assert_eq!(hub.get(path).0, 401, "{path}");
    }
    assert!(hub.people().jobs(&client::JobQuery::default())?.jobs.is_empty());
    Ok(())
}

#[test]
fn a_lease_of_another_worker_is_unknown() -> Outcome {
    let hub = start();
    let (worker, thief) = (hub.worker("w1", ""), hub.worker("w2", ""));
    hub.add(GZIP);
    let claimed = worker.begin();
    let digest = thief.upload(&bundle(&thief.result(&claimed.job, Verdict::Pass)))?;
    let complete = Complete { bundle: digest, verdict: Verdict::Pass, summary: String::new() };
    for lease in [claimed.lease.as_str(), "00", "../../x", "'; DROP TABLE jobs; --"] {
        assert_eq!(code(thief.client.heartbeat(lease, &Heartbeat::default())), Some(ProblemCode::LeaseUnknown));
        assert_eq!(code(thief.client.append_log(lease, 0, b"x")), Some(ProblemCode::LeaseUnknown));
        assert_eq!(code(thief.client.complete(lease, &complete)), Some(ProblemCode::LeaseUnknown));
    }
    assert_eq!(worker.beat(&claimed.lease), None);
    Ok(())
}

fn complete(worker: &Worker, lease: &str, bytes: &[u8]) -> Option<ProblemCode> {
    let bundle = worker.upload(bytes).expect("it is uploaded");
    code(worker.client.complete(lease, &Complete { bundle, verdict: Verdict::Pass, summary: String::new() }))
}

#[test]
fn bundles_that_are_not_believed() -> Outcome {
    let hub = start_with(|config| config.max_unpacked = 1 << 20);
    let worker = hub.worker("w1", "");
    hub.add(GZIP);
    let claimed = worker.begin();
    let good = worker.result(&claimed.job, Verdict::Pass);
    let json = serde_json::to_vec(&good)?;
    let bomb = archive(&[("zeros", &vec![0; 4 << 20]), ("result.json", &json)]);
    let traversal = archive(&[("../../etc/passwd", b"x"), ("result.json", &json)]);
    for bytes in [&b"hello"[..], &bomb, &traversal, &archive(&[("x", b"")]), &archive(&[("result.json", b"{}")])] {
        assert_eq!(complete(&worker, &claimed.lease, bytes), Some(ProblemCode::BundleInvalid));
    }
    let mut other = good.clone();
    other.job.id = "sed".into();
    assert_eq!(complete(&worker, &claimed.lease, &bundle(&other)), Some(ProblemCode::WrongJob));
    let mut other = good;
    other.verdict = Verdict::Fail;
    assert_eq!(complete(&worker, &claimed.lease, &bundle(&other)), Some(ProblemCode::Invalid));
    worker.deliver(&claimed, Verdict::Pass)?;
    Ok(())
}

fn problem(answer: &str) -> Problem {
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    assert!(answer.contains("content-type: application/problem+json"), "{answer}");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

fn post(hub: &Running, path: &str, headers: &str, body: &str) -> Problem {
    let length = body.len();
    let admin = &hub.admin;
    problem(
        &hub.raw(
            format!(
                "POST {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\nauthorization: Bearer {admin}\r\n{headers}\
             content-length: {length}\r\n\r\n{body}"
            )
            .as_bytes(),
        ),
    )
}

#[test]
fn requests_that_make_no_sense_are_told_what_is_wrong() {
    let hub = start_with(|config| config.max_json = 1000);
    let jobs = "/api/v1/jobs";
    assert_eq!(post(&hub, jobs, "", "{").code, ProblemCode::BadRequest);
    let wrong = post(&hub, jobs, "", r#"{"request": "r", "list": {"job": [{"package": "gzip", "timeout": "soon"}]}}"#);
    assert_eq!(wrong.code, ProblemCode::Invalid);
    assert!(wrong.detail.starts_with("list.job[0]"), "{}", wrong.detail);
    assert_eq!(post(&hub, jobs, "", r#"{"request": "../x", "list": {"job": []}}"#).code, ProblemCode::Invalid);
    assert_eq!(post(&hub, jobs, "", r#"{"request": "r", "list": {"job": []}}"#).code, ProblemCode::Invalid);
    assert_eq!(post(&hub, jobs, "", &" ".repeat(1001)).code, ProblemCode::TooLarge);
    assert_eq!(post(&hub, jobs, "rocbed-protocol: 9\r\n", "{}").code, ProblemCode::TooNew);
    assert_eq!(post(&hub, "/api/v1/nothing", "", "").code, ProblemCode::NotFound);
    assert_eq!(post(&hub, "/api/v1/openapi.json", "", "").code, ProblemCode::MethodNotAllowed);
    let query = problem(&hub.raw(b"GET /api/v1/jobs?limit=x HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"));
    assert_eq!(query.code, ProblemCode::BadRequest);
    let state = problem(&hub.raw(b"GET /api/v1/jobs?state=odd HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"));
    assert!(state.detail.contains("queued, running"), "{}", state.detail);
    for path in ["/api/v1/jobs/..%2f..%2fetc%2fpasswd", "/api/v1/results/%ff", "/jobs/..%2fx"] {
        assert!(matches!(hub.get(path).0, 400 | 404), "{path}");
    }
}

#[test]
fn a_page_of_others_cannot_make_a_browser_change_anything() -> Outcome {
    let hub = start_with(|config| config.public = false);
    let browser = base64(&format!("me:{}", hub.admin));
    let ask = |method: &str, path: &str, body: &str| {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: h\r\nauthorization: Basic {browser}\r\ncontent-type: text/plain\r\n\
             content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        hub.raw(request.as_bytes()).get(9..12).unwrap_or_default().to_owned()
    };
    // Reading works; requests that another site's form can send do not.
    assert_eq!(ask("GET", "/jobs", ""), "200");
    let request = serde_json::to_string(&crate::support::add_request(GZIP))?;
    assert_eq!(ask("POST", "/api/v1/jobs", &request), "403");
    hub.add(GZIP);
    assert_eq!(ask("POST", "/api/v1/jobs/gzip/cancel", ""), "403");
    assert_eq!(hub.people().jobs(&client::JobQuery::default())?.jobs.len(), 1);
    Ok(())
}

/// Encodes base64 (RFC 4648, section 4).
fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = |three: &[u8]| {
        let bits = three.iter().chain([0, 0].iter()).take(3).fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        let count = three.len() + 1;
        (0..4)
            .map(|at| if at < count { char::from(DIGITS[bits >> (18 - 6 * at) & 63]) } else { '=' })
            .collect::<String>()
    };
    text.as_bytes().chunks(3).map(digits).collect()
}

#[test]
fn a_request_is_one_document() -> Outcome {
    let hub = start();
    let request = serde_json::to_string(&crate::support::add_request(GZIP))?;
    for more in [request.as_str(), "=", "x"] {
        let body = format!("{request}{more}");
        let answer = hub.raw(
            format!(
                "POST /api/v1/jobs HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\
                 connection: close\r\n\r\n{body}",
                hub.admin,
                body.len()
            )
            .as_bytes(),
        );
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("after the document"), "{answer}");
    }
    assert!(hub.people().jobs(&client::JobQuery::default())?.jobs.is_empty());
    Ok(())
}

#[test]
fn a_bundle_that_was_removed_to_make_room_is_not_there() -> Outcome {
    let temp = tempfile::tempdir()?;
    let hub = crate::support::start_in(temp.path(), |_| ());
    let worker = hub.worker("w1", "");
    hub.add(GZIP);
    let claimed = worker.begin();
    worker.deliver(&claimed, Verdict::Pass)?;
    assert_eq!(hub.get("/api/v1/results/gzip/bundle").0, 200);
    let mut removed = 0;
    let mut directories = vec![temp.path().join("bundles")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                directories.push(entry.path());
            } else {
                std::fs::remove_file(entry.path())?;
                removed += 1;
            }
        }
    }
    assert_eq!(removed, 1);
    let (status, text) = hub.get("/api/v1/results/gzip/bundle");
    assert!(status == 410 && text.contains("is no longer kept"), "{status} {text}");
    assert_eq!(hub.get("/api/v1/results/gzip").0, 200);
    Ok(())
}
