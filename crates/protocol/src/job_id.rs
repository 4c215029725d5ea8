//! [`job_id`]: numbers the ids of jobs that would otherwise have the same id.

/// The id of the `number`th job with this id: the id itself for the first, `rocrand-2` for the second. Never longer
/// than an id may be.
pub fn job_id(id: &str, number: u64) -> String {
    const LONGEST: usize = 100;
    let suffix = if number < 2 { String::new() } else { format!("-{number}") };
    let room = LONGEST.saturating_sub(suffix.len());
    id.chars().take(room).chain(suffix.chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_with_a_number_is_still_an_id() {
        assert_eq!((job_id("a", 1), job_id("a", 2)), ("a".into(), "a-2".into()));
        let long = job_id(&"x".repeat(120), 12);
        assert!(long.len() == 100 && long.ends_with("x-12"), "{long}");
    }
}
