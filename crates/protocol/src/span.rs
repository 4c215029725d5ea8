//! [`Span`]: a time span as people write it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::SpanError;

/// A time span: `2h`, `90m`, `1h30m`, `45s`, `1d`, or a number of seconds. Written with units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

/// The longest valid span: no test runs for a month, so more is a typo.
const LONGEST: u64 = 31 * 86_400;

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

impl Span {
    /// A number of seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let wrong = || SpanError::Malformed(text.to_owned());
        let (mut total, mut number) = (0_u64, String::new());
        for char in text.trim().chars() {
            if char.is_ascii_digit() {
                number.push(char);
                continue;
            }
            let unit = UNITS.iter().find(|(name, _)| *name == char).map(|(_, seconds)| *seconds).ok_or_else(wrong)?;
            let count: u64 = number.parse().map_err(|_| wrong())?;
            total = count.checked_mul(unit).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
            number.clear();
        }
        if !number.is_empty() {
            // A bare number is seconds, but not after units: `1h30` could be minutes.
            if total != 0 {
                return Err(wrong());
            }
            total = number.parse().map_err(|_| wrong())?;
        } else if text.trim().is_empty() {
            return Err(wrong());
        }
        match total {
            0 => Err(SpanError::Zero(text.to_owned())),
            1..=LONGEST => Ok(Self::seconds(total)),
            _ => Err(SpanError::TooLong(text.to_owned())),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0.as_secs();
        if left == 0 {
            return f.write_str("0s");
        }
        for (name, seconds) in UNITS {
            if left >= seconds {
                write!(f, "{}{name}", left / seconds)?;
                left %= seconds;
            }
        }
        Ok(())
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time span such as \"2h\", or a number of seconds")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Span, E> {
                seconds.to_string().parse().map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Span, E> {
                seconds.to_string().parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl schemars::JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A time span: `2h`, `90m`, `1h30m`, or a number of seconds.",
            "anyOf": [
                { "type": "string", "pattern": "^([0-9]+|([0-9]+[dhms])+)$" },
                { "type": "integer", "minimum": 1, "maximum": LONGEST }
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn as_people_write_it() {
        let table = [("2h", 7200), ("90m", 5400), ("1h30m", 5400), ("45s", 45), ("1d", 86_400), ("600", 600)];
        for (text, seconds) in table {
            assert_eq!(text.parse(), Ok(Span::seconds(seconds)), "{text}");
        }
        for wrong in ["", "0", "h", "2 hours", "-1", "1h30", "99999999999999999999s", "400d"] {
            assert!(wrong.parse::<Span>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn reads_what_it_wrote(seconds in 1..=LONGEST) {
            let span = Span::seconds(seconds);
            prop_assert_eq!(span.to_string().parse(), Ok(span));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9dhms -]{0,20}") {
            let _ = text.parse::<Span>();
        }
    }
}
