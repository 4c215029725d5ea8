//! What goes between rocbed's parts: job lists, the port of a virtual machine, results, the hub's API.

use protocol::api::{self, AddJobs, check_id};
use protocol::{Decoder, Frame, FrameError, FromAppliance, JobList, JobResult, ResultList, ToAppliance};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::bytes::pieces;

/// Reads JSON, and again what is written of it: both are the same. `None` if it is something else.
fn read_back<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(json: &[u8]) -> Option<T> {
    let value: T = serde_json::from_slice(json).ok()?;
    let written = serde_json::to_vec(&value).expect("writing JSON");
    let again: T = serde_json::from_slice(&written).expect("our own JSON");
    assert_eq!(again, value);
    Some(value)
}

/// A job list in TOML or JSON. Each job has an id of its own that is fit for file names, also when it is fanned out,
/// and the list reads back from the JSON that is kept of it.
pub fn jobs(data: &[u8]) {
    let list = match JobList::parse(data) {
        Ok(list) => list,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert!(!list.job.is_empty());
    let mut ids: Vec<&str> = list.job.iter().map(|job| job.id.as_str()).collect();
    assert!(ids.iter().all(|id| check_id("id", id).is_ok()), "{ids:?}");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), list.job.len(), "{ids:?}");
    let json = serde_json::to_vec(&list).expect("writing JSON");
    assert_eq!(JobList::parse(&json).as_ref(), Ok(&list), "{}", String::from_utf8_lossy(&json));
    let length = list.job.len();
    let fanned = AddJobs { request: "r".into(), list, fan_out: true }.jobs();
    assert!(fanned.len() >= length && fanned.iter().all(|job| check_id("id", &job.id).is_ok()), "{fanned:?}");
}

/// Frames of the port between a virtual machine and its host. However they are cut they are the same; they read back;
/// and messages in them do.
pub fn frames(data: &[u8]) {
    let all = |decoder: &mut Decoder, frames: &mut Vec<Frame>| -> Result<(), FrameError> {
        while let Some(frame) = decoder.next_frame()? {
            frames.push(frame);
        }
        Ok(())
    };
    let (mut decoder, mut whole) = (Decoder::default(), Vec::new());
    decoder.push(data);
    let end = all(&mut decoder, &mut whole);
    let (mut decoder, mut cut, mut cut_end) = (Decoder::default(), Vec::new(), Ok(()));
    for piece in pieces(data) {
        decoder.push(piece);
        cut_end = all(&mut decoder, &mut cut);
    }
    assert_eq!((&cut, &cut_end), (&whole, &end));
    let encoded: Vec<u8> = whole.iter().flat_map(Frame::encode).collect();
    assert!(encoded.len() <= data.len());
    let (mut decoder, mut again) = (Decoder::default(), Vec::new());
    decoder.push(&encoded);
    assert_eq!(all(&mut decoder, &mut again), Ok(()));
    assert!(!decoder.is_within_frame());
    // A frame of nothing says nothing and is not sent.
    let payload = |frame: &Frame| match frame {
        Frame::Message(bytes) | Frame::Data(bytes) | Frame::Log(bytes) => !bytes.is_empty(),
    };
    whole.retain(payload);
    assert_eq!(again, whole);
    for frame in &whole {
        let Frame::Message(json) = frame else { continue };
        if let Ok(message) = Frame::message::<ToAppliance>(json) {
            assert_eq!(read_back::<ToAppliance>(json), Some(message));
        }
        match Frame::message::<FromAppliance>(json) {
            // A time with a fraction may come back with another last bit.
            Ok(FromAppliance::Ready { .. }) | Err(_) => {}
            Ok(message) => assert_eq!(read_back::<FromAppliance>(json), Some(message)),
        }
    }
}

/// `result.json` of a bundle and `results.json` of a stick. What is read reads back.
pub fn result(data: &[u8]) {
    read_back::<ResultList>(data);
    let mut result = match JobResult::parse(data) {
        Ok(result) => result,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert!(serde_json::from_slice::<IgnoredAny>(data).is_ok(), "something follows it");
    assert!(result.version <= protocol::VERSION && result.seconds().is_finite());
    // Lists that are read are the same after they were added again.
    if let Ok(lists) = result.installed.resolve() {
        let mut again = protocol::InstalledLists::default();
        for (digest, list) in &lists {
            assert_eq!(again.add(list).as_ref(), Some(digest));
        }
        assert_eq!(again.resolve().ok(), Some(lists));
    }
    // Times with a fraction may come back with another last bit.
    for run in &mut result.runs {
        run.seconds = 0.0;
        run.tests.iter_mut().for_each(|test| test.seconds = None);
    }
    let written = serde_json::to_vec(&result).expect("writing JSON");
    assert_eq!(JobResult::parse(&written).ok(), Some(result));
}

/// What a hub is asked and answers. Whatever is read as one of them reads back.
pub fn api(data: &[u8]) {
    if let Some(add) = read_back::<api::AddJobs>(data) {
        let fanned = add.jobs();
        assert!(fanned.iter().all(|job| check_id("id", &job.id).is_ok()), "{fanned:?}");
    }
    read_back::<api::Claim>(data);
    read_back::<api::Heartbeat>(data);
    read_back::<api::Complete>(data);
    read_back::<api::GiveBack>(data);
    read_back::<api::Register>(data);
    read_back::<api::WorkerReport>(data);
    read_back::<api::CreateUpload>(data);
    // The answers are read too, by workers and by the command line.
    read_back::<api::Problem>(data);
    read_back::<api::AddedJobs>(data);
    read_back::<api::Claimed>(data);
    read_back::<api::HeartbeatAnswer>(data);
    read_back::<api::LogAnswer>(data);
    read_back::<api::Completed>(data);
    read_back::<api::Given>(data);
    read_back::<api::Registered>(data);
    read_back::<api::Upload>(data);
    read_back::<api::JobPage>(data);
    read_back::<api::WorkerPage>(data);
    read_back::<api::ResultPage>(data);
}
