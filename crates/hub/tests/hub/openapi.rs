//! Compares the OpenAPI document with the hub: every described route answers as described.

use std::collections::BTreeSet;

use protocol::Verdict;
use serde_json::{Value, json};

use crate::support::{Outcome, Running, bundle, start};

/// An answer: status, headers, body.
struct Answer {
    status: u16,
    kind: String,
    body: String,
}

fn send(hub: &Running, token: &str, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let length = body.len();
    let answer = hub.raw(
        format!(
            "{method} {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\nauthorization: Bearer {token}\r\n{headers}\
             content-length: {length}\r\n\r\n{body}"
        )
        .as_bytes(),
    );
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    let kind = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap_or_default();
    Answer { status: head[9..12].parse().expect("a status"), kind: kind.to_owned(), body: body.to_owned() }
}

/// Checks JSON against a schema of the document.
fn check(document: &Value, schema: &Value, instance: &str, what: &str) {
    let mut whole = schema.clone();
    whole["components"] = document["components"].clone();
    let validator = jsonschema::draft202012::new(&whole).expect("a schema");
    let instance: Value = serde_json::from_str(instance).unwrap_or_else(|error| panic!("{what}: {error}: {instance}"));
    let errors: Vec<_> =
        validator.iter_errors(&instance).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{what}: {errors:?}\n{instance:#}");
}

#[test]
fn every_route_answers_as_it_is_described() -> Outcome {
    let hub = start();
    let document: Value = serde_json::from_str(&hub.get("/api/v1/openapi.json").1)?;
    assert_eq!(document, hub::openapi());
    let (worker, spare) = (hub.worker("w1", "gfx1030"), hub.worker("w2", ""));
    let token = worker.client.token().unwrap_or_default();
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), "package")?;
    let package = hub.people().upload_package(file.path(), |_, _| ())?;
    let announced = json!({ "size": 7, "sha256": package }).to_string();
    let known =
        send(&hub, &hub.admin, "POST", "/api/v1/packages", "content-type: application/json\r\n", &announced).body;
    let known = serde_json::from_str::<Value>(&known)?["id"].as_str().unwrap_or_default().to_owned();
    hub.add(&format!(
        "[[job]]\npackage = \"gzip\"\npackages = [{{ file = \"x.deb\", sha256 = \"{package}\", size = 7 }}]\n\
         [[job]]\npackage = \"sed\"\n[[job]]\npackage = \"tar\"\n"
    ));
    let (done, kept) = (worker.begin(), spare.begin());
    let content = bundle(&worker.result(&done.job, Verdict::Fail));
    let digest = worker.upload(&content)?;
    let upload =
        worker.client.create_upload(&protocol::api::CreateUpload { direct: false, size: 5, sha256: [0; 32].into() })?;
    let spare_token = spare.client.token().unwrap_or_default();
    let machine = serde_json::to_value(&worker.machine)?;
    let register = json!({ "version": 1, "id": "w1", "boot": "first", "machine": machine });
    let add = json!({ "request": "again", "list": { "version": 1, "job": [{ "package": "hello" }] } });
    let octets = "content-type: application/octet-stream\r\n";
    let offset = "content-type: application/octet-stream\r\nupload-offset: 0\r\n";
    let (lease, other) = (&done.lease, &kept.lease);
    let people = hub.admin.as_str();
    let requests = [
        ("register", "/workers".to_owned(), hub.hub.join_token(), "", register.to_string()),
        ("list-workers", "/workers?limit=1".into(), people, "", String::new()),
        ("show-worker", "/workers/w1".into(), people, "", String::new()),
        ("report-health", "/workers/w1/health".into(), token, "", json!({ "health": "ready" }).to_string()),
        ("heartbeat", format!("/leases/{lease}/heartbeat"), token, "", json!({ "phase": "x" }).to_string()),
        ("append-log", format!("/leases/{lease}/log?offset=0"), token, octets, "text".into()),
        ("create-upload", "/uploads".into(), token, "", json!({ "size": 5, "sha256": "0".repeat(64) }).to_string()),
        ("ask-upload", format!("/uploads/{}", upload.id), token, "", String::new()),
        ("append-upload", format!("/uploads/{}", upload.id), token, offset, "abc".into()),
        ("ask-parts", format!("/uploads/{}/parts", upload.id), token, "", json!({ "parts": [] }).to_string()),
        ("create-package-upload", "/packages".into(), people, "", announced),
        ("ask-package-upload", format!("/packages/{known}"), people, "", String::new()),
        (
            "append-package-upload",
            format!("/packages/{known}"),
            people,
            "content-type: application/octet-stream\r\nupload-offset: 7\r\n",
            String::new(),
        ),
        ("read-package", format!("/leases/{lease}/packages/{package}"), token, "", String::new()),
        (
            "complete",
            format!("/leases/{lease}/complete"),
            token,
            "",
            json!({ "bundle": digest, "verdict": "fail" }).to_string(),
        ),
        ("give-back", format!("/leases/{other}/give-back"), spare_token, "", json!({ "reason": "other" }).to_string()),
        ("claim", "/claims".into(), token, "", json!({ "request": "r" }).to_string()),
        ("add-jobs", "/jobs".into(), people, "", add.to_string()),
        ("list-jobs", "/jobs".into(), people, "", String::new()),
        ("show-job", "/jobs/gzip".into(), people, "", String::new()),
        ("read-log", "/jobs/gzip/log".into(), people, "", String::new()),
        ("cancel-job", "/jobs/tar/cancel".into(), people, "", String::new()),
        ("retry-job", "/jobs/tar/retry".into(), people, "", String::new()),
        ("list-results", "/results".into(), people, "", String::new()),
        ("show-result", "/results/gzip".into(), people, "", String::new()),
        ("read-bundle", "/results/gzip/bundle".into(), people, "", String::new()),
        ("list-files", "/results/gzip/files".into(), people, "", String::new()),
        ("read-file", "/results/gzip/files/1".into(), people, "", String::new()),
        ("list-packages", "/results/gzip/packages".into(), people, "", String::new()),
        ("write-bug", "/results/gzip/bug".into(), people, "", String::new()),
        ("confirm-job", "/jobs/gzip/confirm?elsewhere=true".into(), people, "", String::new()),
        ("list-history", "/history?package=gzip&runs=5&changes=5".into(), people, "", String::new()),
        ("explain", "/why?package=gzip".into(), people, "", String::new()),
        ("compare", "/compare?before=gzip&after=gzip".into(), people, "", String::new()),
        ("add-known", "/known".into(), people, "", json!({ "package": "gzip", "text": "it is so" }).to_string()),
        ("list-known", "/known".into(), people, "", String::new()),
        (
            "list-kept-packages",
            "/kept-packages".into(),
            people,
            "",
            json!({ "tested": "gzip", "packages": [{ "name": "libc6", "version": "2.42-1" }] }).to_string(),
        ),
        ("read-kept-package", format!("/kept-packages/{package}"), people, "", String::new()),
        ("remove-known", "/known/1".into(), people, "", String::new()),
        ("pause-worker", "/workers/w2/pause".into(), people, "", json!({ "reason": "for a talk" }).to_string()),
        ("resume-worker", "/workers/w2/resume".into(), people, "", String::new()),
        ("retry-gpus", "/workers/w2/retry-gpus".into(), people, "", json!({ "gpus": [] }).to_string()),
        ("remove-worker", "/workers/w2".into(), people, "", String::new()),
        ("show-debci", "/debci".into(), people, "", String::new()),
        ("show-storage", "/storage".into(), people, "", String::new()),
        ("openapi", "/openapi.json".into(), people, "", String::new()),
    ];
    let described = operations(&document);
    let asked: BTreeSet<_> = requests.iter().map(|(id, ..)| (*id).to_owned()).collect();
    assert_eq!(described.iter().map(|(id, ..)| id.clone()).collect::<BTreeSet<_>>(), asked);
    for (id, path, token, headers, body) in requests {
        let (_, method, operation) = described.iter().find(|(known, ..)| known == id).expect("it is described");
        if let Some(schema) = operation.pointer("/requestBody/content/application~1json/schema") {
            check(&document, schema, &body, &format!("request of {id}"));
        }
        let answer = send(&hub, token, method, &format!("/api/v1{path}"), headers, &body);
        let responses = &operation["responses"];
        // A hub without a bucket has no parts to sign addresses for, and one that watches nothing keeps no packages.
        let described = match id {
            "ask-parts" | "read-kept-package" => &document["components"]["responses"]["problem"],
            _ => &responses[answer.status.to_string()],
        };
        assert!(!described.is_null(), "{id}: status {} is not described: {}", answer.status, answer.body);
        match described["content"].as_object().and_then(|content| content.iter().next()) {
            None => assert_eq!(answer.body, "", "{id}"),
            Some((kind, content)) => {
                assert!(answer.kind == *kind || kind == "*/*", "{id}: {}", answer.kind);
                if kind.ends_with("json") {
                    check(&document, &content["schema"], &answer.body, &format!("answer of {id}"));
                }
            }
        }
        // Without a token, or with an unknown one, the answer is a problem as described.
        let refused = send(&hub, "unknown", method, &format!("/api/v1{path}"), headers, &body);
        if refused.status >= 400 && *method != "HEAD" {
            let schema =
                &document["components"]["responses"]["problem"]["content"]["application/problem+json"]["schema"];
            check(&document, schema, &refused.body, &format!("problem of {id}"));
        }
    }
    Ok(())
}

/// Id, method and description of each operation.
fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    paths
        .values()
        .flat_map(|path| path.as_object().expect("methods"))
        .map(|(method, operation)| {
            let id = operation["operationId"].as_str().unwrap_or_default();
            (id.to_owned(), method.to_uppercase(), operation)
        })
        .collect()
}

#[test]
fn the_document_is_whole() {
    let document = hub::openapi();
    assert_eq!(document["openapi"], "3.1.1");
    // Every reference can be resolved.
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(document.pointer(reference).is_some(), "{reference}");
    }
}
