//! Tokens: 256 random bits with a prefix for their purpose. The database has only their SHA-256; they are random enough
//! that a slow hash would add nothing.

use sha256::Digest;

use crate::error::HubError;

/// Holder of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Who {
    /// Users: everything is allowed.
    Admin,
    /// Machines that want to become workers: only registering is allowed.
    Join,
    /// One worker: its id.
    Worker(String),
}

/// Random bytes as hexadecimal digits.
pub(crate) fn random_hex<const BYTES: usize>() -> Result<String, HubError> {
    let mut bytes = [0_u8; BYTES];
    getrandom::fill(&mut bytes)
        .map_err(|error| HubError::System { what: "random numbers", reason: error.to_string() })?;
    Ok(hex::encode(bytes))
}

/// Creates a token: `rocbed-admin-` and 64 digits.
pub(crate) fn new_token(kind: &str) -> Result<String, HubError> {
    Ok(format!("rocbed-{kind}-{}", random_hex::<32>()?))
}

/// SHA-256 of a token.
pub(crate) fn hash(token: &str) -> Digest {
    Digest::of(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_say_what_they_are_for() -> Result<(), HubError> {
        let (one, two) = (new_token("join")?, new_token("join")?);
        assert!(one.starts_with("rocbed-join-") && one.len() == 12 + 64, "{one}");
        assert!(one != two && hash(&one) != hash(&two));
        Ok(())
    }
}
