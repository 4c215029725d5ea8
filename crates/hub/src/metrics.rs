//! `/metrics` in the Prometheus text format (version 0.0.4).

use std::fmt::Write;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use protocol::Verdict;
use protocol::api::{Health, JobState};
use rusqlite::types::FromSql;
use rusqlite::{Connection, Row};

use crate::http::{Answer, Reader};
use crate::hub::Shared;
use crate::store::columns::Named;

/// Writes one metric with its help text.
fn one(out: &mut String, kind: &str, name: &str, help: &str, value: u64) {
    // Writing to a String cannot fail.
    let _ = write!(out, "# HELP rocbed_{name} {help}\n# TYPE rocbed_{name} {kind}\nrocbed_{name} {value}\n");
}

/// Writes a metric with one number for each value of a label.
fn many(out: &mut String, name: &str, help: &str, label: &str, values: &[(&str, u64)]) {
    // Writing to a String cannot fail.
    let _ = write!(out, "# HELP rocbed_{name} {help}\n# TYPE rocbed_{name} gauge\n");
    for (text, value) in values {
        let _ = writeln!(out, "rocbed_{name}{{{label}=\"{text}\"}} {value}");
    }
}

/// The numbers of jobs by state, and of results on real GPUs or none by verdict; without those that do not occur.
type Counts = (Vec<(JobState, u32)>, Vec<(Verdict, u32)>);

fn counts(db: &Connection) -> rusqlite::Result<Counts> {
    fn row<T>(row: &Row<'_>) -> rusqlite::Result<(T, u32)>
    where
        Named<T>: FromSql,
    {
        let Named(value) = row.get(0)?;
        Ok((value, row.get(1)?))
    }
    let mut statement = db.prepare_cached("SELECT state, count(*) FROM jobs GROUP BY state")?;
    let jobs = statement.query_map([], row)?.collect::<rusqlite::Result<_>>()?;
    // Parts of jobs are few, so they are taken off the sum and not looked up for each result.
    let mut statement = db.prepare_cached(
        "SELECT verdict, sum(results) FROM (
             SELECT verdict, count(*) AS results FROM results WHERE simulated = 0 GROUP BY verdict
             UNION ALL
             SELECT r.verdict, -count(*) FROM shards s CROSS JOIN results r ON r.job = s.job
             WHERE r.simulated = 0 GROUP BY r.verdict)
         GROUP BY verdict",
    )?;
    let results = statement.query_map([], row)?.collect::<rusqlite::Result<_>>()?;
    Ok((jobs, results))
}

/// The number of `wanted` in a list of numbers.
fn count<T: PartialEq>(list: &[(T, u32)], wanted: &T) -> u64 {
    list.iter().find(|(value, _)| value == wanted).map_or(0, |(_, count)| u64::from(*count))
}

