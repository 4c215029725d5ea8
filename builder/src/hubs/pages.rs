//! [`pages`]: lists that a hub gives page by page.

use anyhow::Result;

/// Number of entries of a list to ask for at once: the most that a hub gives.
pub const PAGE: usize = 1000;

/// Whether the hub has more entries than were fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// There are no more.
    Nothing,
    /// There are more on the hub.
    More,
}

/// Fetches the entries of a list up to a limit; 0 means no limit. `page` asks for so many entries at most, after the
/// place that the page before it has named, and returns them with the next such place.
///
/// # Errors
/// Errors of `page`.
pub fn pages<T>(
    limit: usize,
    mut page: impl FnMut(usize, Option<String>) -> Result<(Vec<T>, Option<String>)>,
) -> Result<(Vec<T>, Rest)> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let left = if limit == 0 { PAGE } else { limit.saturating_sub(all.len()) };
        let (entries, next) = page(left.clamp(1, PAGE), after)?;
        all.extend(entries);
        match next {
            None => return Ok((all, Rest::Nothing)),
            Some(_) if limit != 0 && all.len() >= limit => return Ok((all, Rest::More)),
            Some(_) => after = next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fetches from a hub that has so many entries.
    fn fetch(entries: usize, limit: usize) -> (usize, Rest, usize) {
        let mut requests = 0;
        let (all, rest) = pages(limit, |most, after| {
            requests += 1;
            let begin: usize = after.map_or(Ok(0), |after| after.parse())?;
            let end = entries.min(begin + most);
            Ok(((begin..end).collect(), (end < entries).then(|| end.to_string())))
        })
        .expect("a list");
        assert!(all.iter().enumerate().all(|(at, entry)| at == *entry));
        (all.len(), rest, requests)
    }

    #[test]
    fn pages_are_fetched_up_to_the_limit() {
        assert_eq!(fetch(2500, 0), (2500, Rest::Nothing, 3));
        assert_eq!(fetch(2500, 1200), (1200, Rest::More, 2));
        assert_eq!(fetch(7, 50), (7, Rest::Nothing, 1));
        assert_eq!(fetch(7, 7), (7, Rest::Nothing, 1));
        assert_eq!(fetch(0, 0), (0, Rest::Nothing, 1));
    }
}
