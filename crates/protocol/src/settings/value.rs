//! [`ValueKind`]: the kinds of values that settings have.

use std::net::IpAddr;

use advice::{Advice, Advise as _, Help};

use crate::{BrokerAddress, Hours, Span};

/// The kind of values that a setting has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// One label of a host name (RFC 1123, section 2.1).
    HostName,
    /// An http or https address.
    Url,
    /// A bearer token (RFC 6750, section 2.1).
    Token,
    /// Text of a PEM file (RFC 7468), or its path.
    Authority,
    /// Text of a PEM file with a private key (RFC 7468), or its path.
    PrivateKey,
    /// An address of a message broker.
    Broker,
    /// An address of a bucket.
    Storage,
    /// Part of a key.
    Secret,
    /// A name of an architecture or a backend of debci.
    Name,
    /// Yes or no.
    Bool,
    /// A list of words.
    Words,
    /// IP addresses.
    Addresses,
    /// Values of the kernel's parameter `ip=`.
    Links,
    /// A time span, or `off`.
    SpanOrOff,
    /// A time span.
    Span,
    /// Times of the week.
    Hours,
    /// A number of seconds.
    Seconds,
    /// A number from 1 to 64.
    Count,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Targets of GPUs.
    Gpus,
    /// An amount of memory in the format of tmpfs(5).
    Memory,
    /// 64 hexadecimal digits.
    Sha256,
    /// Text that is not empty.
    Text,
}

/// How a certificate or key can be given.
const PEM: &str = "give an absolute path, or the text of the PEM file itself";

/// Parses yes or no in any usual form; an empty value is yes.
pub fn parse_bool(value: &str) -> Option<bool> {
    match value {
        "" | "yes" | "true" | "1" | "on" => Some(true),
        "no" | "false" | "0" | "off" => Some(false),
        _ => None,
    }
}

/// The words of a list with commas.
pub fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|word| !word.is_empty())
}

