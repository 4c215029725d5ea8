//! Names of workers.

use client::{JobQuery, ResultQuery};
use protocol::api::{Pause, ProblemCode, Register};
use protocol::{Machine, Verdict};

use crate::support::{Outcome, Running, Worker, start, start_in};

const UUID: &str = "4c4c4544-0051-3510-8052-b4c04f4e3732";
const OTHER: &str = "4c4c4544-0099-3510-8052-b4c04f4e3732";

/// Registers a machine that proposes a name; returns the name that it gets.
fn register(hub: &Running, id: &str, name: Option<&str>) -> Result<String, client::ClientError> {
    let machine = Machine { name: "rocbed".into(), kernel: "7.2".into(), rocbed: "0".into(), ..Machine::default() };
    let client = hub.client().with_token(hub.hub.join_token());
    let request = Register {
        version: protocol::VERSION,
        id: id.into(),
        boot: "first".into(),
        holding: Vec::new(),
        machine,
        name: name.map(str::to_owned),
    };
    Ok(client.register(&request)?.name)
}

#[test]
fn machines_have_short_names_that_stay() -> Outcome {
    let temp = tempfile::tempdir()?;
    let admin = {
        let hub = start_in(temp.path(), |_| ());
        assert_eq!(register(&hub, UUID, Some("PowerEdge R7525"))?, "poweredge-r7525");
        assert_eq!(register(&hub, OTHER, Some("PowerEdge R7525"))?, "poweredge-r7525-2");
        assert_eq!(register(&hub, UUID, Some("another board"))?, "poweredge-r7525", "it stays");
        assert_eq!(register(&hub, "mac-3cecef001122", None)?.split('-').count(), 2, "two words");
        hub.admin.clone()
    };
    let hub = start_in(temp.path(), |_| ());
    let people = hub.client().with_token(&admin);
    assert_eq!(people.worker(UUID)?.name(), "poweredge-r7525");
    people.remove_worker("poweredge-r7525-2")?;
    assert_eq!(people.workers(None)?.workers.len(), 2);
    assert_eq!(register(&hub, OTHER, None)?, "poweredge-r7525-2", "also when it comes back");
    Ok(())
}

#[test]
fn a_name_an_id_or_its_beginning_is_taken_everywhere() -> Outcome {
    let hub = start();
    let people = hub.people();
    register(&hub, UUID, Some("PowerEdge R7525"))?;
    register(&hub, OTHER, Some("ROG STRIX B550"))?;
    for text in [UUID, "poweredge-r7525", "POWEREDGE", "p", "4c4c4544-0051"] {
        assert_eq!(people.worker(text)?.id, UUID, "{text}");
        assert_eq!(hub.get(&format!("/workers/{text}")).0, 200, "{text}");
        assert!(people.pause(text, &Pause::default())?.paused.is_some());
        assert!(people.resume(text)?.paused.is_none());
    }
    let several = people.remove_worker("4c4c").expect_err("it may be either");
    assert_eq!(several.code(), Some(ProblemCode::Invalid));
    assert!(several.to_string().contains("poweredge-r7525, rog-strix-b550"), "{several}");
    assert_eq!(people.worker("x").expect_err("none").code(), Some(ProblemCode::NotFound));
    let html = hub.get("/workers").1;
    assert!(html.contains(">poweredge-r7525</a>") && !html.contains(&format!(">{UUID}<")), "{html}");
    people.remove_worker("rog")?;
    assert_eq!(people.workers(None)?.workers.len(), 1);
    Ok(())
}

#[test]
fn jobs_and_results_are_those_of_a_name() -> Outcome {
    let hub = start();
    let (one, two) = (hub.worker("lab-1", ""), hub.worker("lab-2", ""));
    let deliver = |worker: &Worker| -> Outcome {
        hub.add("[[job]]\npackage = \"gzip\"\n");
        let claimed = worker.begin();
        worker.deliver(&claimed, Verdict::Pass)?;
        Ok(())
    };
    deliver(&one)?;
    deliver(&two)?;
    deliver(&one)?;
    let of = |worker: &str| ResultQuery { worker: Some(worker.into()), ..ResultQuery::default() };
    let jobs = |page: protocol::api::ResultPage| page.results.into_iter().map(|result| result.job).collect::<Vec<_>>();
    assert_eq!(jobs(hub.client().results(&of("lab-1"))?), ["gzip-3", "gzip"]);
    hub.people().remove_worker("lab-2")?;
    let left = hub.client().results(&of("lab-2"))?;
    assert_eq!(left.results[0].worker_name.as_deref(), Some("lab-2"), "its name stays with its results");
    assert_eq!(jobs(left), ["gzip-2"]);
    let query = JobQuery { worker: Some("lab-1".into()), ..JobQuery::default() };
    assert_eq!(hub.client().jobs(&query)?.jobs.len(), 2);
    let html = hub.get("/jobs?worker=lab-1").1;
    assert!(html.contains("j-gzip-3") && !html.contains("j-gzip-2"), "{html}");
    assert_eq!(hub.get("/jobs?worker=nobody").0, 404);
    Ok(())
}
