//! [`Bucket`]: a connection to a bucket.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use transfer::tls;
use ureq::Agent;

use crate::address::Location;
use crate::credentials::Credentials;
use crate::error::S3Error;
use crate::request::Request;

/// Tells the time; requests are signed with it.
pub type Clock = fn() -> Timestamp;

/// Options of a connection.
#[derive(Debug, Clone)]
pub struct Options {
    /// PEM file of an authority to trust besides the system's. None.
    pub ca_file: Option<PathBuf>,
    /// Attempts for each request. 8, which takes about half a minute with the pauses.
    pub attempts: u32,
    /// The first pause; each further one is twice as long. 250 ms.
    pub first_pause: Duration,
    /// The longest pause. 15 s.
    pub longest_pause: Duration,
    /// Timeout for an answer, and for each further piece of data. 60 s.
    pub timeout: Duration,
    /// Largest file that is put with one request, in bytes. 64 MiB.
    pub single_limit: u64,
    /// Length of a part of a larger file, in bytes; servers accept no less than 5 MiB. Longer if there would be more than
    /// 10,000 parts. 16 MiB.
    pub part_size: u64,
    /// The clock. The system's.
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ca_file: None,
            attempts: 8,
            first_pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(15),
            timeout: Duration::from_secs(60),
            single_limit: 64 << 20,
            part_size: 16 << 20,
            clock: Timestamp::now,
        }
    }
}

impl Options {
    /// The same with the authorities in `AWS_CA_BUNDLE`, if that is set and no others are given.
    #[must_use]
    pub fn with_environment(mut self, environment: impl Fn(&str) -> Option<String>) -> Self {
        let named = environment("AWS_CA_BUNDLE").filter(|value| !value.is_empty()).map(PathBuf::from);
        self.ca_file = self.ca_file.or(named);
        self
    }

    pub(crate) fn agent(&self) -> Result<Agent, S3Error> {
        // A request is signed for one server and path.
        let config = transfer::one_server(self.timeout, tls::trusting(self.ca_file.as_deref())?)
            .timeout_recv_response(Some(self.timeout));
        Ok(config.build().into())
    }
}

/// A connection to a bucket, or to what is below a prefix in it. Keys are relative to the prefix. Clones share
/// connections.
#[derive(Clone)]
pub struct Bucket {
    pub(crate) location: Location,
    pub(crate) credentials: Credentials,
    pub(crate) options: Options,
    pub(crate) agent: Agent,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket")
            .field("location", &self.location)
            .field("credentials", &self.credentials)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Bucket {
    /// Prepares a connection to a bucket. Nothing is sent yet; see [`Bucket::check`].
    ///
    /// # Errors
    ///
    /// If the certificate authorities cannot be read.
    pub fn new(location: Location, credentials: Credentials, options: &Options) -> Result<Self, S3Error> {
        Ok(Self { location, credentials, agent: options.agent()?, options: options.clone() })
    }

    /// Prepares a connection with the key, and what else is missing, from the environment variables of this process.
    ///
    /// # Errors
    ///
    /// If the address is not valid, there is no key, or the certificate authorities cannot be read.
    pub fn open(address: &str, options: &Options) -> Result<Self, S3Error> {
        let environment = |name: &str| std::env::var(name).ok();
        let location = Location::parse(address, environment)?;
        Self::new(location, Credentials::from_environment(environment)?, &options.clone().with_environment(environment))
    }

    /// Where it is.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Asks the storage for a list of one object: whether it is there, has the bucket and accepts the key.
    ///
    /// # Errors
    ///
    /// If one of these does not hold.
    pub fn check(&self) -> Result<(), S3Error> {
        let mut request = Request::new("GET", "list", None);
        request.query =
            vec![("list-type", "2".into()), ("max-keys", "1".into()), ("prefix", self.location.prefix.clone())];
        self.send(&request).map(drop)
    }

    /// The full name of an object, for people.
    pub fn name(&self, key: &str) -> String {
        let place = self.location.to_string();
        match place.split_once('?') {
            Some((place, _)) => format!("{place}{key}"),
            None => format!("{place}{key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_not_shown() -> Result<(), S3Error> {
        let location = Location::parse("s3+http://127.0.0.1:9/results", |_| None)?;
        let bucket = Bucket::new(location, Credentials::new("id", "s3cret"), &Options::default())?;
        assert!(!format!("{bucket:?}").contains("s3cret"));
        Ok(())
    }
}
