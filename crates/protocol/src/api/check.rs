//! Names that become part of file names and addresses.

/// An invalid value in a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Invalid {
    /// The field's name.
    pub field: &'static str,
    /// What is wrong with it, and what would be right.
    pub message: String,
}

/// Maximum length of an id in characters.
const LONGEST_ID: usize = 100;

/// Checks the id of a worker, of a start of an agent, or of a request: letters, digits and `. _ + - : @`, at most
/// 100, not beginning with a dot or a dash.
///
/// # Errors
/// If it is anything else; the error has the field's name.
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
