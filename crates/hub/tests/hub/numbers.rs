//! Arbitrary numbers in queries and headers.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::{Outcome, start_with};

/// A number as a client may write it: small, at the limits of a type, beyond them, or not a number.
fn number() -> impl Strategy<Value = String> {
    let edges = [u64::from(u32::MAX), i64::MAX as u64, u64::MAX, 0, 1 << 53];
    prop_oneof![
        (0..300_u64).prop_map(|number| number.to_string()),
        (proptest::sample::select(edges.to_vec()), -3_i128..3)
            .prop_map(|(edge, more)| (i128::from(edge) + more).to_string()),
        any::<i128>().prop_map(|number| number.to_string()),
        proptest::sample::select(vec!["", "-0", "+1", "1e9", "0x10", "99999999999999999999999", "%00", "NaN"])
            .prop_map(str::to_owned),
    ]
}

#[test]
fn no_number_is_an_error_of_the_hub() -> Outcome {
    let hub = start_with(|config| config.max_requests = 1_000_000);
    let worker = hub.worker("w1", "");
    hub.add("[[job]]\npackage = \"gzip\"\n");
    let claimed = worker.begin();
    worker.client.append_log(&claimed.lease, 0, b"one\ntwo\nand a line with a in it\n")?;
    worker.deliver(&claimed, protocol::Verdict::Pass)?;
    for (path, expected) in [
        ("/jobs/gzip/log?from=18446744073709551615&find=a", 200),
        ("/jobs/gzip/log?from=9223372036854775808", 200),
        ("/jobs/gzip/log?from=18446744073709551616", 400),
        ("/jobs/gzip/log?attempt=4294967295", 200),
        ("/api/v1/jobs?limit=18446744073709551615", 200),
        ("/api/v1/jobs?after=-9223372036854775808", 200),
        ("/api/v1/jobs/gzip/log?attempt=4294967295", 404),
        ("/regressions?from=18446744073709551615", 200),
        ("/jobs/gzip/files?after=18446744073709551615", 200),
        ("/jobs/gzip/files/18446744073709551615", 404),
    ] {
        assert_eq!(hub.get(path).0, expected, "{path}");
    }
    let token = worker.client.token().unwrap_or_default().to_owned();
    let lease = claimed.lease.as_str();
    let requests = [
        "/jobs/gzip/log?from={}&find=a".to_owned(),
        "/jobs/gzip/log?from={}&attempt={}".into(),
        "/jobs/gzip/log/live?from={}&attempt={}".into(),
        "/api/v1/jobs/gzip/log?attempt={}".into(),
        "/api/v1/jobs?limit={}&after={}".into(),
        "/api/v1/results?limit={}&after={}".into(),
        "/api/v1/workers?limit={}".into(),
        "/jobs?after={}&limit={}".into(),
        "/workers?after={}".into(),
        "/regressions?from={}".into(),
        "/flaky?from={}".into(),
        "/jobs/gzip/files?after={}&limit={}".into(),
        "/jobs/gzip/files/{}".into(),
        format!("PUT /api/v1/leases/{lease}/log?offset={{}}"),
    ];
    let mut runner = TestRunner::new(Config { cases: 200, failure_persistence: None, ..Config::default() });
    runner.run(
        &(proptest::sample::select(requests.to_vec()), number(), number(), number()),
        |(request, one, two, range)| {
            let request = request.replacen("{}", &one, 1).replacen("{}", &two, 1);
            let line = if request.starts_with('/') { format!("GET {request}") } else { request };
            let answer = hub.raw(
                format!(
                    "{line} HTTP/1.1\r\nhost: h\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
                 range: bytes={range}-{one}\r\nlast-event-id: {range}\r\ncontent-length: 1\r\n\r\nx"
                )
                .as_bytes(),
            );
            let status: u16 = answer.get(9..12).and_then(|text| text.parse().ok()).unwrap_or(0);
            prop_assert!((200..500).contains(&status), "{}: {}", line, answer);
            Ok(())
        },
    )?;
    Ok(())
}
