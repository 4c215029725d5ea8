//! The HTTP client: certificates, proxies, timeouts, and ureq's errors in our words.

use std::env;
use std::fs;
use std::io;
use std::path::PathBuf;

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Proxy, Timeout};

use crate::fetch::FetchOptions;
use crate::fetch::error::{FetchError, Problem};
use crate::fetch::resolver::RememberingResolver;

/// Where distributions keep the certificates of the authorities they trust, in one file.
const BUNDLES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt", // Debian, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",   // Fedora
    "/etc/ssl/ca-bundle.pem",             // openSUSE
];

/// How many redirections are followed.
const REDIRECTIONS: u32 = 8;

/// One agent for each scheme: each has its own proxy, and the one for https never leaves it.
#[derive(Debug)]
pub(crate) struct Client {
    http: Agent,
    https: Agent,
}

impl Client {
    pub(crate) fn new(options: &FetchOptions) -> Result<Self, FetchError> {
        let tls = TlsConfig::builder().root_certs(root_certificates()?).build();
        let agent = |https: bool, variables: &[&str]| -> Result<Agent, FetchError> {
            let config = Agent::config_builder()
                .https_only(https)
                .http_status_as_error(false)
                .max_redirects(REDIRECTIONS)
                .accept_encoding("identity")
                .user_agent(concat!("rocbed/", env!("CARGO_PKG_VERSION")))
                .max_idle_connections(options.parallel.saturating_mul(2))
                .max_idle_connections_per_host(options.parallel)
                .timeout_global(Some(options.total_timeout))
                .timeout_resolve(Some(options.connect_timeout))
                .timeout_connect(Some(options.connect_timeout))
                .timeout_recv_response(Some(options.idle_timeout))
                .timeout_per_read(Some(options.idle_timeout))
                .timeout_per_write(Some(options.idle_timeout))
                .proxy(proxy(variables)?)
                .tls_config(tls.clone());
            Ok(Agent::with_parts(config.build(), DefaultConnector::default(), RememberingResolver::default()))
        };
        Ok(Self {
            http: agent(false, &["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])?,
            https: agent(true, &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])?,
        })
    }

    /// Sends a GET request for `url`, from byte `offset` on.
    pub(crate) fn get(&self, url: &str, offset: u64) -> Result<ureq::http::Response<ureq::Body>, Problem> {
        let agent =
            if url.get(..8).is_some_and(|s| s.eq_ignore_ascii_case("https://")) { &self.https } else { &self.http };
        let mut request = agent.get(url);
        if offset > 0 {
            request = request.header("Range", format!("bytes={offset}-"));
        }
        request.call().map_err(problem)
    }
}

/// The authorities that the machine trusts. Without a bundle none are: plain http goes on working, https says why not.
fn root_certificates() -> Result<RootCerts, FetchError> {
    let path = match env::var_os("SSL_CERT_FILE").filter(|v| !v.is_empty()) {
        Some(path) => Some(PathBuf::from(path)),
        None => BUNDLES.iter().map(PathBuf::from).find(|path| path.exists()),
    };
    let Some(path) = path else { return Ok(RootCerts::new_with_certs(&[])) };
    let failed = |reason: String| FetchError::Certificates { path: path.clone(), reason };
    let pem = fs::read(&path).map_err(|e| failed(e.to_string()))?;
    let mut certificates: Vec<Certificate<'static>> = Vec::new();
    for item in ureq::tls::parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|e| failed(e.to_string()))? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        return Err(failed("no certificate in it".to_owned()));
    }
    Ok(RootCerts::new_with_certs(&certificates))
}

/// The proxy in the first of these variables that is set. `no_proxy` names hosts that are asked directly.
fn proxy(variables: &[&str]) -> Result<Option<Proxy>, FetchError> {
    let set =
        |name: &&str| env::var(name).ok().filter(|value| !value.is_empty()).map(|value| (name.to_string(), value));
    let Some((variable, value)) = variables.iter().find_map(set) else { return Ok(None) };
    let excluded = ["no_proxy", "NO_PROXY"].iter().find_map(set).map(|(_, value)| value).unwrap_or_default();
    build_proxy(&value, &excluded).map(Some).map_err(|_| FetchError::Proxy { variable, value })
}

