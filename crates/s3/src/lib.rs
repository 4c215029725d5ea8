//! A blocking client for S3-compatible storage, for result bundles.
//!
//! ```no_run
//! # fn main() -> Result<(), s3::S3Error> {
//! let bucket = s3::Bucket::open("s3://results/lab", &s3::Options::default())?;
//! let file = "bundle.tar.zst".as_ref();
//! let content = s3::Content::of_file(file)?;
//! bucket.put("bundle.tar.zst", file, &content)?;
//! bucket.download("bundle.tar.zst", &content, "copy.tar.zst".as_ref())?;
//! # Ok(())
//! # }
//! ```
//!
//! - An object is put with the SHA-256 of its content, which the storage compares, and only if there is none of its name
//!   (`If-None-Match: *`). If there is one, it is compared: putting the same file twice is no error.
//! - Files above [`Options::single_limit`] are uploaded in parts. An interrupted upload continues with the parts that the
//!   storage has, also after a restart of the program.
//! - What is read is compared with the expected SHA-256. Another content is [`S3Error::Changed`], never data.
//! - Requests that fail for a passing reason are repeated with growing pauses.
//!
//! Requests are signed with AWS Signature Version 4; buckets are addressed by path. The signature is made here (some 100
//! lines over the HMAC of `ring`, which TLS uses) and not by a crate: of those that were tried, rusty-s3 signs addresses only, not the content of a
//! request, does not know checksums, and would add `url` with its Unicode tables to PID 1; aws-sigv4 and `object_store`
//! need an async runtime and more than 60 crates.

mod address;
mod bucket;
mod content;
mod credentials;
mod error;
mod multipart;
mod object;
mod presigned;
mod reader;
mod refusal;
mod request;
mod send;
mod sign;
mod xml;

pub use address::Location;
pub use bucket::{Bucket, Clock, Options};
pub use content::Content;
pub use credentials::Credentials;
pub use error::S3Error;
pub use multipart::{Piece, pieces, places};
pub use object::{ObjectInfo, Put};
pub use presigned::{PresignedParts, PresignedPut, put_presigned, put_presigned_part};
pub use reader::ObjectReader;

/// Parses an answer as the client does, for fuzzing. Whatever it contains, this does not panic.
pub fn parse_answer(text: &str) {
    let _ = (xml::error(text), xml::upload_id(text), xml::parts(text), xml::uploads(text));
}
