//! Types that rocbed's programs exchange: jobs, job lists, results, the hub's API, and their JSON and TOML forms. No I/O.
//!
//! ```
//! let list = protocol::JobList::parse(b"[[job]]\npackage = \"rocrand\"\ngpu = [\"gfx1030\", \"gfx11-generic\"]\n")?;
//! assert_eq!(list.job[0].source, protocol::Source::Package("rocrand".into()));
//! # Ok::<_, protocol::ListError>(())
//! ```
//!
//! Readers take fields that they do not know, so that both sides need not be updated at the same time; values that
//! make no sense are refused with the path of the field. [`schema`] has the JSON Schemas.

mod address;
pub mod api;
mod apt_source;
mod broker_address;
mod error;
pub mod exit;
mod hours;
mod installed;
mod job;
mod job_id;
mod list;
mod need;
mod own_packages;
mod plain;
mod reproduce;
mod result;
mod results;
pub mod schema;
pub mod settings;
mod shards;
mod span;
mod verdict;
mod virtio_channel;

pub use apt_source::{AptSource, AptSourceType, MOST_SOURCES, SignedBy};
pub use broker_address::{BrokerAddress, BrokerAddressError};
pub use error::{ResultError, SpanError, UnknownWord};
pub use hours::{Hours, HoursError, Opening};
pub use installed::{
    INSTALLED_FORMAT, InstalledError, InstalledList, InstalledLists, InstalledPackage, LocalPackage, MOST_LISTS,
    MOST_PACKAGES, PackageList, SourceChange,
};
pub use job::{Job, RunAs, Source, usable_gpus};
pub use list::{JobList, ListError};
pub use need::GpuNeed;
pub use own_packages::{FileContent, JobArchive, MOST_PACKAGE_FILES, MOST_VERSIONS, PackageFile};
pub use reproduce::quoted;
pub use result::{
    ArchiveState, Cases, ImageId, JobResult, Machine, NO_GPU, PackageVersion, Run, TestOutcome, TestResult,
};
pub use results::{Listed, ResultList};
pub use shards::{MOST_SHARDS, PartOf, PartResult, SHARD_INDEX, TOTAL_SHARDS, part_name};
pub use span::Span;
pub use verdict::Verdict;
pub use virtio_channel::{Decoder, Frame, FrameError, FromAppliance, LONGEST, PORT_NAME, SourceTree, ToAppliance};

/// Version of all formats in this crate. Readers refuse documents with a higher one.
pub const VERSION: u32 = 1;