pub(crate) async fn serve(State(shared): State<Shared>, _: Reader) -> Answer<Response> {
    let counted = shared.readers.run(|db| Ok((counts(db)?, crate::kept::bytes(db)?)));
    let ((jobs, results), kept) = counted.await?;
    let mut out = String::new();
    let states = JobState::ALL.map(|state| (state.name(), count(&jobs, &state)));
    many(&mut out, "jobs", "Jobs by state.", "state", &states);
    let verdicts = Verdict::ALL.map(|verdict| (verdict.name(), count(&results, &verdict)));
    many(&mut out, "results", "Results on real GPUs or none, by verdict.", "verdict", &verdicts);
    {
        let state = shared.core.state();
        let since = shared.online_since();
        let health = Health::ALL.map(|health| {
            let count = state.workers.values().filter(|worker| worker.seen_since(since) && worker.health == health);
            (health.name(), count.count() as u64)
        });
        many(&mut out, "workers_online", "Workers that were heard of lately, by health.", "health", &health);
        one(&mut out, "gauge", "workers_known", "Workers that have ever registered.", state.workers.len() as u64);
        one(&mut out, "gauge", "leases_active", "Jobs in workers' hands.", state.leases.len() as u64);
        one(&mut out, "gauge", "claims_waiting", "Workers that wait for a job.", state.waiters.len() as u64);
    }
    if shared.keep.get().is_some() {
        one(
            &mut out,
            "gauge",
            "kept_package_bytes",
            "Bytes of the packages that are kept for runs to be made again.",
            kept,
        );
    }
    let counters = &shared.counters;
    for (name, help, counter) in [
        ("http_requests_total", "Requests that were answered.", &counters.requests),
        ("http_refused_total", "Requests answered with a status from 400 to 499.", &counters.refused),
        ("http_failed_total", "Requests answered with a status from 500.", &counters.failed),
        ("received_bytes_total", "Bytes of bundles that were uploaded.", &counters.received_bytes),
        (
            "http_turned_away_total",
            "Requests that were more than the share of who has sent them.",
            &counters.turned_away,
        ),
        ("http_left_connections_total", "Connections that were ended to make room.", &counters.left_connections),
        ("expired_leases_total", "Leases that ran out.", &counters.expired_leases),
    ] {
        one(&mut out, "counter", name, help, counter.load(Ordering::Relaxed));
    }
    if let Some(link) = shared.debci.get() {
        let status = link.status();
        let connected = u64::from(status.connected.is_some());
        one(&mut out, "gauge", "debci_connected", "Whether the debci server's broker is connected.", connected);
        one(&mut out, "gauge", "debci_jobs_held", "Jobs that the broker keeps for this hub.", status.held);
        one(&mut out, "counter", "debci_jobs_taken_total", "Jobs taken from the debci server.", status.taken);
        one(&mut out, "counter", "debci_results_total", "Results that the broker has confirmed.", status.answered);
    }
    if let Some(status) = crate::http::debci_workers(&shared) {
        let connected = u64::from(status.connected.is_some());
        let told = "Whether the broker of debci's workers is connected.";
        one(&mut out, "gauge", "debci_workers_connected", told, connected);
        one(&mut out, "gauge", "debci_workers_offered", "Jobs that are offered to workers of debci.", status.offered);
        one(&mut out, "counter", "debci_workers_results_total", "Results taken from workers of debci.", status.results);
        let told = "Messages of workers of debci that were refused.";
        one(&mut out, "counter", "debci_workers_refused_total", told, status.refused);
    }
    if let Some(watch) = shared.watch.get() {
        let overview = shared.readers.run(crate::watch::overview).await?;
        let works = u64::from(watch.status().problem.is_none());
        one(
            &mut out,
            "gauge",
            "watch_works",
            "Whether the archive that is watched could be read the last time.",
            works,
        );
        let date = overview.archive.map_or(0, |archive| archive.date.as_second().unsigned_abs());
        one(&mut out, "gauge", "watch_archive_date_seconds", "Date of that archive, in seconds since 1970.", date);
        one(&mut out, "gauge", "watch_packages", "Packages of it that are tested.", overview.packages);
        one(&mut out, "gauge", "watch_waiting", "Packages on targets that wait for a worker.", overview.waits);
        one(&mut out, "counter", "watch_jobs_total", "Jobs that were ever made for its changes.", overview.made);
    }
    if !shared.config.webhooks.is_empty() {
        let keys: Vec<String> = shared.config.webhooks.iter().map(crate::webhooks::Webhook::key).collect();
        let counted = shared.readers.run(move |db| {
            keys.iter().map(|key| crate::webhooks::counts(db, key)).collect::<rusqlite::Result<Vec<_>>>()
        });
        let counted = counted.await?;
        let sum =
            |count: fn(&crate::webhooks::Counts) -> u32| counted.iter().map(|one| u64::from(count(one))).sum::<u64>();
        let failing = shared.webhooks.iter().filter(|status| status.problem().is_some()).count() as u64;
        one(&mut out, "gauge", "webhooks_failing", "Webhooks that took no event the last time.", failing);
        one(&mut out, "gauge", "webhooks_waiting", "Events that wait for their receivers.", sum(|one| one.waiting));
        one(&mut out, "counter", "webhooks_delivered_total", "Events that were taken.", sum(|one| one.delivered));
        let told = "Events that were dropped: too many waited, or they were refused too often.";
        one(&mut out, "counter", "webhooks_dropped_total", told, sum(|one| one.dropped));
    }
    let connections = counters.connections.load(Ordering::Relaxed);
    one(&mut out, "gauge", "http_connections", "Open connections.", connections);
    let read_only = u64::from(shared.core.is_read_only());
    one(
        &mut out,
        "gauge",
        "read_only",
        "Whether nothing is written because the disk was full at the start.",
        read_only,
    );
    if let Some(bucket) = shared.bundles.bucket() {
        let status = bucket.status();
        one(&mut out, "gauge", "bundles_waiting", "Bundles that are not in the bucket.", status.waiting);
        one(&mut out, "gauge", "bundles_waiting_bytes", "Their length.", status.waiting_bytes);
        one(&mut out, "gauge", "bundle_cache_bytes", "Bundles of the bucket that are here too.", status.cached_bytes);
        one(&mut out, "counter", "bundles_stored_total", "Bundles that were put into the bucket.", status.uploaded);
        let works = u64::from(status.problem.is_none());
        one(&mut out, "gauge", "storage_works", "Whether the last bundle could be put into the bucket.", works);
    }
    one(&mut out, "gauge", "disk_free_bytes", "Room in the data directory's file system.", shared.free());
    one(&mut out, "gauge", "database_bytes", "Size of the database without its log.", shared.database_bytes());
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], out).into_response())
}
