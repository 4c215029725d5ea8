//! [`Location`]: a bucket and a prefix in it, as users write it.

use std::fmt;

use ureq::http::Uri;

use crate::error::S3Error;

/// A bucket with the server that has it, and the prefix of all keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// Address of the server, without a slash at the end.
    pub endpoint: String,
    /// Name of the bucket.
    pub bucket: String,
    /// Prefix of all keys: empty, or with a slash at the end.
    pub prefix: String,
    /// Region that requests are signed for.
    pub region: String,
}

/// Region that most servers other than Amazon's expect.
const REGION: &str = "us-east-1";

/// Longest prefix in bytes; a key may have 1024.
const LONGEST_PREFIX: usize = 800;

impl Location {
    /// Parses an address:
    ///
    /// - `s3://BUCKET/PREFIX`, with the server and region given by `environment`, which is asked for `AWS_ENDPOINT_URL_S3`,
    ///   `AWS_ENDPOINT_URL`, `AWS_REGION` and `AWS_DEFAULT_REGION`; without a server, Amazon's of the region;
    /// - the same with `?endpoint=https://HOST:PORT&region=REGION`;
    /// - `s3+https://HOST:PORT/BUCKET/PREFIX`, or `s3+http`.
    ///
    /// # Errors
    ///
    /// If the text is not such an address.
    pub fn parse(text: &str, environment: impl Fn(&str) -> Option<String>) -> Result<Self, S3Error> {
        let wrong = |why: &'static str| S3Error::Address { given: safetext::redacted(text).into_owned(), why };
        let variable = |name: &str| environment(name).filter(|value| !value.trim().is_empty());
        let region = || variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
        let (scheme, rest) = text.trim().split_once("://").ok_or_else(|| wrong("it does not begin with s3://"))?;
        let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, query)| (rest, query));
        let (mut endpoint, mut given_region) = (None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("endpoint", value)) => endpoint = Some(value.to_owned()),
                Some(("region", value)) if !value.is_empty() => given_region = Some(value.to_owned()),
                _ => return Err(wrong("after `?` only endpoint= and region= are known")),
            }
        }
        let path = match scheme {
            "s3" => rest,
            "s3+https" | "s3+http" => {
                let (host, path) = rest.split_once('/').ok_or_else(|| wrong("it names no bucket"))?;
                endpoint = Some(format!("{}://{host}", &scheme["s3+".len()..]));
                path
            }
            _ => return Err(wrong("it does not begin with s3://, s3+https:// or s3+http://")),
        };
        let region = given_region.or_else(region).unwrap_or_else(|| REGION.to_owned());
        let plain = region.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if !plain {
            return Err(wrong("its region has other characters than letters, digits, - and _"));
        }
        let endpoint = endpoint
            .or_else(|| variable("AWS_ENDPOINT_URL_S3"))
            .or_else(|| variable("AWS_ENDPOINT_URL"))
            .unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
        let endpoint = checked_endpoint(&endpoint).map_err(wrong)?;
        let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
        if !is_bucket(bucket) {
            return Err(wrong("a bucket's name has 3 to 63 lower case letters, digits, dots and hyphens"));
        }
        let prefix = prefix.trim_matches('/');
        let odd = prefix.split('/').any(|part| part.is_empty() || part == "." || part == "..");
        if prefix.len() > LONGEST_PREFIX || prefix.chars().any(char::is_control) || odd && !prefix.is_empty() {
            return Err(wrong("its prefix has an empty part, `.`, `..` or a control character, or is too long"));
        }
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self { endpoint, bucket: bucket.to_owned(), prefix, region })
    }

    /// Whether a text is meant to be such an address.
    pub fn is_meant(text: &str) -> bool {
        ["s3:", "s3+http:", "s3+https:"].iter().any(|scheme| text.trim_start().starts_with(scheme))
    }
}

/// As users see it: without the region.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A server behind a path is not told from a bucket otherwise.
        if self.endpoint.split('/').nth(3).is_some() {
            return write!(f, "s3://{}/{}?endpoint={}", self.bucket, self.prefix, self.endpoint);
        }
        write!(f, "s3+{}/{}/{}", self.endpoint, self.bucket, self.prefix)
    }
}

