//! AWS Signature Version 4, as Amazon S3 uses it: in the header of a request, or in its address.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html>

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::hmac::{self, HMAC_SHA256};
use sha256::Digest;

use crate::credentials::Credentials;

/// Characters that are encoded: all but the unreserved ones of RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// In paths slashes stay as they are.
const PATH: &AsciiSet = &RESERVED.remove(b'/');

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The payload's digest in a request whose payload is not signed.
pub(crate) const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

pub(crate) fn encode_path(path: &str) -> String {
    utf8_percent_encode(path, PATH).to_string()
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// A request before it is signed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unsigned<'a> {
    pub(crate) method: &'a str,
    /// The path, encoded.
    pub(crate) path: &'a str,
    /// Names and values of the query, not encoded.
    pub(crate) query: &'a [(&'a str, String)],
    /// Names in lower case, and values. `host` is one of them.
    pub(crate) headers: &'a [(&'a str, String)],
    /// SHA-256 of the payload as hexadecimal digits, or [`UNSIGNED`].
    pub(crate) payload: &'a str,
}

/// What signatures are made with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signer<'a> {
    pub(crate) credentials: &'a Credentials,
    pub(crate) region: &'a str,
    pub(crate) at: Timestamp,
}

impl Signer<'_> {
    /// The time as the header `x-amz-date` has it.
    pub(crate) fn date(&self) -> String {
        self.at.strftime("%Y%m%dT%H%M%SZ").to_string()
    }

    fn scope(&self) -> String {
        format!("{}/{}/s3/aws4_request", self.at.strftime("%Y%m%d"), self.region)
    }

    fn credential(&self) -> String {
        format!("{}/{}", self.credentials.key_id, self.scope())
    }

    /// The value of the header `authorization`. All headers of the request are signed.
    pub(crate) fn authorization(&self, request: &Unsigned) -> String {
        let (names, signature) = (signed_headers(request.headers), self.signature(request, request.query));
        format!("{ALGORITHM} Credential={},SignedHeaders={names},Signature={signature}", self.credential())
    }

    /// The query of an address that is valid for some time. The request has to be sent with the same headers.
    pub(crate) fn presigned_query(&self, request: &Unsigned, valid: Duration) -> String {
        let mut query = request.query.to_vec();
        query.extend([
            ("X-Amz-Algorithm", ALGORITHM.to_owned()),
            ("X-Amz-Credential", self.credential()),
            ("X-Amz-Date", self.date()),
            ("X-Amz-Expires", valid.as_secs().to_string()),
            ("X-Amz-SignedHeaders", signed_headers(request.headers)),
        ]);
        if let Some(session) = &self.credentials.session {
            query.push(("X-Amz-Security-Token", session.reveal().to_owned()));
        }
        let signature = self.signature(request, &query);
        format!("{}&X-Amz-Signature={signature}", canonical_query(&query))
    }

    fn signature(&self, request: &Unsigned, query: &[(&str, String)]) -> String {
        let mut headers = request.headers.to_vec();
        headers.sort();
        let mut text = format!("{}\n{}\n{}\n", request.method, request.path, canonical_query(query));
        for (name, value) in &headers {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name}:{}", value.trim());
        }
        let _ = write!(text, "\n{}\n{}", signed_headers(request.headers), request.payload);
        let text = Digest::of(text);
        let to_sign = format!("{ALGORITHM}\n{}\n{}\n{text}", self.date(), self.scope());
        let day = self.at.strftime("%Y%m%d").to_string();
        let secret = format!("AWS4{}", self.credentials.secret.reveal());
        let key = [day.as_str(), self.region, "s3", "aws4_request"]
            .iter()
            .fold(secret.into_bytes(), |key, part| authenticated(&key, part.as_bytes()));
        hex::encode(authenticated(&key, to_sign.as_bytes()))
    }
}

/// HMAC with SHA-256 (RFC 2104).
fn authenticated(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(HMAC_SHA256, key), text).as_ref().to_vec()
}

fn signed_headers(headers: &[(&str, String)]) -> String {
    let mut names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    names.join(";")
}

/// The query of an address, encoded and sorted.
pub(crate) fn canonical_query(query: &[(&str, String)]) -> String {
    let mut pairs: Vec<_> = query.iter().map(|(name, value)| (encode(name), encode(value))).collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Digest of an empty payload.
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    /// Signs as in the examples of Amazon's documentation, and returns the signature.
    fn signed(method: &str, path: &str, query: &[(&str, &str)], headers: &[(&str, &str)], payload: &str) -> String {
        fn owned<'a>(pairs: &[(&'a str, &str)]) -> Vec<(&'a str, String)> {
            pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
        }
        let (query, mut headers) = (owned(query), owned(headers));
        let credentials = Credentials::new("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        let at = "2013-05-24T00:00:00Z".parse().unwrap();
        let signer = Signer { credentials: &credentials, region: "us-east-1", at };
        headers.push(("host", "examplebucket.s3.amazonaws.com".into()));
        headers.push(("x-amz-content-sha256", payload.into()));
        headers.push(("x-amz-date", signer.date()));
        let path = encode_path(path);
        let value = signer.authorization(&Unsigned { method, path: &path, query: &query, headers: &headers, payload });
        value.rsplit_once("Signature=").unwrap().1.to_owned()
    }

    /// The four examples of "Signature Calculations for the Authorization Header" in the documentation of Amazon S3.
    #[test]
    fn signatures_are_those_of_amazons_examples() {
        assert_eq!(
            signed("GET", "/test.txt", &[], &[("range", "bytes=0-9")], EMPTY),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        let headers = [("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")];
        let payload = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
        assert_eq!(
            signed("PUT", "/test$file.text", &[], &headers, payload),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        );
        assert_eq!(
            signed("GET", "/", &[("lifecycle", "")], &[], EMPTY),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
        );
        assert_eq!(
            signed("GET", "/", &[("prefix", "J"), ("max-keys", "2")], &[], EMPTY),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
    }

    /// The example of "Authenticating Requests: Using Query Parameters".
    #[test]
    fn a_presigned_address_is_that_of_amazons_example() {
        let credentials = Credentials::new("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        let at = "2013-05-24T00:00:00Z".parse().unwrap();
        let signer = Signer { credentials: &credentials, region: "us-east-1", at };
        let headers = [("host", "examplebucket.s3.amazonaws.com".to_owned())];
        let request = Unsigned { method: "GET", path: "/test.txt", query: &[], headers: &headers, payload: UNSIGNED };
        assert_eq!(
            signer.presigned_query(&request, Duration::from_secs(86400)),
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2F\
             aws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=\
             aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
    }

    #[test]
    fn names_are_encoded_as_the_signature_wants_it() {
        assert_eq!(encode_path("/b/amd64+gfx1030/ü @~.tar"), "/b/amd64%2Bgfx1030/%C3%BC%20%40~.tar");
    }
}
