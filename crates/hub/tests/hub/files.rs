//! Files of bundles, one by one: lists, contents, and names and contents that somebody chose to do harm.

use std::fs;

use protocol::Verdict;
use protocol::api::{BundleFile, Complete};
use tar::EntryType;

use crate::support::{Outcome, Running, entries, start, start_with};

const FILE: EntryType = EntryType::Regular;
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
const HTML: &[u8] = b"<!doctype html><script>alert(1)</script>";

/// Delivers a result whose bundle has these entries besides.
fn deliver(hub: &Running, more: &[(EntryType, &str, &[u8])]) -> Outcome {
    let worker = hub.worker("w1", "");
    hub.add("[[job]]\npackage = \"gzip\"\n");
    let claimed = worker.begin();
    let result = serde_json::to_vec(&worker.result(&claimed.job, Verdict::Pass))?;
    let bundle = entries(&[&[(FILE, "result.json", &result[..])], more].concat());
    let bundle = worker.upload(&bundle)?;
    worker.client.complete(&claimed.lease, &Complete { bundle, verdict: Verdict::Pass, summary: String::new() })?;
    Ok(())
}

/// Head and body of an answer.
fn ask(hub: &Running, path: &str, headers: &str) -> (String, String) {
    let answer = hub.raw(format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n{headers}\r\n").as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    (head.to_lowercase(), body.to_owned())
}

fn all(hub: &Running) -> Result<Vec<BundleFile>, client::ClientError> {
    Ok(hub.people().files("gzip", None)?.files)
}

#[test]
fn each_file_has_an_address_and_a_harmless_type() -> Outcome {
    let hub = start();
    deliver(
        &hub,
        &[
            (FILE, "log", b"autopkgtest: \x1b[31mred\x1b[0m\n"),
            (EntryType::Directory, "user", b""),
            (FILE, "user/page.html", HTML),
            (FILE, "user/plot.png", PNG),
            (FILE, "user/image.svg", b"<svg onload='alert(1)'/>"),
            (FILE, "user/core", b"\x7fELF\0\0"),
            (EntryType::Symlink, "user/latest", b"log"),
        ],
    )?;
    let found: Vec<_> = all(&hub)?.into_iter().map(|file| (file.number, file.name)).collect();
    let names = ["result.json", "log", "user/page.html", "user/plot.png", "user/image.svg", "user/core", "user/latest"];
    assert_eq!(found, [0, 1, 3, 4, 5, 6, 7].into_iter().zip(names.map(str::to_owned)).collect::<Vec<_>>());
    for (number, kind, disposition) in [
        (1, "text/plain; charset=utf-8", "inline; filename=\"log\""),
        (3, "text/plain; charset=utf-8", "inline; filename=\"page.html\""),
        (4, "image/png", "inline; filename=\"plot.png\""),
        (5, "text/plain; charset=utf-8", "inline; filename=\"image.svg\""),
        (6, "application/octet-stream", "attachment; filename=\"core\""),
    ] {
        for prefix in ["/jobs", "/api/v1/results"] {
            let (head, _) = ask(&hub, &format!("{prefix}/gzip/files/{number}"), "");
            for line in [
                "http/1.1 200",
                &format!("content-type: {kind}\r\n"),
                &format!("content-disposition: {disposition}\r\n"),
                "content-security-policy: sandbox; default-src 'none'",
                "x-content-type-options: nosniff\r\n",
            ] {
                assert!(head.contains(line), "{number}: {line}: {head}");
            }
            assert_eq!(head.matches("content-security-policy").count(), 1);
        }
    }
    let (head, body) = ask(&hub, "/jobs/gzip/files/3?download=true", "range: bytes=2-8\r\n");
    assert!(head.contains("attachment; filename=\"page.html\"") && head.starts_with("http/1.1 206"), "{head}");
    assert_eq!(body.as_bytes(), &HTML[2..=8]);
    let mut copy = Vec::new();
    hub.people().file("gzip", 4, &mut copy)?;
    assert_eq!(copy, PNG);
    // A directory, a link, and what is not there.
    for number in ["2", "7", "99", "-1", "x", "99999999999999999999"] {
        assert_eq!(hub.get(&format!("/jobs/gzip/files/{number}")).0, 404, "{number}");
    }
    for path in ["/jobs/nothing/files", "/jobs/nothing/files/0", "/api/v1/results/nothing/files"] {
        assert_eq!(hub.get(path).0, 404, "{path}");
    }
    assert_eq!(hub.get("/jobs/gzip/files?after=x").0, 422);
    let page = hub.get("/jobs/gzip").1;
    assert!(page.contains("href=\"/jobs/gzip/files\""), "{page}");
    Ok(())
}

#[test]
fn names_that_should_do_harm_are_text() -> Outcome {
    let hub = start();
    let worker = hub.worker("w1", "");
    hub.add("[[job]]\npackage = \"gzip\"\n");
    let claimed = worker.begin();
    let result = serde_json::to_vec(&worker.result(&claimed.job, Verdict::Pass))?;
    // Names that are longer than a header's field, and not UTF-8, are written by the tar crate and by hand.
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |name: &[u8], content: &[u8]| {
        use std::os::unix::ffi::OsStrExt;
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, std::ffi::OsStr::from_bytes(name), content)
    };
    let long = vec!["x".repeat(250); 16].join("/");
    add(b"result.json", &result)?;
    add(b"<script>alert(1)</script>", b"one")?;
    add(b"\"><img src=x onerror=alert(1)>", b"two")?;
    add(b"caf\xe9", b"three")?;
    add(b"caf\xe8", b"four")?;
    add(long.as_bytes(), b"five")?;
    add(b"new\nline\r\nSet-Cookie: a=b", b"six")?;
    let bundle = worker.upload(&zstd::encode_all(&builder.into_inner()?[..], 1)?)?;
    worker.client.complete(&claimed.lease, &Complete { bundle, verdict: Verdict::Pass, summary: String::new() })?;
    let (status, html) = hub.get("/jobs/gzip/files");
    assert_eq!(status, 200);
    assert!(!html.contains("<script>") && !html.contains("<img src=x"), "{html}");
    assert!(
        html.contains("&#60;script&#62;alert(1)") && html.contains(&long) && html.contains("caf\u{fffd}"),
        "{html}"
    );
    for (number, content) in (1..).zip(["one", "two", "three", "four", "five", "six"]) {
        let (head, body) = ask(&hub, &format!("/jobs/gzip/files/{number}"), "");
        assert!(head.starts_with("http/1.1 200") && !head.contains("set-cookie: a"), "{head}");
        assert_eq!(body, content);
    }
    // Only some of them, and text of the address is text too.
    let html = hub.get("/jobs/gzip/files?find=%3CSCRIPT").1;
    assert!(html.contains("value=\"&#60;SCRIPT\"") && html.matches("?download=true").count() == 1, "{html}");
    assert!(hub.get("/jobs/gzip/files?find=nothing").1.contains("There is no such file."));
    // A path that leads out is refused with its bundle.
    assert!(deliver(&hub, &[(FILE, "../../x", b"x")]).is_err());
    Ok(())
}

