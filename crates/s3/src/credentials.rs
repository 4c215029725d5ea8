//! [`Credentials`]: a key of the storage.

use safetext::Secret;

use crate::error::S3Error;

/// A key with its secret. `Debug` does not show the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Id of the key, which is not secret.
    pub key_id: String,
    /// The secret that requests are signed with.
    pub secret: Secret,
    /// Token of a temporary key.
    pub session: Option<Secret>,
}

impl Credentials {
    /// A lasting key.
    pub fn new(key_id: impl AsRef<str>, secret: impl AsRef<str>) -> Self {
        Self { key_id: key_id.as_ref().trim().to_owned(), secret: Secret::new(secret), session: None }
    }

    /// The key in `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, if it is set, `AWS_SESSION_TOKEN`.
    ///
    /// # Errors
    ///
    /// If one of the first two is not set.
    pub fn from_environment(environment: impl Fn(&str) -> Option<String>) -> Result<Self, S3Error> {
        let variable = |name: &str| environment(name).filter(|value| !value.trim().is_empty());
        let needed = |name: &'static str| variable(name).ok_or(S3Error::NoCredentials(name));
        let mut found = Self::new(needed("AWS_ACCESS_KEY_ID")?, needed("AWS_SECRET_ACCESS_KEY")?);
        found.session = variable("AWS_SESSION_TOKEN").map(Secret::new);
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_the_environment_is_complete_and_not_shown() -> Result<(), S3Error> {
        let one = |name: &str| (name == "AWS_ACCESS_KEY_ID").then(|| "id".to_owned());
        let error = Credentials::from_environment(one).unwrap_err();
        assert!(error.to_string().contains("AWS_SECRET_ACCESS_KEY"), "{error}");
        let all = |name: &str| Some(format!("s3cret-{name}"));
        let found = Credentials::from_environment(all)?;
        assert_eq!(found.secret.reveal(), "s3cret-AWS_SECRET_ACCESS_KEY");
        assert!(!format!("{found:?}").contains("s3cret-AWS_SE"), "{found:?}");
        Ok(())
    }
}
