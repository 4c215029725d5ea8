//! Results that take a while and follow from a question: one of each name is kept in the store, with its question.

use anyhow::Result;
use store::{Digest, Store};

/// The answer kept under a name, if it is the answer to this question.
pub(super) fn recall(store: &Store, name: &str, question: &str) -> Result<Option<Vec<u8>>> {
    let Some(mut bytes) = store.meta(name)? else { return Ok(None) };
    let asked = Digest::of(question.as_bytes());
    if bytes.starts_with(asked.as_bytes()) {
        bytes.drain(..asked.as_bytes().len());
        return Ok(Some(bytes));
    }
    Ok(None)
}

/// Keeps an answer in place of the one before.
pub(super) fn remember(store: &Store, name: &str, question: &str, answer: &[u8]) -> Result<()> {
    let asked = Digest::of(question.as_bytes());
    Ok(store.set_meta(name, &[asked.as_bytes(), answer].concat())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_question_has_an_answer() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        remember(&store, "sum", "1 + 1", b"2").unwrap();
        assert_eq!(recall(&store, "sum", "1 + 1").unwrap().as_deref(), Some(&b"2"[..]));
        remember(&store, "sum", "2 + 2", b"4").unwrap();
        assert_eq!(recall(&store, "sum", "1 + 1").unwrap(), None);
    }
}
