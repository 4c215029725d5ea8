//! Cache of computed values in the store: one per name, with the inputs it was computed from and a digest. A damaged
//! value counts as missing.

use anyhow::Result;
use sha256::Digest;
use store::Store;

/// Length of a digest in bytes.
const DIGEST: usize = 32;

/// The value stored under a name, if it was computed for this `question` and is undamaged.
pub(crate) fn recall(store: &Store, name: &str, question: &str) -> Result<Option<Vec<u8>>> {
    let Some(mut bytes) = store.meta(name)? else { return Ok(None) };
    let Some((head, answer)) = bytes.split_at_checked(2 * DIGEST) else { return Ok(None) };
    if head != head_of(question, answer) {
        return Ok(None);
    }
    bytes.drain(..2 * DIGEST);
    Ok(Some(bytes))
}

/// Stores a value, replacing the previous one of that name.
pub(crate) fn remember(store: &Store, name: &str, question: &str, answer: &[u8]) -> Result<()> {
    Ok(store.set_meta(name, &[head_of(question, answer).as_slice(), answer].concat())?)
}

fn head_of(question: &str, answer: &[u8]) -> Vec<u8> {
    let (asked, answered) = (Digest::of(question.as_bytes()), Digest::of(answer));
    [asked.as_bytes().as_slice(), answered.as_bytes()].concat()
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

    #[test]
    fn a_damaged_answer_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        remember(&store, "sum", "1 + 1", b"two").unwrap();
        let whole = store.meta("sum").unwrap().unwrap();
        let mut other = whole.clone();
        *other.last_mut().unwrap() = b'0';
        for damaged in [&other[..], &whole[..whole.len() - 1], &whole[..40], b""] {
            store.set_meta("sum", damaged).unwrap();
            assert_eq!(recall(&store, "sum", "1 + 1").unwrap(), None);
        }
    }
}
