//! What goes over a virtual machine's port, result bundles as tar files, and a root that comes over the network.

use protocol::{Frame, FromAppliance, Job, JobList, JobResult, Machine, ToAppliance, Verdict};
use sha256::Digest;

use crate::{Result, member, put};

pub fn seeds() -> Result {
    let result = result()?;
    let junit = b"<testsuites><testsuite name=\"gzip\"><testcase name=\"a\"/></testsuite></testsuites>";
    let bundle = [
        member("result.json", b'0', "", &result),
        member("junit.xml", b'0', "", junit),
        member("log", b'0', "", b"autopkgtest [00:00:00]: test a: [-----------------------\n"),
        member("user", b'5', "", b""),
        member("././@LongLink", b'L', "", &[b"user/".as_slice(), &[b'n'; 120], b"\0"].concat()),
        member("user/nnn", b'0', "", b"a long name\n"),
        member("user/latest", b'2', "summary", b""),
        vec![0; 1024],
    ];
    put("bundle/all-kinds", &bundle.concat())?;
    put(
        "bundle/two-files",
        &[member("result.json", b'0', "", &result), member("junit.xml", b'0', "", junit)].concat(),
    )?;
    put("result/worker", &result)?;

    let root: Vec<u8> = (0..3000_u32).flat_map(|number| (number / 100).to_le_bytes()).collect();
    let mut encoder = zstd::Encoder::new(Vec::new(), 3)?;
    encoder.set_pledged_src_size(Some(root.len() as u64))?;
    std::io::Write::write_all(&mut encoder, &root)?;
    put("netroot/compressed", &encoder.finish()?)?;
    put("netroot/plain", root.get(..700).unwrap_or_default())?;

    let job = Job::of_package("gzip");
    let jobs = ToAppliance::Jobs {
        version: protocol::VERSION,
        list: JobList { version: protocol::VERSION, job: vec![job] },
        sources: Vec::new(),
        settings: [("name".to_owned(), "gpu7".to_owned())].into(),
    };
    let ready = FromAppliance::Ready { version: protocol::VERSION, machine: Box::new(machine()?), uptime: 1.5 };
    let finished = FromAppliance::Finished {
        job: "gzip".into(),
        verdict: Verdict::Pass,
        summary: "1 passed".into(),
        size: 4,
        sha256: Digest::of("bundle"),
    };
    let bytes_of = |frames: &[Frame]| frames.iter().flat_map(Frame::encode).collect::<Vec<u8>>();
    put(
        "frames/to-appliance",
        &bytes_of(&[Frame::of(&jobs)?, Frame::of(&ToAppliance::Kept { sha256: Digest::of("bundle") })?]),
    )?;
    let log_of = FromAppliance::LogOf { job: "gzip".into() };
    let said = [
        Frame::of(&ready)?,
        Frame::of(&log_of)?,
        Frame::Log(b"hello\n".to_vec()),
        Frame::of(&finished)?,
        Frame::Data(vec![1, 2, 3, 4]),
    ];
    put("frames/from-appliance", &bytes_of(&said))
}

fn machine() -> Result<Machine> {
    let gpus = gpu::simulate("gfx1030")?;
    Ok(Machine { name: "gpu7".into(), kernel: "7.2".into(), processors: 2, gpus, ..Machine::default() })
}

/// `result.json` with a little of everything.
fn result() -> Result<Vec<u8>> {
    let text = r#"{"version": 1, "job": {"package": "gzip"}, "verdict": "fail", "simulated": true,
        "started": "2026-11-01T10:00:00Z", "finished": "2026-11-01T10:01:30.5Z", "gpus": ["simulated-0"],
        "runs": [{"as": "user", "verdict": "fail", "exit-status": 4, "seconds": 88.5, "directory": "user",
            "package": {"name": "gzip", "version": "1.13-1"}, "tests": [
                {"name": "a", "outcome": "fail", "reason": "exit status 1", "seconds": 1.25,
                 "cases": {"total": 3, "failed": 1, "skipped": 1}},
                {"name": "b", "outcome": "skip"}]}],
        "machine": {"name": "", "kernel": "", "processors": 0, "memory": 0, "rocbed": "",
            "gpus": {"gpus": [], "unusable": [], "simulated": true}},
        "warnings": ["w"], "problem": "p", "kernel-log": ["amdgpu: GPU reset begin!"]}"#;
    let mut result = JobResult::parse(text.as_bytes())?;
    result.machine = machine()?;
    for text in ["gzip amd64 1.13-1\nlibc6 amd64 2.41-12 glibc\n", "gzip amd64 1.14-1 gzip 1.14-1\n"] {
        result.runs[0].tests[0].installed = result.installed.add(&protocol::PackageList::parse(text)?);
    }
    Ok(serde_json::to_vec(&result)?)
}
