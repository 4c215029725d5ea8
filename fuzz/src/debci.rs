//! What debci's job queues hand out, and the results that are made for it.

use std::collections::BTreeSet;
use std::io::{Cursor, Read, Write};

use debci::{Heading, JobLine, LineError, RunId};
use protocol::GpuNeed;
use protocol::api::check_id;

use crate::archive::mend_tar;

/// Largest result that is made, in bytes.
const MOST: usize = 64 << 10;

/// A job line. What is taken reads back; nothing in it can be an option, or lead out of a directory; errors say something.
pub fn debci_job(data: &[u8]) {
    let job = match JobLine::parse(data) {
        Ok(job) => job,
        Err(LineError::NoRun(reason) | LineError::Refused { reason, .. }) => return assert!(!reason.is_empty()),
    };
    let written = job.to_string();
    // Lines of one source come back as several.
    assert_eq!(JobLine::parse(written.as_bytes()).as_ref(), Ok(&job), "{written}");
    for name in [&job.package, &job.suite] {
        assert!(!name.starts_with(['-', '.']) && !name.contains('/'), "{name:?}");
    }
    let bad = |char: char| char.is_control() || "'\"`$\\".contains(char);
    for text in job.pins.iter().chain(&job.apt_sources) {
        assert!(!text.starts_with('-') && !text.contains(bad), "{text:?}");
    }
    assert!(job.shown_trigger().is_none_or(|trigger| !trigger.contains(char::is_control)));
    let made = job.job(GpuNeed::Any);
    check_id("id", &made.id).expect("an id");
    let json = serde_json::to_vec(&made).expect("writing JSON");
    assert_eq!(serde_json::from_slice::<protocol::Job>(&json).expect("our own JSON"), made);
}

/// A result made from a bundle, given as the tar in it. It is not too large, has one file `exitcode` and no other path
/// with that part, and nothing is there twice.
pub fn debci_result(data: &[u8]) {
    let bundle = zstd::encode_all(&mend_tar(data)[..], 1).expect("compressing in memory");
    let heading = Heading { run: RunId(7), job: None, architecture: "amd64+gfx1030", worker: "lab1", notes: Vec::new() };
    let made = debci::of_bundle(&heading, &mut || Ok(Box::new(Cursor::new(bundle.clone()))), MOST);
    let Ok(made) = made else { return };
    assert!(made.bytes.len() <= MOST);
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(made.bytes.as_slice()));
    let (mut seen, mut codes) = (BTreeSet::new(), Vec::new());
    for entry in archive.entries().expect("our own archive") {
        let mut entry = entry.expect("our own entry");
        let path = entry.path_bytes().into_owned();
        if path.split(|byte| *byte == b'/').any(|part| part == b"exitcode") {
            let mut code = String::new();
            entry.read_to_string(&mut code).expect("a number");
            codes.push((path.clone(), code));
        }
        assert!(path.starts_with(b"7/") && seen.insert(path), "{entry:?}", entry = entry.header());
    }
    assert_eq!(codes, [(b"7/exitcode".to_vec(), format!("{}\n", made.exit_code))]);
}

/// A result of a worker of debci, given as the tar in it. Nothing is unpacked elsewhere, what comes out is of the topmost
/// directory with an exit code, and names are printable.
pub fn debci_received(data: &[u8]) {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&mend_tar(data)).expect("compressing in memory");
    let message = packed.finish().expect("compressing in memory");
    let outer = tempfile::tempdir().expect("a directory");
    let into = outer.path().join("unpacked");
    std::fs::create_dir(&into).expect("a directory");
    let received = debci::receive(&message, 1 << 20, &into);
    assert_eq!(std::fs::read_dir(outer.path()).expect("the directory").count(), 1, "something is beside it");
    let Ok(received) = received else { return };
    let name = received.directory.file_name().expect("a name").to_str().expect("digits");
    assert_eq!(name.parse(), Ok(received.run));
    let is_marked = |place: &std::path::Path| {
        into.join(place).join("exitcode").symlink_metadata().is_ok_and(|about| about.is_file())
    };
    assert!(is_marked(&received.directory) && !received.directory.ancestors().skip(1).any(is_marked));
    assert!(!received.worker.contains(char::is_control), "{:?}", received.worker);
}

/// What a message broker sends: frames, and the methods in them.
pub fn amqp(data: &[u8]) {
    let mut rest = data;
    while let Ok(Some((frame, length))) = amqp::frame::Frame::parse(rest) {
        let mut written = Vec::new();
        frame.encode_to(&mut written);
        assert_eq!(written, rest[..length]);
        let _any = amqp::Method::parse(&frame.payload);
        rest = &rest[length..];
    }
}
