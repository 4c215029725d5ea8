//! [`Sessions`]: browsers whose users have logged in.
//!
//! A browser shows that it is one of them with a cookie, which it also sends with requests that other sites' pages cause.
//! So the cookie alone only allows reading; whoever changes something also sends the session's form key, which only the
//! hub's own pages have. Sessions are in memory: they end when the hub does.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use sha256::Digest;

use crate::error::HubError;
use crate::token::{hash, random_hex};

/// How long a session lasts, in seconds.
pub(crate) const LIFETIME: i64 = 12 * 3600;

/// Most sessions; beyond that the one that ends first is closed.
const MOST: usize = 1000;

/// The open sessions, by the digests of their cookies.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<Digest, Session>>);

/// A session.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// Digest of the token that it was opened with, which has to be good still.
    pub(crate) token: Digest,
    /// What forms send to show that they are from a page of this session.
    pub(crate) form_key: String,
    /// When it ends, in milliseconds since 1970.
    until: i64,
}

impl Session {
    /// Whether a form is from a page of this session.
    pub(crate) fn is_of(&self, form_key: &str) -> bool {
        // By digests, so that the time that it takes says nothing.
        hash(&self.form_key) == hash(form_key)
    }
}

impl Sessions {
    /// Opens a session for whoever has sent this token; returns the cookie's value.
    pub(crate) fn open(&self, token: Digest, now: i64) -> Result<String, HubError> {
        let (cookie, form_key) = (random_hex::<32>()?, random_hex::<32>()?);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, session| session.until > now);
        while all.len() >= MOST {
            let Some(first) = all.iter().min_by_key(|(_, session)| session.until).map(|(cookie, _)| *cookie) else {
                break;
            };
            all.remove(&first);
        }
        let until = now.saturating_add(LIFETIME.saturating_mul(1000));
        all.insert(hash(&cookie), Session { token, form_key, until });
        Ok(cookie)
    }

    /// The session of a cookie, unless it has ended.
    pub(crate) fn find(&self, cookie: &str, now: i64) -> Option<Session> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&hash(cookie)).filter(|session| session.until > now).cloned()
    }

    /// Closes the session of a cookie.
    pub(crate) fn close(&self, cookie: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&hash(cookie));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_and_its_forms_are_its_own() -> Result<(), HubError> {
        let sessions = Sessions::default();
        let token = hash("admin");
        let (one, other) = (sessions.open(token, 0)?, sessions.open(token, 0)?);
        let (first, second) = (sessions.find(&one, 1).expect("open"), sessions.find(&other, 1).expect("open"));
        assert!(first.is_of(&first.form_key) && !first.is_of(&second.form_key) && !first.is_of(""));
        assert_eq!(first.token, token);
        assert!(sessions.find("", 1).is_none() && sessions.find(&first.form_key, 1).is_none());
        sessions.close(&one);
        assert!(sessions.find(&one, 1).is_none() && sessions.find(&other, 1).is_some());
        assert!(sessions.find(&other, LIFETIME * 1000).is_none());
        Ok(())
    }

    #[test]
    fn there_are_never_too_many() -> Result<(), HubError> {
        let sessions = Sessions::default();
        let first = sessions.open(hash("admin"), 0)?;
        for now in 1..=1000 {
            sessions.open(hash("admin"), now)?;
        }
        assert!(sessions.find(&first, 1001).is_none());
        assert_eq!(sessions.0.lock().expect("a lock").len(), MOST);
        Ok(())
    }
}
