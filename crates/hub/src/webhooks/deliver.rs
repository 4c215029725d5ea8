//! One delivery: a signed request, and what its answer means.

use std::time::Duration;

use ring::hmac::{self, HMAC_SHA256};
use ureq::http::StatusCode;

use crate::webhooks::Webhook;
use crate::webhooks::queue::Queued;

/// Header with the signature, in the form that receivers of other webhooks know.
const SIGNATURE: &str = "X-Hub-Signature-256";

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Delivery {
    /// The receiver has the event.
    Taken,
    /// It does not want this event. Another one may be wanted.
    Refused(Trouble),
    /// It cannot take any event now.
    Failed(Trouble),
}

/// What went wrong, and how long to wait if the receiver has said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) what: String,
    pub(super) wait: Option<Duration>,
}

impl Webhook {
    /// Posts an event. It blocks.
    pub(super) fn deliver(&self, queued: &Queued) -> Delivery {
        let body = queued.event.as_bytes();
        let request = self
            .agent
            .post(&self.address)
            .header("Content-Type", "application/json")
            .header("X-Rocbed-Event", "state-change")
            .header("X-Rocbed-Delivery", &queued.id)
            .header(SIGNATURE, signature(self.secret.reveal(), body));
        match request.send(body) {
            // What else it says does not matter, and is not read.
            Ok(answer) => {
                let wait = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
                judge(answer.status(), wait.map(Duration::from_secs))
            }
            Err(error) => {
                // Errors of addresses would have the address in them.
                let what = error.to_string().replace(&self.address, "(not shown)");
                Delivery::Failed(Trouble { what: format!("it cannot be reached: {what}"), wait: None })
            }
        }
    }
}

/// What a status means.
fn judge(status: StatusCode, wait: Option<Duration>) -> Delivery {
    let trouble = |what: String| Trouble { what, wait };
    if status.is_success() {
        Delivery::Taken
    } else if status.is_redirection() {
        let what = format!("it answers {status}, and events go to no other address: name the one that it leads to");
        Delivery::Failed(trouble(what))
    } else if matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY
    ) {
        Delivery::Refused(trouble(format!("it answers {status}")))
    } else {
        Delivery::Failed(trouble(format!("it answers {status}")))
    }
}

/// `sha256=` and the HMAC with SHA-256 (RFC 2104) of a body, in hexadecimal.
fn signature(secret: &str, body: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(HMAC_SHA256, secret.as_bytes()), body);
    format!("sha256={}", hex::encode(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_rfc_4231() {
        // Test case 2.
        let expected = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(signature("Jefe", b"what do ya want for nothing?"), expected);
    }

    #[test]
    fn only_answers_about_the_event_itself_refuse_it() {
        let of = |status: u16| judge(StatusCode::from_u16(status).expect("a status"), None);
        assert_eq!((of(200), of(204)), (Delivery::Taken, Delivery::Taken));
        for status in [400, 413, 422] {
            assert!(matches!(of(status), Delivery::Refused(_)), "{status}");
        }
        for status in [301, 307, 401, 404, 410, 429, 500, 503] {
            assert!(matches!(of(status), Delivery::Failed(_)), "{status}");
        }
    }
}
