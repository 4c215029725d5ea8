//! The HTTP client: certificates, proxies, timeouts, and the conversion of ureq's errors.

use std::io;
use std::sync::Arc;

use ureq::{Agent, Timeout};

use crate::fetch::FetchOptions;
use crate::fetch::connector::Router;
use crate::fetch::error::{FetchError, Problem};
use crate::fetch::proxy::{BadProxy, Proxies};
use crate::fetch::settings::{FetchSettings, REDIRECTIONS};

/// One agent for each scheme: the https agent never leaves https.
#[derive(Debug)]
pub(crate) struct Client {
    http: Agent,
    https: Agent,
    proxies: Arc<Proxies>,
}

impl Client {
    pub(crate) fn new(options: &FetchOptions) -> Result<Self, FetchError> {
        let tls = transfer::tls::trusting(None)
            .map_err(|error| FetchError::Certificates { path: error.path, reason: error.error.to_string() })?;
        let proxies = Arc::new(options.proxies.clone());
        let agent = |https_only: bool| {
            let settings = FetchSettings { https_only, options: options.clone(), tls: tls.clone() };
            let (config, router) = (settings.config(None), Router::new(settings, Arc::clone(&proxies)));
            Agent::with_parts(config, router.clone(), router)
        };
        Ok(Self { http: agent(false), https: agent(true), proxies })
    }

    /// Sends a GET request for `url`, from byte `offset` on.
    pub(crate) fn get(&self, url: &str, offset: u64) -> Result<ureq::http::Response<ureq::Body>, Problem> {
        let agent =
            if url.get(..8).is_some_and(|s| s.eq_ignore_ascii_case("https://")) { &self.https } else { &self.http };
        let mut request = agent.get(url);
        if offset > 0 {
            request = request.header("Range", format!("bytes={offset}-"));
        }
        request.call().map_err(|error| match problem(error) {
            Problem::Unreachable(why) => Problem::Unreachable(why + &self.through(url)),
            Problem::TimedOut(why) => Problem::TimedOut(why + &self.through(url)),
            other => other,
        })
    }

    /// Describes the proxy that a request goes through, for messages.
    pub(crate) fn through(&self, url: &str) -> String {
        match self.proxies.for_url(url) {
            Ok(Some(chosen)) => format!(" through the proxy {} ({})", chosen.proxy, chosen.origin),
            _ => String::new(),
        }
    }
}

/// Converts an error of ureq.
fn problem(error: ureq::Error) -> Problem {
    use ureq::Error as E;
    match error {
        E::Timeout(t @ (Timeout::Resolve | Timeout::Connect)) => Problem::Unreachable(format!("timed out ({t})")),
        E::Timeout(t) => Problem::TimedOut(t.to_string()),
        E::HostNotFound => Problem::Unreachable("no such host".to_owned()),
        E::ConnectionFailed => Problem::Unreachable("no connection".to_owned()),
        E::ConnectProxyFailed(why) => tunnel_problem(&why),
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

/// The answer of a proxy that refused to connect: ureq has the status in its text, "proxy server responded 403/403".
fn tunnel_problem(why: &str) -> Problem {
    let status = why.rsplit(' ').next().and_then(|word| word.split('/').next()?.parse().ok());
    status.map_or_else(|| Problem::Unreachable(why.to_owned()), Problem::Tunnel)
}

/// As [`problem`], for errors while the body is read: ureq wraps its own in [`io::Error`].
pub(crate) fn io_problem(error: io::Error) -> Problem {
    use io::ErrorKind as K;
    let error = match error.downcast::<ureq::Error>() {
        Ok(inner) => return problem(inner),
        Err(error) => error,
    };
    let error = match error.downcast::<BadProxy>() {
        Ok(bad) => return Problem::Proxy(bad),
        Err(error) => error,
    };
    let text = error.to_string();
    match error.kind() {
        K::ConnectionRefused | K::HostUnreachable | K::NetworkUnreachable | K::NetworkDown | K::AddrNotAvailable => {
            Problem::Unreachable(text)
        }
        K::TimedOut | K::WouldBlock => Problem::TimedOut(text),
        // A refused certificate is reported like this.
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
    fn timeouts_and_refusals_are_told_apart() {
        let refused = problem(ureq::Error::Io(io::Error::from(io::ErrorKind::ConnectionRefused)));
        assert!(matches!(refused, Problem::Unreachable(_)));
        let idle = io::Error::other(ureq::Error::Timeout(Timeout::RecvBody));
        assert!(matches!(io_problem(idle), Problem::TimedOut(_)));
        let downgrade = problem(ureq::Error::RequireHttpsOnly("http://x/".into()));
        assert!(!downgrade.is_transient());
        let tunnel =
            |status| problem(ureq::Error::ConnectProxyFailed(format!("proxy server responded {status}/{status}")));
        assert_eq!(tunnel(403), Problem::Tunnel(403));
        assert!(!tunnel(407).is_transient() && tunnel(503).is_transient());
    }
}
