//! The archive that tests of the real archive use.

use crate::{Server, rocbed};

/// Address of the archive that rocbed takes packages from on this machine, by its settings and apt's, without a slash at
/// the end.
pub fn real_mirror() -> String {
    let plan: serde_json::Value = serde_json::from_str(&rocbed(["plan", "smoke", "--json"]).ok()).expect("JSON");
    plan["mirror"].as_str().expect("the plan's mirror").trim_end_matches('/').to_owned()
}

/// A server whose `/debian` is that archive, for machines that can reach nothing else.
pub fn served_mirror() -> Server {
    let mirror = real_mirror();
    Server::start(move |path| {
        let url = format!("{mirror}/{}", path.strip_prefix("/debian/")?);
        let mut answer = ureq::get(&url).call().ok()?;
        answer.body_mut().with_config().limit(LARGEST).read_to_vec().ok()
    })
}

/// No file that tests download is larger, in bytes.
const LARGEST: u64 = 256 << 20;
