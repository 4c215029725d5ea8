//! Reloading the join token and the certificate of a running hub.

use std::fs;

use protocol::api::ProblemCode;

use crate::support::{Outcome, Worker, start_in};

#[test]
fn a_join_token_that_was_removed_is_made_anew() -> Outcome {
    let temp = tempfile::tempdir()?;
    let hub = start_in(temp.path(), |_| ());
    let old = hub.hub.join_token().to_owned();
    let worker = hub.worker("w1", "");
    let path = temp.path().join("join-token");
    hub.hub.reload_join_token()?;
    Worker::register(&hub.client().with_token(&old), "w2", "first", "", &[]);
    fs::remove_file(&path)?;
    hub.hub.reload_join_token()?;
    let request = protocol::api::Register {
        version: protocol::VERSION,
        id: "w3".into(),
        boot: "first".into(),
        holding: Vec::new(),
        machine: protocol::Machine::default(),
        name: None,
    };
    let refused = hub.client().with_token(&old).register(&request).expect_err("it is the old one");
    assert_eq!(refused.code(), Some(ProblemCode::Unauthorized));
    hub.client().with_token(fs::read_to_string(&path)?.trim()).register(&request)?;
    assert!(worker.claim().is_none(), "workers that have registered go on");
    // If the file cannot be read, nothing changes.
    fs::remove_file(&path)?;
    fs::create_dir(&path)?;
    assert!(hub.hub.reload_join_token().is_err());
    assert!(worker.claim().is_none());
    Ok(())
}