fn build_proxy(value: &str, excluded: &str) -> Result<Proxy, ureq::Error> {
    let plain = Proxy::new(value)?;
    let mut builder = Proxy::builder(plain.protocol()).host(plain.host()).port(plain.port());
    if let Some(name) = plain.username() {
        builder = builder.username(name);
    }
    if let Some(password) = plain.password() {
        builder = builder.password(password);
    }
    for host in excluded.split(',').map(str::trim).filter(|host| !host.is_empty()) {
        builder = builder.no_proxy(host);
    }
    builder.build()
}

/// An error of ureq's in our words.
fn problem(error: ureq::Error) -> Problem {
    use ureq::Error as E;
    match error {
        E::Timeout(t @ (Timeout::Resolve | Timeout::Connect)) => Problem::Unreachable(format!("timed out ({t})")),
        E::Timeout(t) => Problem::TimedOut(t.to_string()),
        E::HostNotFound => Problem::Unreachable("no such host".to_owned()),
        E::ConnectionFailed => Problem::Unreachable("no connection".to_owned()),
        E::ConnectProxyFailed(why) => Problem::Unreachable(format!("the proxy refused: {why}")),
        E::Io(e) => io_problem(e),
        E::BadUri(why) => Problem::BadUrl(why),
        E::Http(why) => Problem::BadUrl(why.to_string()),
        E::RequireHttpsOnly(to) => Problem::Redirection(format!("from https to {to}")),
        E::TooManyRedirects => Problem::Redirection(format!("more than {REDIRECTIONS} in a row")),
        E::RedirectFailed => Problem::Redirection("it leads nowhere".to_owned()),
        E::Tls(why) => Problem::Tls(why.to_owned()),
        E::Rustls(why) => Problem::Tls(why.to_string()),
        other => Problem::Broken(other.to_string()),
    }
}

/// As [`problem`], for errors while the body is read: ureq wraps its own in [`io::Error`].
pub(crate) fn io_problem(error: io::Error) -> Problem {
    use io::ErrorKind as K;
    let error = match error.downcast::<ureq::Error>() {
        Ok(inner) => return problem(inner),
        Err(error) => error,
    };
    let text = error.to_string();
    match error.kind() {
        K::ConnectionRefused | K::HostUnreachable | K::NetworkUnreachable | K::NetworkDown | K::AddrNotAvailable => {
            Problem::Unreachable(text)
        }
        K::TimedOut | K::WouldBlock => Problem::TimedOut(text),
        // A certificate that is refused arrives like this.
        K::InvalidData => Problem::Tls(text),
        // The resolver's errors have no kind of their own.
        _ if text.contains("lookup address") => Problem::Unreachable(text),
        _ => Problem::Broken(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_keeps_its_password_and_its_exceptions() {
        let proxy = build_proxy("http://me:secret@proxy.example:3128", "localhost, .example.org").unwrap();
        assert_eq!((proxy.host(), proxy.port()), ("proxy.example", 3128));
        assert_eq!((proxy.username(), proxy.password()), (Some("me"), Some("secret")));
        assert!(proxy.is_no_proxy(&"http://localhost/x".parse().unwrap()));
        assert!(proxy.is_no_proxy(&"http://deb.example.org/x".parse().unwrap()));
        assert!(!proxy.is_no_proxy(&"http://example.com/x".parse().unwrap()));
    }

    #[test]
    fn timeouts_and_refusals_are_told_apart() {
        let refused = problem(ureq::Error::Io(io::Error::from(io::ErrorKind::ConnectionRefused)));
        assert!(matches!(refused, Problem::Unreachable(_)));
        let idle = io::Error::other(ureq::Error::Timeout(Timeout::RecvBody));
        assert!(matches!(io_problem(idle), Problem::TimedOut(_)));
        let downgrade = problem(ureq::Error::RequireHttpsOnly("http://x/".into()));
        assert!(!downgrade.is_transient());
    }
}
