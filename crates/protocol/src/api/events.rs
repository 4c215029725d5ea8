//! What webhooks get: changes of the states of tests.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::RunAs;
use crate::api::StateChange;

/// A change of the state of a test on a target, as a webhook gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct StateEvent {
    /// Version of the form.
    pub version: u32,
    /// Identifies the event. One that is delivered twice has the same.
    pub id: String,
    /// Address of the hub's pages, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<String>,
    /// The source package.
    pub package: String,
    /// The test; empty for the outcome of the whole run.
    pub test: String,
    /// The target; `none` without a GPU.
    pub target: String,
    /// Who ran it.
    #[serde(rename = "as")]
    pub run_as: RunAs,
    /// Whether the GPU was simulated.
    pub simulated: bool,
    /// The states before and after, and the run that changed it.
    #[serde(flatten)]
    pub change: StateChange,
}
