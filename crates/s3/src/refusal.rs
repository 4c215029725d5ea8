//! What an answer that is not a success means, and whether the same request may succeed later.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use safetext::printable;
use ureq::http::HeaderMap;

use crate::error::S3Error;
use crate::xml::ErrorBody;

/// Longest message of a server that is shown, in characters.
const MESSAGE: usize = 200;

/// Reason why one attempt failed.
pub(crate) enum Miss {
    /// Another attempt may succeed. The error is for the case that there is none.
    Again { reason: String, wished: Option<Duration>, error: Option<Box<S3Error>> },
    /// Another attempt is pointless.
    Final(Box<S3Error>),
}

/// What was tried, and with what.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) endpoint: &'a str,
    pub(crate) bucket: &'a str,
    pub(crate) key_id: &'a str,
    pub(crate) action: &'static str,
    pub(crate) what: String,
    pub(crate) is_object: bool,
    /// This machine's time.
    pub(crate) here: Timestamp,
}

impl Context<'_> {
    /// The meaning of an answer. A HEAD request has no document, so that the status has to tell all.
    pub(crate) fn miss(&self, status: u16, headers: &HeaderMap, body: Option<ErrorBody>) -> Miss {
        let body = body.unwrap_or_default();
        let (code, message) = (shortened(&body.code), shortened(&body.message));
        let what = || self.what.clone();
        let error = match (code.as_str(), status) {
            ("RequestTimeTooSkewed", _) => {
                S3Error::ClockSkew { here: self.here, there: body.server_time.or_else(|| date(headers)) }
            }
            ("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "AuthorizationHeaderMalformed" | "InvalidToken", _) => {
                let (endpoint, key_id) = (self.endpoint.to_owned(), self.key_id.to_owned());
                S3Error::WrongKey { endpoint, key_id, code: code.clone() }
            }
            ("ExpiredToken", _) => S3Error::Expired { what: what() },
            ("AccessDenied", _) if message.contains("expired") => S3Error::Expired { what: what() },
            ("NoSuchBucket", _) => {
                S3Error::NoBucket { bucket: self.bucket.to_owned(), endpoint: self.endpoint.to_owned() }
            }
            ("NoSuchUpload", _) => S3Error::NoUpload { what: what() },
            ("NoSuchKey", _) => S3Error::NoObject { what: what() },
            ("PreconditionFailed", _) | (_, 412) => S3Error::Exists { what: what() },
            ("", 404) if self.is_object => S3Error::NoObject { what: what() },
            ("", 404) => S3Error::NoBucket { bucket: self.bucket.to_owned(), endpoint: self.endpoint.to_owned() },
            ("AccessDenied" | "AllAccessDisabled" | "AccountProblem", _) | (_, 401 | 403) => {
                let code = if code.is_empty() { format!("status {status}") } else { code.clone() };
                S3Error::Denied { action: self.action, what: what(), code }
            }
            _ => S3Error::Refused { action: self.action, what: what(), status, code: code.clone(), message },
        };
        // A proxy answers for storage that is away; a storage that has too much to do asks for patience.
        let codes = ["InternalError", "SlowDown", "ServiceUnavailable", "RequestTimeout", "OperationAborted"];
        let codes_too = ["ConditionalRequestConflict", "BadDigest", "IncompleteBody", "Throttling"];
        // 501: it does not know the request, and never will.
        let again = (status >= 500 && status != 501)
            || matches!(status, 408 | 429)
            || codes.contains(&code.as_str())
            || codes_too.contains(&code.as_str());
        if !again {
            return Miss::Final(error.into());
        }
        let wished = headers.get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        Miss::Again { reason: error.to_string(), wished: wished.map(Duration::from_secs), error: Some(error.into()) }
    }
}

/// A server's word, so that it can be printed.
fn shortened(text: &str) -> String {
    printable(&text.chars().take(MESSAGE).collect::<String>()).clone()
}

/// The time at which the answer was made (RFC 9110, section 6.6.1).
fn date(headers: &HeaderMap) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(headers.get("date")?.to_str().ok()?).ok()
}

/// Whether another attempt may succeed after there was no answer.
pub(crate) fn unanswered(endpoint: &str, error: ureq::Error) -> Miss {
    let certificate =
        |reason: String| Miss::Final(S3Error::Certificate { endpoint: endpoint.to_owned(), reason }.into());
    match error {
        ureq::Error::BadUri(reason) => Miss::Final(S3Error::Answer { endpoint: endpoint.to_owned(), reason }.into()),
        ureq::Error::Tls(reason) => certificate(reason.to_owned()),
        ureq::Error::Rustls(error) => certificate(error.to_string()),
        // A refused certificate is reported like this.
        ureq::Error::Io(error)
            if error.get_ref().is_some_and(|inner| inner.downcast_ref::<rustls::Error>().is_some()) =>
        {
            certificate(error.to_string())
        }
        other => Miss::Again { reason: other.to_string(), wished: None, error: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, code: &str, message: &str) -> (bool, String) {
        let context = Context {
            endpoint: "https://storage.example",
            bucket: "results",
            key_id: "lab",
            action: "put",
            what: "s3://results/a".into(),
            is_object: true,
            here: "2026-11-29T19:00:00Z".parse().unwrap(),
        };
        let headers = HeaderMap::from_iter([(
            ureq::http::header::DATE,
            ureq::http::HeaderValue::from_static("Sun, 29 Nov 2026 20:00:30 GMT"),
        )]);
        let body = ErrorBody { code: code.into(), message: message.into(), server_time: None };
        match context.miss(status, &headers, Some(body)) {
            Miss::Again { reason, .. } => (true, reason),
            Miss::Final(error) => (false, error.to_string()),
        }
    }

    #[test]
    fn an_answer_says_what_is_wrong_and_whether_to_try_again() {
        for (status, code, message, again, says) in [
            (403, "SignatureDoesNotMatch", "", false, "does not accept the key lab: SignatureDoesNotMatch"),
            (403, "InvalidAccessKeyId", "", false, "does not accept the key lab"),
            (403, "AccessDenied", "Request has expired", false, "has expired"),
            (403, "AccessDenied", "Access Denied.", false, "refuses to put s3://results/a: AccessDenied"),
            (403, "", "", false, "refuses to put s3://results/a: status 403"),
            (403, "RequestTimeTooSkewed", "", false, "its own is 2026-11-29T20:00:30Z, so this clock is 3630 s slow"),
            (404, "NoSuchBucket", "", false, "no bucket results at https://storage.example"),
            (404, "", "", false, "there is no object s3://results/a"),
            (412, "PreconditionFailed", "", false, "already"),
            (400, "BadDigest", "", true, "BadDigest"),
            (503, "SlowDown", "Please reduce", true, "status 503 SlowDown Please reduce"),
            (502, "", "", true, "status 502"),
            (501, "NotImplemented", "", false, "status 501 NotImplemented"),
            (400, "InvalidPart", "a\u{1b}[2J", false, r"InvalidPart a\u{1b}[2J"),
        ] {
            let (is_again, text) = answered(status, code, message);
            assert_eq!((is_again, text.contains(says)), (again, true), "{status} {code}: {text}");
        }
    }
}
