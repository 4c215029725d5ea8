//! People who log in with a browser, and what they may do then.

use protocol::Verdict;

use crate::support::{Outcome, Running, start, start_with};

/// An answer: status, headers in lower case, body.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

fn ask(hub: &Running, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let length = body.len();
    let answer = hub.raw(
        format!("{method} {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}")
            .as_bytes(),
    );
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    Answer { status: head[9..12].parse().expect("a status"), head: head.to_owned(), body: body.to_owned() }
}

/// Logs in; returns the header with the cookie.
fn log_in(hub: &Running) -> String {
    let answer = ask(hub, "POST", "/login", "", &format!("token={}&next=%2Fjobs%2Fgzip", hub.admin));
    assert_eq!((answer.status, answer.header("location")), (303, Some("/jobs/gzip")), "{}", answer.head);
    let cookie = answer.header("set-cookie").expect("a cookie");
    assert!(cookie.contains("HttpOnly; SameSite=Lax") && !cookie.contains("Secure"), "{cookie}");
    format!("cookie: {}\r\n", cookie.split(';').next().unwrap_or_default())
}

/// The form key on a page.
fn form_key(hub: &Running, cookie: &str, path: &str) -> String {
    let page = ask(hub, "GET", path, cookie, "").body;
    let key = page.split("name=\"form-key\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
    key.unwrap_or_else(|| panic!("no form: {page}")).to_owned()
}

/// A hub with a result that has failed.
fn failed() -> Running {
    let hub = start();
    let worker = hub.worker("w1", "");
    hub.add("[[job]]\npackage = \"gzip\"\n");
    worker.deliver(&worker.begin(), Verdict::Fail).expect("it is taken");
    hub
}

#[test]
fn who_is_logged_in_repeats_and_confirms_from_the_page() -> Outcome {
    let hub = failed();
    let cookie = log_in(&hub);
    let page = ask(&hub, "GET", "/jobs/gzip", &cookie, "").body;
    assert!(page.contains("action=\"/jobs/gzip/retry\"") && page.contains("action=\"/jobs/gzip/confirm\""), "{page}");
    let key = form_key(&hub, &cookie, "/jobs/gzip");

    let answer = ask(&hub, "POST", "/jobs/gzip/retry", &cookie, &format!("form-key={key}"));
    assert_eq!((answer.status, answer.header("location")), (303, Some("/jobs/gzip-2")), "{}", answer.body);
    assert_eq!(hub.people().job("gzip-2")?.retry_of.as_deref(), Some("gzip"));
    // Twice is once, as with the command.
    let again = ask(&hub, "POST", "/jobs/gzip/retry", &cookie, &format!("form-key={key}"));
    assert_eq!(again.header("location"), Some("/jobs/gzip-2"));

    let answer = ask(&hub, "POST", "/jobs/gzip/confirm", &cookie, &format!("form-key={key}&elsewhere=true"));
    assert_eq!(answer.status, 303, "{}", answer.body);
    let new = answer.header("location").and_then(|path| path.strip_prefix("/jobs/")).expect("a job").to_owned();
    assert_eq!(
        hub.people().confirm("gzip", false)?.jobs,
        std::slice::from_ref(&new),
        "it is the one that the command finds"
    );
    assert_eq!(hub.people().job(&new)?.job.tests, ["<b>odd</b>"]);

    let missing = ask(&hub, "POST", "/jobs/nothing/retry", &cookie, &format!("form-key={key}"));
    assert!(missing.status == 404 && missing.body.contains("<h1"), "{}", missing.body);
    Ok(())
}

#[test]
fn without_a_session_or_its_form_nothing_changes() {
    let hub = failed();
    let cookie = log_in(&hub);
    let key = form_key(&hub, &cookie, "/jobs/gzip");
    let other = log_in(&hub);
    let right = format!("form-key={key}");
    for (headers, body, status) in [
        // Nobody is logged in.
        (String::new(), right.clone(), 303),
        ("cookie: rocbed-session=0123\r\n".into(), right.clone(), 303),
        // The page of another site, which has the cookie sent and does not know the key.
        (cookie.clone(), "form-key=".into(), 403),
        (cookie.clone(), "form-key=0123".into(), 403),
        (other, right.clone(), 403),
        (format!("{cookie}sec-fetch-site: cross-site\r\n"), right.clone(), 403),
        (cookie.clone(), String::new(), 400),
        (cookie.clone(), format!("{right}&x={}", "y".repeat(20_000)), 413),
    ] {
        for path in ["/jobs/gzip/retry", "/jobs/gzip/confirm"] {
            let answer = ask(&hub, "POST", path, &headers, &body);
            assert_eq!(answer.status, status, "{headers}{path}: {}", answer.body);
            if status == 303 {
                assert_eq!(answer.header("location"), Some("/login?next=/jobs/gzip"));
            }
        }
    }
    // The API takes tokens of programs only, and a browser's password is not one.
    for (headers, status) in [(cookie.as_str(), 401), ("", 401), ("authorization: Basic eDp5\r\n", 403)] {
        assert_eq!(ask(&hub, "POST", "/api/v1/jobs/gzip/retry", headers, "").status, status, "{headers}");
    }
    assert_eq!(ask(&hub, "GET", "/jobs/gzip/retry", &cookie, "").status, 405);
    let page = hub.get("/jobs/gzip").1;
    assert!(
        page.contains("/login?next=/jobs/gzip\">Log in to repeat or confirm it") && !page.contains("form-key"),
        "{page}"
    );
    assert_eq!(hub.people().jobs(&client::JobQuery::default()).expect("jobs").jobs.len(), 1);
}

#[test]
fn only_the_admin_token_logs_in_and_a_session_ends() -> Outcome {
    let hub = failed();
    for token in ["", "x", hub.hub.join_token()] {
        let answer = ask(&hub, "POST", "/login", "", &format!("token={token}&next=/"));
        assert!(answer.status == 403 && answer.header("set-cookie").is_none(), "{token}: {}", answer.head);
        assert!(answer.body.contains("does not know this token"), "{}", answer.body);
    }
    // Nobody is sent to another site from here.
    for next in ["//evil.example", "https://evil.example", "/%5Cevil.example"] {
        let answer = ask(&hub, "POST", "/login", "", &format!("token={}&next={next}", hub.admin));
        assert_eq!(answer.header("location"), Some("/"), "{next}");
    }
    let secure = ask(&hub, "POST", "/login", "origin: https://hub.example\r\n", &format!("token={}", hub.admin));
    assert!(secure.header("set-cookie").is_some_and(|cookie| cookie.ends_with("; Secure")), "{}", secure.head);

    let cookie = log_in(&hub);
    let key = form_key(&hub, &cookie, "/login");
    assert_eq!(ask(&hub, "POST", "/logout", &cookie, "form-key=x").status, 403);
    let out = ask(&hub, "POST", "/logout", &cookie, &format!("form-key={key}"));
    assert!(out.status == 303 && out.header("set-cookie").is_some_and(|cookie| cookie.contains("Max-Age=0")));
    assert!(ask(&hub, "GET", "/login", &cookie, "").body.contains("name=\"token\""));

    // With a new admin token, and after half a day.
    let cookie = log_in(&hub);
    let old = log_in(&hub);
    hub.pass(12 * 3600);
    assert!(!ask(&hub, "GET", "/jobs/gzip", &old, "").body.contains("form-key"));
    let late = log_in(&hub);
    assert!(ask(&hub, "GET", "/jobs/gzip", &late, "").body.contains("form-key"));
    hub.hub.replace_admin_token()?;
    for cookie in [cookie, late] {
        assert!(!ask(&hub, "GET", "/jobs/gzip", &cookie, "").body.contains("form-key"));
    }
    Ok(())
}

#[test]
fn a_private_hub_is_read_with_a_session() {
    let hub = start_with(|config| config.public = false);
    assert_eq!(ask(&hub, "GET", "/jobs", "", "").status, 401);
    assert_eq!(ask(&hub, "GET", "/login", "", "").status, 200);
    let cookie = log_in(&hub);
    assert_eq!(ask(&hub, "GET", "/jobs", &cookie, "").status, 200);
    assert_eq!(ask(&hub, "GET", "/api/v1/jobs", &cookie, "").status, 200);
    assert_eq!(ask(&hub, "GET", "/jobs", "cookie: rocbed-session=x\r\n", "").status, 401);
}
