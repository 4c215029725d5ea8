//! The bucket that `--bundles` names.

use std::time::Duration;

use advice::WithHelp as _;
use anyhow::{Context as _, Result};
use hub::Storage;
use s3::{Bucket, Options};

use crate::cmdline::Hub;
use crate::context::Context;

/// Prepares the bucket, and asks the storage whether it is there and takes the key. Storage that does not answer is no
/// reason not to start: bundles wait for it.
pub(super) fn open(context: &Context, options: &Hub) -> Result<Option<Storage>> {
    let Some(address) = &options.bundles else { return Ok(None) };
    let brief = Options { attempts: 2, timeout: Duration::from_secs(10), ..Options::default() };
    let tried = Bucket::open(address, &brief).context("reading --bundles")?.check();
    match tried {
        Ok(()) => {}
        Err(error) if error.is_passing() => {
            let error = anyhow::Error::new(error).context("bundles are kept on this machine until the storage answers");
            context.reporter.warn_of(&crate::error::report(&error));
        }
        Err(error) => {
            return Err(error)
                .context("looking at the bucket for bundles")
                .help("without --bundles they are kept in the data directory");
        }
    }
    // The hub itself tries again what failed, with longer pauses.
    let patient = Options { attempts: 3, ..Options::default() };
    let bucket = Bucket::open(address, &patient).context("reading --bundles")?;
    Ok(Some(Storage { max_cache: options.limits.bundle_cache, direct: options.direct_uploads, ..Storage::new(bucket) }))
}
