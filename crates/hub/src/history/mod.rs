//! The history of tests in the database: what each run says about each test, the states that follow from it, and
//! known failures. The rules are those of the crate [`history`](::history).
//!
//! Everything but known failures and confirmations is derived from results. It is made when a result is accepted, and
//! made from all results when the version of these tables changes.

mod change_known;
mod compare;
mod confirm;
mod environments;
mod explain;
mod known;
mod queries;
mod record;
mod report;
mod state_list;
mod tables;

pub(crate) use compare::{JobComparison, compare_days, compare_jobs, good_before};
pub(crate) use confirm::Elsewhere;
pub(crate) use environments::packages_of_job;
pub(crate) use explain::explain;
pub(crate) use known::all as all_known;
pub(crate) use queries::{HistoryFilter, WholeRun, changes_since, recent_changes, states, tests};
pub(crate) use record::{Noted, note};
pub(crate) use report::bug_report;
pub(crate) use state_list::{StateLine, StateQuery, in_states, known_targets};
pub(crate) use tables::{are_there, prepare};
