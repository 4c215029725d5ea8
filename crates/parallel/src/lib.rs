//! Work on the items of a list in several threads, which end with the call.
//!
//! Each thread takes the next item when it is done with one, so items are begun in their order: put the largest first, or one
//! thread is busy with it after all others are done. Results come in the order of the items. A panic of a thread is passed on.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Number of processors that this process may use.
pub fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Calls `work` for each item, in at most `threads` threads.
pub fn map<I, R>(items: I, threads: usize, work: impl Fn(I::Item) -> R + Sync) -> Vec<R>
where
    I: IntoIterator<IntoIter: Send, Item: Send>,
    R: Send,
{
    map_with(items, threads, || (), |(), item| work(item))
}

/// Like [`map`], with a state that each thread has for itself, a buffer for example.
pub fn map_with<I, S, R>(
    items: I,
    threads: usize,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, I::Item) -> R + Sync,
) -> Vec<R>
where
    I: IntoIterator<IntoIter: Send, Item: Send>,
    R: Send,
{
    let items = items.into_iter();
    let most = items.size_hint().1.unwrap_or(usize::MAX).max(1);
    let items = Mutex::new(items.enumerate());
    let run = || {
        let (mut state, mut results) = (state(), Vec::new());
        loop {
            let next = items.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((index, item)) = next else { return results };
            results.push((index, work(&mut state, item)));
        }
    };
    let mut results: Vec<(usize, R)> = thread::scope(|scope| {
        let running: Vec<_> = (0..threads.clamp(1, most)).map(|_| scope.spawn(run)).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    results.sort_unstable_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Like [`map_with`], for work that may fail: after an error no further item is begun.
///
/// # Errors
///
/// Of the items that failed, the error of the first.
pub fn try_map_with<I, S, R, E>(
    items: I,
    threads: usize,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, I::Item) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E>
where
    I: IntoIterator<IntoIter: Send, Item: Send>,
    R: Send,
    E: Send,
{
    let failed = AtomicBool::new(false);
    let items = items.into_iter();
    let results = map_with(items, threads, state, |state, item| {
        // Items are begun in their order, so those before the first error have results.
        if failed.load(Ordering::Relaxed) {
            return None;
        }
        let result = work(state, item);
        if result.is_err() {
            failed.store(true, Ordering::Relaxed);
        }
        Some(result)
    });
    results.into_iter().flatten().collect()
}

/// Like [`try_map_with`], without a state.
///
/// # Errors
///
/// As [`try_map_with`].
pub fn try_map<I, R, E>(items: I, threads: usize, work: impl Fn(I::Item) -> Result<R, E> + Sync) -> Result<Vec<R>, E>
where
    I: IntoIterator<IntoIter: Send, Item: Send>,
    R: Send,
    E: Send,
{
    try_map_with(items, threads, || (), |(), item| work(item))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn results_come_in_the_order_of_the_items() {
        for threads in [0, 1, 3, 100] {
            assert_eq!(
                map(0..1000, threads, |number| number * 2),
                (0..1000).map(|number| number * 2).collect::<Vec<_>>()
            );
        }
        assert!(map(Vec::<u8>::new(), 4, |byte| byte).is_empty());
    }

    #[test]
    fn items_are_worked_on_at_the_same_time() {
        // Each waits for the others: with fewer threads this would never end.
        let all = Barrier::new(4);
        assert_eq!(map([1, 2, 3, 4], 4, |_| all.wait().is_leader()).into_iter().filter(|leads| *leads).count(), 1);
    }

    #[test]
    fn each_thread_has_its_state() {
        let made = AtomicUsize::new(0);
        let states = map_with(0..100, 2, || made.fetch_add(1, Ordering::Relaxed), |state, _| *state);
        assert!(states.into_iter().collect::<BTreeSet<_>>().len() <= 2);
        assert_eq!(made.into_inner(), 2);
    }

    #[test]
    fn after_an_error_nothing_is_begun() {
        let begun = AtomicUsize::new(0);
        let work = |number: usize| {
            begun.fetch_add(1, Ordering::Relaxed);
            if number == 3 || number == 5 { Err(number) } else { Ok(number) }
        };
        assert_eq!(try_map(0..1000, 1, work), Err(3));
        assert_eq!(begun.swap(0, Ordering::Relaxed), 4);
        assert_eq!(try_map(0..3, 2, work), Ok(vec![0, 1, 2]));
    }

    #[test]
    #[should_panic(expected = "as said")]
    fn a_panic_is_passed_on() {
        map(0..10, 2, |number| assert!(number != 5, "as said"));
    }
}
