//! Checks of jobs when they are added, and of results when they are delivered.

use protocol::api::{AddJobs, Complete, ProblemCode};
use protocol::{JobList, Verdict};

use crate::support::{Outcome, bundle, start};

/// A request that no reader of job lists would create.
fn list(url: &str) -> AddJobs {
    let job = serde_json::from_value(serde_json::json!({ "url": url })).expect("a job");
    AddJobs {
        request: client::request_id().expect("a name"),
        list: JobList { version: 1, job: vec![job] },
        fan_out: false,
    }
}

#[test]
fn a_job_names_a_server_and_no_file_of_the_worker() -> Outcome {
    let hub = start();
    for url in ["file:///etc/passwd", "http://a b", "ftp://x/y.dsc", "https://me:pw@h/x.git", "https:///x", "x://y"] {
        let error = hub.people().add_jobs(&list(url)).expect_err(url);
        assert_eq!(error.code(), Some(ProblemCode::Invalid), "{url}: {error}");
        let text = error.to_string();
        assert!(text.contains("list.job[0].url: ") && !text.contains("me:pw"), "{url}: {text}");
    }
    hub.people().add_jobs(&list("https://salsa.example.org/x/rocrand.git#debian/latest"))?;
    assert_eq!(hub.people().jobs(&client::JobQuery::default())?.jobs.len(), 1);
    Ok(())
}

#[test]
fn a_late_result_of_a_gpu_that_is_gone_is_kept_and_does_not_count() -> Outcome {
    let hub = start();
    let worker = hub.worker("w1", "gfx1030");
    hub.add("[[job]]\npackage = \"rocrand\"\ngpu = [\"gfx1030\"]\n");
    let claimed = worker.begin();
    let result = worker.result(&claimed.job, Verdict::Fail);
    hub.pass(24 * 3600);
    // The machine was restarted, and its GPU did not come back.
    let machine =
        protocol::Machine { gpus: gpu::Inventory { simulated: true, ..Default::default() }, ..worker.machine };
    let join = hub.client().with_token(hub.hub.join_token());
    let restarted = crate::support::Worker::with_machine(&join, "w1", "second", machine, &[]);
    let digest = restarted.upload(&bundle(&result))?;
    let complete = Complete { bundle: digest, verdict: Verdict::Fail, summary: String::new() };
    assert!(restarted.client.complete(&claimed.lease, &complete)?.late);
    let detail = hub.people().result("rocrand")?;
    assert!(detail.result.warnings.iter().any(|text| text.contains("is not counted")), "{:?}", detail.result.warnings);
    assert!(!hub.get("/").1.contains("cell verdict fail"));
    Ok(())
}

#[test]
fn a_result_counts_for_the_gpus_that_its_worker_has_registered() -> Outcome {
    let hub = start();
    let worker = hub.worker("w1", "gfx1030");
    hub.add("[[job]]\npackage = \"rocrand\"\ngpu = [\"gfx1030\"]\n");
    let claimed = worker.begin();
    let good = worker.result(&claimed.job, Verdict::Pass);
    let mut elsewhere = good.clone();
    elsewhere.machine.gpus = gpu::simulate("gfx942")?;
    let mut more = good.clone();
    more.gpus.push("0000:ff:00.0".into());
    let mut real = good.clone();
    (real.simulated, real.machine.gpus.simulated) = (false, false);
    real.machine.gpus.gpus.iter_mut().for_each(|gpu| gpu.simulated = false);
    for wrong in [elsewhere, more, real] {
        let digest = worker.upload(&bundle(&wrong))?;
        let complete = Complete { bundle: digest, verdict: Verdict::Pass, summary: String::new() };
        let error = worker.client.complete(&claimed.lease, &complete).expect_err("it is not of this machine");
        assert_eq!(error.code(), Some(ProblemCode::WrongMachine), "{error}");
    }
    // Registering as another machine meanwhile changes nothing: the machine that got the job counts.
    let again = protocol::Machine { gpus: gpu::simulate("gfx942")?, ..worker.machine.clone() };
    let join = hub.client().with_token(hub.hub.join_token());
    let held = std::slice::from_ref(&claimed.lease);
    let renamed = crate::support::Worker::with_machine(&join, "w1", "second", again, held);
    let mut named = good;
    named.machine.name = "another name".into();
    let digest = renamed.upload(&bundle(&named))?;
    let complete = Complete { bundle: digest, verdict: Verdict::Pass, summary: String::new() };
    renamed.client.complete(&claimed.lease, &complete)?;
    let detail = hub.people().result("rocrand")?;
    assert_eq!(detail.info.targets, ["gfx1030"]);
    assert!(detail.result.warnings.iter().any(|text| text.contains("`another name`")), "{:?}", detail.result.warnings);
    Ok(())
}