impl ValueKind {
    /// The format of a value, in Markdown.
    pub fn form(self) -> String {
        match self {
            Self::HostName => "letters, digits and `-`".into(),
            Self::Url => "address, `http://` or `https://`".into(),
            Self::Token | Self::Secret => "text without blanks".into(),
            Self::Authority | Self::PrivateKey => "path of a PEM file, or its text".into(),
            Self::Broker => "address, `amqps://` or `amqp://`".into(),
            Self::Storage => "address, `s3+https://` or `s3+http://`".into(),
            Self::Name => "letters, digits, `.`, `_` and `-`".into(),
            Self::Bool => "yes or no".into(),
            Self::Words => "words".into(),
            Self::Addresses => "IP addresses".into(),
            Self::Links => "`ip=` words".into(),
            Self::SpanOrOff => "time (`90s`, `2m`), or `off`".into(),
            Self::Span => "time (`90s`, `2m`)".into(),
            Self::Hours => "times of the week: `22:00-07:00`, `Mon..Fri 20:00-07:00; Sat,Sun`".into(),
            Self::Seconds => "seconds".into(),
            Self::OneOf(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or "),
            Self::Gpus => "targets: `gfx1030,gfx942`".into(),
            Self::Memory => "`4G`, `50%`".into(),
            Self::Count => "number".into(),
            Self::Sha256 => "64 hexadecimal digits".into(),
            Self::Text => "text".into(),
        }
    }

    /// Whether the whole value is a secret. An address may have one as a part, and a key may be the path of a file.
    pub fn is_secret(self) -> bool {
        matches!(self, Self::Token | Self::Secret)
    }

    /// Whether a file may have an array of strings as the value.
    pub fn is_list(self) -> bool {
        self.has_commas() || self == Self::Links
    }

    /// Whether one string may have several words, with commas between. `ip=` words have commas of their own.
    pub fn has_commas(self) -> bool {
        matches!(self, Self::Words | Self::Addresses | Self::Gpus)
    }

    /// Checks a value; a list has commas between its words.
    ///
    /// # Errors
    /// What is wrong with it, and what would be right. A secret is not part of that.
    pub(super) fn check(self, value: &str) -> Result<(), Advice> {
        let unless = |good: bool, problem: &str, help: Help| {
            if good { Ok(()) } else { Err(Advice::new(format!("`{}` {problem}", safetext::redacted(value)), help)) }
        };
        let other = |error: &dyn std::error::Error| Advice::new(error.to_string(), Help::none());
        let number = || value.parse::<u64>().is_ok();
        match self {
            Self::HostName => {
                unless(is_host_name(value), "is not a host name", "use letters, digits and -, at most 63".into())
            }
            Self::Url => unless(is_url(value), "is not an address", "begin it with http:// or https://".into()),
            // It is told without the value.
            Self::Token | Self::Secret if is_token(value) => Ok(()),
            Self::Token => {
                let what = "it is empty, or has blanks or other characters that no token has";
                Err(Advice::new(what, "copy it from the hub's first lines"))
            }
            Self::Authority if is_authority(value) => Ok(()),
            Self::Authority => {
                let what = format!("`{}` is not a certificate", value.lines().next().unwrap_or_default());
                Err(Advice::new(what, PEM))
            }
            // It is told without the value.
            Self::PrivateKey if is_private_key(value) => Ok(()),
            Self::PrivateKey => Err(Advice::new("it is not a private key", PEM)),
            // It is told without the value, which may have a password.
            Self::Broker => match BrokerAddress::parse(value) {
                Ok(_) => Ok(()),
                Err(error) => Err(Advice::new(error.to_string(), error.help())),
            },
            // The appliance has no environment: all is in the address.
            Self::Storage => match s3::Location::parse(value, |_| None) {
                Ok(_) => Ok(()),
                Err(error) => Err(Advice::new(error.to_string(), "write it as s3+https://HOST:PORT/BUCKET/PREFIX")),
            },
            // It is told without the value.
            Self::Secret => Err(Advice::new(
                "it is empty, or there are blanks or other strange characters in it",
                "copy it from where the key was made",
            )),
            Self::Name => unless(is_name(value), "is not a name", "use letters, digits, `.`, `_` and `-`".into()),
            Self::Bool => unless(parse_bool(value).is_some(), "is neither yes nor no", Help::none()),
            Self::Words => Ok(()),
            Self::Addresses => match list(value).find(|word| word.parse::<IpAddr>().is_err()) {
                Some(word) => Err(Advice::new(format!("`{word}` is not an IP address"), Help::none())),
                None => Ok(()),
            },
            Self::SpanOrOff if parse_bool(value) == Some(false) => Ok(()),
            Self::Span | Self::SpanOrOff => value.parse::<Span>().map(drop).map_err(|error| other(&error)),
            Self::Hours => value.parse::<Hours>().map(drop).map_err(|error| {
                Advice::new(error.to_string(), "write 22:00-07:00, or Mon..Fri 20:00-07:00; Sat,Sun, in UTC or with an offset as +01:00 at the end")
            }),
            Self::Seconds => unless(number(), "is not a number of seconds", Help::none()),
            Self::Count => {
                let is_count = value.parse().is_ok_and(|number: u32| (1..=64).contains(&number));
                unless(is_count, "is not a number from 1 to 64", Help::none())
            }
            Self::OneOf(words) => {
                let problem = format!("is neither {}", self.form().replace(" or ", " nor "));
                unless(words.contains(&value), &problem, Help::none())
            }
            Self::Gpus => {
                let told = |error: gpu::SimulateError| Advice::new(error.to_string(), error.help());
                gpu::simulate(value).map(drop).map_err(told)
            },
            Self::Sha256 => value.parse::<sha256::Digest>().map(drop).map_err(|error| other(&error)),
            Self::Links | Self::Memory | Self::Text => {
                if value.trim().is_empty() {
                    Err(Advice::new("it has no value", Help::none()))
                } else {
                    Ok(())
                }
            }
        }
    }
}

fn is_host_name(value: &str) -> bool {
    let inner = |char: char| char.is_ascii_alphanumeric() || char == '-';
    !value.is_empty() && value.len() <= 63 && value.chars().all(inner) && !value.starts_with('-')
}

/// Without line ends, as it becomes part of apt's sources.
fn is_url(value: &str) -> bool {
    let scheme = value.starts_with("http://") || value.starts_with("https://");
    scheme && !value.chars().any(|char| char.is_whitespace() || char.is_control())
}

fn is_token(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_name(value: &str) -> bool {
    let inner = |char: char| char.is_ascii_alphanumeric() || "._-".contains(char);
    !value.is_empty() && value.len() <= 63 && value.chars().all(inner) && !value.starts_with(['-', '.'])
}

fn is_private_key(value: &str) -> bool {
    let text = value.trim_start();
    value.starts_with('/') || (text.starts_with("-----BEGIN ") && text.contains("PRIVATE KEY-----"))
}

fn is_authority(value: &str) -> bool {
    value.starts_with('/') || value.trim_start().starts_with("-----BEGIN CERTIFICATE-----")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_or_told() {
        let url = ValueKind::Url;
        for (kind, good, bad) in [
            (ValueKind::HostName, "gpu-7", "two words"),
            (url, "https://hub.example:8420/x", "hub.example"),
            (url, "http://a", "http://a b"),
            (ValueKind::Token, "join-abc123", "se cret"),
            (ValueKind::Authority, "/etc/ca.pem", "ca.pem"),
            (ValueKind::PrivateKey, "-----BEGIN EC PRIVATE KEY-----\n", "-----BEGIN CERTIFICATE-----\n"),
            (ValueKind::Broker, "amqps://me:x@ci.example/debci", "https://ci.example"),
            (ValueKind::Storage, "s3+https://storage.example/results/ci", "https://storage.example/results"),
            (ValueKind::Secret, "AKIA0/+x", "a b"),
            (ValueKind::Name, "incus-lxc", "-x"),
            (ValueKind::Bool, "on", "perhaps"),
            (ValueKind::Addresses, "1.2.3.4, ::1", "1.2.3.4,x"),
            (ValueKind::Links, "dhcp", ""),
            (ValueKind::SpanOrOff, "off", "soon"),
            (ValueKind::SpanOrOff, "90s", "0s"),
            (ValueKind::Span, "10m", "off"),
            (ValueKind::Hours, "Sat,Sun 08:00-20:00", "weekend"),
            (ValueKind::Seconds, "0", "-1"),
            (ValueKind::Count, "8", "0"),
            (ValueKind::OneOf(&["wait", "power-off"]), "wait", "dance"),
            (ValueKind::Gpus, "gfx1030,gfx942", "gfx"),
            (ValueKind::Memory, "50%", " "),
        ] {
            assert_eq!(kind.check(good), Ok(()), "{kind:?}");
            assert!(kind.check(bad).is_err(), "{kind:?}: {bad}");
        }
        assert_eq!(ValueKind::OneOf(&["a", "b"]).check("c").unwrap_err().what, "`c` is neither `a` nor `b`");
        let refused = ValueKind::Url.check("hub.example").unwrap_err();
        assert_eq!(refused.in_one_line(), "`hub.example` is not an address; begin it with http:// or https://");
    }

    #[test]
    fn an_address_of_storage_is_checked_whole() {
        for (address, says) in [
            ("s3+https://storage.example", "it names no bucket"),
            ("s3+https://storage.example/Results/ci", "a bucket's name has"),
            ("s3+https://storage.example/results/../x", "its prefix has"),
            ("s3+https://key:sesame@storage.example/x", "is not an address"),
        ] {
            let problem = ValueKind::Storage.check(address).unwrap_err().in_one_line();
            assert!(problem.contains(says) && problem.ends_with("s3+https://HOST:PORT/BUCKET/PREFIX"), "{problem}");
            assert!(!problem.contains("sesame"), "{problem}");
        }
    }

    #[test]
    fn a_token_is_never_told() {
        assert!(!ValueKind::Token.check("se cret").unwrap_err().in_one_line().contains("se cret"));
        let problem = ValueKind::Url.check("http://me:se cret@hub").unwrap_err().in_one_line();
        assert!(!problem.contains("me:se"), "{problem}");
        let problem = ValueKind::Broker.check("amqp://me:se cret@broker").unwrap_err().in_one_line();
        assert!(!problem.contains("cret"), "{problem}");
        assert!(!ValueKind::Secret.check("se cret").unwrap_err().in_one_line().contains("cret"));
        assert!(!ValueKind::PrivateKey.check("se cret").unwrap_err().in_one_line().contains("cret"));
    }
}