/// The address of a server without what clients leave out: the default port, a slash at the end.
fn checked_endpoint(text: &str) -> Result<String, &'static str> {
    let uri: Uri = text.trim().parse().map_err(|_| "its endpoint is not an address")?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err("its endpoint is not an address like https://storage.example:9000");
    };
    if authority.as_str().contains('@') {
        return Err(
            "its endpoint has a user name in it: keys are given by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        );
    }
    if uri.query().is_some() || !matches!(scheme, "http" | "https") || authority.host().is_empty() {
        return Err("its endpoint is not an address like https://storage.example:9000");
    }
    let default = match scheme {
        "https" => Some(443),
        _ => Some(80),
    };
    let host = if authority.port_u16() == default { authority.host() } else { authority.as_str() };
    Ok(format!("{scheme}://{}{}", host.to_ascii_lowercase(), uri.path().trim_end_matches('/')))
}

fn is_bucket(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
    (3..=63).contains(&name.len()) && name.bytes().all(good) && !name.contains("..") && !name.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<String, S3Error> {
        let environment = |name: &str| (name == "AWS_ENDPOINT_URL").then(|| "https://minio.example:443/".to_owned());
        Location::parse(text, environment)
            .map(|found| format!("{} {} {} {}", found.endpoint, found.bucket, found.prefix, found.region))
    }

    #[test]
    fn addresses_as_users_write_them() -> Result<(), S3Error> {
        for (text, expected) in [
            ("s3://results", "https://minio.example results  us-east-1"),
            ("s3://results/lab/7/", "https://minio.example results lab/7/ us-east-1"),
            ("s3://results/lab?endpoint=http://[::1]:9000&region=lab", "http://[::1]:9000 results lab/ lab"),
            ("s3+https://Storage.example/results", "https://storage.example results  us-east-1"),
            ("s3+http://127.0.0.1:9005/results/a", "http://127.0.0.1:9005 results a/ us-east-1"),
        ] {
            assert_eq!(parse(text)?, expected, "{text}");
        }
        let amazon = Location::parse("s3://results", |name| (name == "AWS_REGION").then(|| "eu-west-1".to_owned()))?;
        assert_eq!(amazon.endpoint, "https://s3.eu-west-1.amazonaws.com");
        assert_eq!(amazon.to_string(), "s3+https://s3.eu-west-1.amazonaws.com/results/");
        Ok(())
    }

    #[test]
    fn what_is_wrong_with_an_address_is_said() {
        for (text, why) in [
            ("results", "does not begin"),
            ("http://results", "does not begin"),
            ("s3://", "a bucket's name"),
            ("s3://Results", "a bucket's name"),
            ("s3+https://storage.example", "names no bucket"),
            ("s3://results?versions=1", "only endpoint= and region="),
            ("s3://results?endpoint=storage.example", "endpoint"),
            ("s3+https://me:s3cret@storage.example/results", "AWS_ACCESS_KEY_ID"),
            ("s3://results/a//b", "prefix"),
            ("s3://results/../b", "prefix"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains("s3cret"), "{text}: {error}");
        }
    }

    #[test]
    fn a_server_behind_a_path_stays_one() -> Result<(), S3Error> {
        let text = "s3://results/a/?endpoint=https://storage.example/s3";
        let found = Location::parse(text, |_| None)?;
        assert_eq!((found.to_string(), found.endpoint.as_str()), (text.to_owned(), "https://storage.example/s3"));
        Ok(())
    }

    proptest! {
        #[test]
        fn what_is_shown_is_the_same_place(prefix in "[a-z]{0,3}(/[a-z+@ ü]{1,5}){0,2}", port in 1_u16..) {
            let first = Location::parse(&format!("s3+http://storage.example:{port}/results/{prefix}"), |_| None);
            if let Ok(first) = first {
                prop_assert_eq!(Location::parse(&first.to_string(), |_| None).ok(), Some(first));
            }
        }
    }
}
