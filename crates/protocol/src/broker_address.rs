//! [`BrokerAddress`]: where a message broker is.

use std::fmt;

use advice::{Advise, Help};
use percent_encoding::percent_decode_str;
use safetext::Secret;

/// Where a broker is, and who we are there: `amqps://user:password@host:5671/vhost`, as in `RabbitMQ`'s URI specification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerAddress {
    /// Whether the connection is encrypted.
    pub is_tls: bool,
    /// Host name, or IP address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// User and password; `None` if the address has none.
    pub login: Option<(String, Secret)>,
    /// The broker's virtual host; `/` unless the address names one.
    pub virtual_host: String,
}

/// Reason why an address cannot be used. The password is never part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BrokerAddressError {
    /// Another scheme.
    #[error("it does not begin with amqps:// or amqp://")]
    Scheme,
    /// No host, or not one.
    #[error("there is no host name in it")]
    Host,
    /// Not a port.
    #[error("its port is not a number from 1 to 65535")]
    Port,
    /// Not decodable, or longer than the protocol allows.
    #[error("its user, password or virtual host is longer than 255 bytes, or not encoded as in an address")]
    Part,
    /// A character that ends the part before the host, if it is not encoded.
    #[error("its user or password has a `{0}` that is not encoded")]
    Unencoded(char),
    /// Something after the virtual host.
    #[error("there is more in it than user, host, port and virtual host")]
    Rest,
}

impl Advise for BrokerAddressError {
    fn help(&self) -> Help {
        match self {
            Self::Scheme => "begin it with amqps:// or amqp://".into(),
            Self::Unencoded('/') => "write %2F for it".into(),
            Self::Unencoded('?') => "write %3F for it".into(),
            Self::Unencoded(_) => "write %23 for it".into(),
            _ => "write it as amqps://user:password@ci.example/vhost, with special characters encoded: %40 for @, %25 for %".into(),
        }
    }
}

impl BrokerAddress {
    /// Reads an address.
    ///
    /// # Errors
    /// See [`BrokerAddressError`].
    pub fn parse(text: &str) -> Result<Self, BrokerAddressError> {
        let (is_tls, rest) = match (text.strip_prefix("amqps://"), text.strip_prefix("amqp://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(BrokerAddressError::Scheme),
        };
        let login = rest.rsplit_once('@').map_or("", |(login, _)| login);
        if let Some(char) = login.chars().find(|char| ['/', '?', '#'].contains(char)) {
            return Err(BrokerAddressError::Unencoded(char));
        }
        if rest.contains(['?', '#']) || rest.chars().any(|char| char.is_whitespace() || char.is_control()) {
            return Err(BrokerAddressError::Rest);
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, authority),
        };
        let login = user.map(|user| {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            Ok((decoded(name)?, Secret::new(decoded(password)?)))
        });
        let (host, port) = host_and_port(place)?;
        let virtual_host = if path.is_empty() { "/".to_owned() } else { decoded(path)? };
        Ok(Self {
            is_tls,
            host,
            port: port.unwrap_or(if is_tls { 5671 } else { 5672 }),
            login: login.transpose()?,
            virtual_host,
        })
    }
}

fn host_and_port(place: &str) -> Result<(String, Option<u16>), BrokerAddressError> {
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').ok_or(BrokerAddressError::Port)?)),
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b".-:_%".contains(&byte);
    if host.is_empty() || host.len() > 255 || !host.bytes().all(good) {
        return Err(BrokerAddressError::Host);
    }
    let number = |port: &str| port.parse().ok().filter(|port| *port > 0).ok_or(BrokerAddressError::Port);
    Ok((host.to_owned(), port.map(number).transpose()?))
}

fn decoded(text: &str) -> Result<String, BrokerAddressError> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| BrokerAddressError::Part)?;
    if text.len() > 255 || text.contains('\0') { Err(BrokerAddressError::Part) } else { Ok(text.into_owned()) }
}

/// Without user and password, for people.
impl fmt::Display for BrokerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "amqps" } else { "amqp" };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{}{close}:{}", self.host, self.port)?;
        if self.virtual_host == "/" { Ok(()) } else { write!(f, "/{}", safetext::printable(&self.virtual_host)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_rabbitmq_documents_them() -> Result<(), BrokerAddressError> {
        let all = BrokerAddress::parse("amqps://user:p%40ss%3A@host.example:10000/v%2fhost")?;
        assert_eq!(
            (all.is_tls, all.host.as_str(), all.port, all.virtual_host.as_str()),
            (true, "host.example", 10000, "v/host")
        );
        let (user, password) = all.login.clone().unwrap_or((String::new(), Secret::new("")));
        assert_eq!((user.as_str(), password.reveal()), ("user", "p@ss:"));
        assert_eq!(all.to_string(), "amqps://host.example:10000/v/host");
        for (text, shown) in [
            ("amqp://127.0.0.1", "amqp://127.0.0.1:5672"),
            ("amqps://host/", "amqps://host:5671"),
            ("amqp://[::1]:5", "amqp://[::1]:5"),
            ("amqp://guest@host", "amqp://host:5672"),
        ] {
            assert_eq!(BrokerAddress::parse(text)?.to_string(), shown);
        }
        Ok(())
    }

    #[test]
    fn mistakes_are_told_without_the_password() {
        for (text, error) in [
            ("https://host", BrokerAddressError::Scheme),
            ("amqp://", BrokerAddressError::Host),
            ("amqp://a:b@/v", BrokerAddressError::Host),
            ("amqp://ho$t", BrokerAddressError::Host),
            ("amqp://host:0", BrokerAddressError::Port),
            ("amqp://host:99999", BrokerAddressError::Port),
            ("amqp://[::1]x", BrokerAddressError::Port),
            ("amqp://a:%ff@host", BrokerAddressError::Part),
            ("amqp://host/v?heartbeat=5", BrokerAddressError::Rest),
            ("amqp://ho st", BrokerAddressError::Rest),
            ("amqp://a:b#c@host", BrokerAddressError::Unencoded('#')),
            ("amqp://a:b/c@host/v", BrokerAddressError::Unencoded('/')),
        ] {
            assert_eq!(BrokerAddress::parse(text), Err(error), "{text}");
        }
    }
}
