//! The hub's HTTP interface.

pub(crate) mod answer;
pub(crate) mod auth;
mod body;
pub(crate) mod bundle_files;
mod debci;
mod endpoint;
pub(crate) mod file;
pub(crate) mod history;
pub(crate) mod jobs;
mod kept;
mod leases;
pub(crate) mod login;
mod openapi;
mod packages;
pub(crate) mod results;
pub(crate) mod routes;
mod storage;
mod uploads;
pub(crate) mod workers;

pub(crate) use answer::Answer;
pub(crate) use auth::Reader;
pub(crate) use debci::workers as debci_workers;
