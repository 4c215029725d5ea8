//! [`BundlePlace`]: names and addresses of result bundles in S3-compatible storage.

use sha256::Digest;

/// Longest part of a job's id in the name of an object.
const LONGEST_JOB: usize = 50;

/// How many digits of a bundle's digest its name has.
const DIGITS: usize = 16;

/// Where bundles will be found, for results that point to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundlePlace {
    /// Address of the machine's bundles, with a slash at the end.
    address: String,
}

impl BundlePlace {
    /// Bundles whose addresses begin with this one, which ends with a slash.
    pub(super) fn below(address: String) -> Self {
        Self { address }
    }

    /// The address of a job's bundle with this digest. It may not be there yet.
    pub fn of(&self, job: &str, bundle: Digest) -> String {
        format!("{}{}.tar.zst", self.address, name(job, bundle))
    }
}

/// The name of a job's bundle, without its ending: unique, as its digest is part of it.
pub(super) fn name(job: &str, bundle: Digest) -> String {
    let job: String = job.chars().take(LONGEST_JOB).collect();
    format!("{job}-{}", bundle.prefix(DIGITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_bundles_of_a_job_have_two_addresses() {
        let place = BundlePlace::below("s3+https://storage.example/lab/rack3/".into());
        let address = place.of("gzip", Digest::of("a"));
        assert_eq!(address, "s3+https://storage.example/lab/rack3/gzip-ca978112ca1bbdca.tar.zst");
        assert_ne!(place.of("gzip", Digest::of("b")), address);
        assert!(place.of(&"x".repeat(99), Digest::of("a")).len() < 130);
    }
}
