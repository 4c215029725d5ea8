//! Names that become part of file names and addresses.

/// A value in a request that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Invalid {
    /// The field's name.
    pub field: &'static str,
    /// What is wrong with it, and what would be right.
    pub message: String,
}

/// The most characters that an id has.
const LONGEST_ID: usize = 100;

/// Checks something that names a worker, a start of an agent, or a request: letters, digits and `. _ + - : @`, at most
/// 100, not beginning with a dot or a dash.
///
/// # Errors
/// With the field's name, if it is something else.
pub fn check_id(field: &'static str, id: &str) -> Result<(), Invalid> {
    let allowed = |char: char| char.is_ascii_alphanumeric() || "._+-:@".contains(char);
    if !id.is_empty() && id.len() <= LONGEST_ID && id.chars().all(allowed) && !id.starts_with(['.', '-']) {
        return Ok(());
    }
    let message = format!("`{id}` is not made of letters, digits and . _ + - : @ (1 to {LONGEST_ID} of them)");
    Err(Invalid { field, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_leave_a_directory_is_no_id() {
        for good in ["rocbed-123456", "a", "00:11:22", "x@y+z_1.2"] {
            assert_eq!(check_id("id", good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "-x", "a b", "<b>", "é", &"x".repeat(101)] {
            assert!(check_id("id", bad).is_err(), "{bad}");
        }
    }
}
