//! S3-compatible storage.

use crate::text;

/// An answer of a storage server, and an address of a bucket.
pub fn s3_answer(data: &[u8]) {
    let Some(text) = text(data) else { return };
    s3::parse_answer(text);
    if let Ok(location) = s3::Location::parse(text, |_| None) {
        let shown = location.to_string();
        let again = s3::Location::parse(&shown, |_| None).expect("what is shown is an address");
        assert_eq!((again.endpoint, again.bucket, again.prefix), (location.endpoint, location.bucket, location.prefix));
    }
}
