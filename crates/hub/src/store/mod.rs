//! Persistent storage: the database and the files next to it.

pub(crate) mod bundles;
mod cases;
pub(crate) mod columns;
pub(crate) mod coverage;
pub(crate) mod debci;
mod derived;
mod directory;
mod disk;
pub(crate) mod file_lists;
mod logs;
mod name_filter;
pub(crate) mod names;
pub(crate) mod package_files;
mod readers;
mod rows;
pub(crate) mod schema;
pub(crate) mod shards;
pub(crate) mod targets;
mod uploads;

pub(crate) use bundles::{Bundles, OpenError};
pub(crate) use cases::CaseFiles;
pub(crate) use directory::DataDir;
pub(crate) use disk::free_bytes;
pub(crate) use file_lists::{FileLists, Listing};
pub(crate) use logs::{LogError, Logs};
pub(crate) use name_filter::{NameFilter, for_program};
pub(crate) use readers::{ReadError, Readers};
pub(crate) use rows::{
    CellResult, JobFilter, MatrixCell, ResultFilter, attempts, has_jobs_of, job, jobs, matrix, result, result_json,
    results,
};
pub(crate) use uploads::{UploadError, UploadFile, Uploads};
