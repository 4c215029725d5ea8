//! `rocbed results junit`: a result as JUnit XML.

use anyhow::{Context as _, Result};
use bundle::JUNIT;
use client::Client;

use crate::cmdline::ResultsJunit;
use crate::commands::print;
use crate::context::Context;
use crate::hubs::{HubAccess, connect};

/// Size limit of a report in bytes.
const LARGEST: u64 = 256 << 20;

pub(super) fn run(context: &Context, options: &ResultsJunit) -> Result<()> {
    let (place, client) = connect(&options.at)?;
    let report = of(&place, &client, &options.job)?
        .with_context(|| format!("the bundle of job {} has no {JUNIT}", options.job))?;
    match &options.output {
        Some(path) => {
            durable::replace(path, &report, durable::Readers::Everyone)
                .with_context(|| format!("writing {}", path.display()))?;
            context.reporter.say(&format!("wrote {}", path.display()));
            Ok(())
        }
        None => print(&String::from_utf8_lossy(&report)),
    }
}

/// The JUnit report of a job. It is at the beginning of the bundle, and no more than that is downloaded.
pub(super) fn of(place: &HubAccess, client: &Client, job: &str) -> Result<Option<Vec<u8>>> {
    let reader = client.read_bundle(job).map_err(|error| place.explain(error))?;
    bundle::file(reader, JUNIT, LARGEST).with_context(|| format!("reading the bundle of job {job}"))
}