#[test]
fn a_long_list_is_read_a_page_at_a_time_and_made_again_if_it_is_not_there() -> Outcome {
    let temp = tempfile::tempdir()?;
    let hub = crate::support::start_in(temp.path(), |_| ());
    let names: Vec<String> = (0..1200).map(|number| format!("user/{number}")).collect();
    let files: Vec<_> = names.iter().map(|name| (FILE, name.as_str(), &b"x"[..])).collect();
    deliver(&hub, &files)?;
    for _ in ["as it was kept", "as it is made from the bundle"] {
        let first = hub.people().files("gzip", None)?;
        let second = hub.people().files("gzip", first.next.as_deref())?;
        let third = hub.people().files("gzip", second.next.as_deref())?;
        assert_eq!([&first, &second, &third].map(|page| page.files.len()), [500, 500, 201]);
        assert!(third.next.is_none() && third.files[200].name == "user/1199" && !third.cut);
        let html = hub.get("/jobs/gzip/files?after=500").1;
        assert!(html.contains("user/499") && html.contains("after=1000"), "{html}");
        let list = temp.path().join("logs/01/1.files.zst");
        assert!(list.exists());
        fs::write(list, b"what was cut off")?;
    }
    Ok(())
}

#[test]
fn the_bundle_may_be_gone_and_a_file_too_large() -> Outcome {
    let temp = tempfile::tempdir()?;
    let hub = crate::support::start_in(temp.path(), |_| ());
    let zeros = vec![0; (64 << 20) + 1];
    deliver(&hub, &[(FILE, "core", &zeros), (FILE, "log", b"after it\n")])?;
    let files = all(&hub)?;
    assert_eq!(files.iter().map(|file| file.only_in_bundle).collect::<Vec<_>>(), [false, true, false]);
    assert!(hub.get("/jobs/gzip/files").1.contains("only in the bundle"));
    let (status, problem) = hub.get("/api/v1/results/gzip/files/1");
    assert!(status == 422 && problem.contains("only-in-bundle"), "{problem}");
    assert_eq!(hub.get("/jobs/gzip/files/2"), (200, "after it\n".to_owned()));
    fs::remove_dir_all(temp.path().join("bundles"))?;
    fs::create_dir(temp.path().join("bundles"))?;
    assert_eq!(hub.get("/jobs/gzip/files/2").0, 410);
    // What is in it is known all the same.
    assert_eq!(all(&hub)?.len(), 3);
    Ok(())
}

#[test]
fn files_of_a_private_hub_need_a_token() -> Outcome {
    let hub = start_with(|config| config.public = false);
    deliver(&hub, &[(FILE, "log", b"x")])?;
    for path in ["/jobs/gzip/files", "/jobs/gzip/files/1", "/api/v1/results/gzip/files/1"] {
        assert_eq!(hub.get(path).0, 401, "{path}");
    }
    let token = format!("authorization: Bearer {}\r\n", hub.admin);
    assert_eq!(ask(&hub, "/jobs/gzip/files/1", &token).1, "x");
    Ok(())
}

#[test]
fn one_visitor_does_not_take_all_places() -> Outcome {
    use std::io::{Read, Write};
    let hub = start();
    // More than the buffers of a connection hold.
    let large = b"0123456789abcdef".repeat(2 << 20);
    deliver(&hub, &[(FILE, "log", &large)])?;
    let mut slow = Vec::new();
    for _ in 0..8 {
        let mut stream = std::net::TcpStream::connect(hub.address.trim_start_matches("http://"))?;
        stream.write_all(b"GET /jobs/gzip/files/1 HTTP/1.1\r\nhost: h\r\n\r\n")?;
        stream.read_exact(&mut [0; 12])?;
        slow.push(stream);
    }
    assert_eq!(hub.get("/jobs/gzip/files/1").0, 429);
    assert_eq!(hub.get("/jobs/gzip/files").0, 200);
    let token = format!("authorization: Bearer {}\r\nrange: bytes=0-3\r\n", hub.admin);
    assert_eq!(ask(&hub, "/jobs/gzip/files/1", &token).1, "0123");
    Ok(())
}
