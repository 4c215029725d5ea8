//! The archive that tests of the real archive use.

use crate::rocbed;

/// Address of the archive that rocbed takes packages from on this machine, by its settings and apt's, without a slash at
/// the end.
pub fn real_mirror() -> String {
    let plan: serde_json::Value = serde_json::from_str(&rocbed(["plan", "smoke", "--json"]).ok()).expect("JSON");
    plan["mirror"].as_str().expect("the plan's mirror").trim_end_matches('/').to_owned()
}
