//! Connections: directly to a server, to a proxy that is asked for an `http:` URL (RFC 9112, section 3.2.2), or
//! through a proxy's tunnel to an `https:` server (RFC 9110, section 9.3.6).
//!
//! ureq itself asks every proxy for a tunnel, also for `http:`. Proxies such as Squid allow tunnels to port 443 only,
//! and a caching proxy can cache only what it is asked for by URL.

use std::fmt;
use std::io;
use std::sync::Arc;

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, DefaultConnector, NextTimeout, Transport};

use crate::fetch::proxy::{BadProxy, Chosen, Proxies, Proxy, Scheme};
use crate::fetch::resolver::RememberingResolver;
use crate::fetch::settings::FetchSettings;

/// State shared by the connector and the resolver of an agent.
#[derive(Clone)]
pub(crate) struct Router {
    settings: FetchSettings,
    proxies: Arc<Proxies>,
    names: Arc<RememberingResolver>,
    /// ureq's connector: TCP, TLS, and `CONNECT` if its configuration has a proxy.
    plain: Arc<DefaultConnector>,
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").field("proxies", &self.proxies).finish_non_exhaustive()
    }
}

impl Router {
    pub(crate) fn new(settings: FetchSettings, proxies: Arc<Proxies>) -> Self {
        Self { settings, proxies, names: Arc::default(), plain: Arc::default() }
    }

    fn route(&self, uri: &Uri) -> Result<Option<Chosen<'_>>, Error> {
        let scheme = if uri.scheme_str() == Some("https") { Scheme::Https } else { Scheme::Http };
        let port = uri.port_u16().unwrap_or(if scheme == Scheme::Https { 443 } else { 80 });
        let bad = |bad: BadProxy| Error::Io(io::Error::new(io::ErrorKind::InvalidInput, bad));
        self.proxies.choose(scheme, uri.host().unwrap_or_default(), port).map_err(bad)
    }

    /// Connects to the proxy, which is then asked for `http:` URLs.
    fn forward(&self, details: &ConnectionDetails, proxy: &Proxy) -> Result<Option<Box<dyn Transport>>, Error> {
        let uri = proxy_uri(proxy)?;
        let authority = details.uri.authority().map_or("", |authority| authority.as_str());
        let server = authority.rsplit_once('@').map_or(authority, |(_, server)| server);
        // The resolver returned the proxy's addresses.
        let to_proxy = ConnectionDetails { uri: &uri, ..copy(details) };
        let Some(transport) = self.plain.connect(&to_proxy, None)? else { return Ok(None) };
        Ok(Some(Box::new(Forwarding {
            transport,
            target: format!("http://{server}"),
            authorization: proxy.authorization().map(|value| format!("Proxy-Authorization: {value}\r\n")),
            in_head: false,
        })))
    }

    /// Makes the proxy connect to an `https:` server.
    fn tunnel(&self, details: &ConnectionDetails, proxy: &Proxy) -> Result<Option<Box<dyn Transport>>, Error> {
        let protocol = if proxy.is_tls() { ureq::ProxyProtocol::Https } else { ureq::ProxyProtocol::Http };
        let mut builder = ureq::Proxy::builder(protocol).host(proxy.host()).port(proxy.port());
        if let Some((name, password)) = proxy.login() {
            builder = builder.username(name).password(password);
        }
        let config = self.settings.config(Some(builder.build()?));
        let plain = Arc::clone(&self.plain);
        let through = ConnectionDetails {
            config: &config,
            resolver: &*self.names,
            run_connector: Arc::new(move |details| plain.connect(details, None)?.ok_or(Error::ConnectionFailed)),
            ..copy(details)
        };
        self.plain.connect(&through, None)
    }
}

impl Connector<()> for Router {
    type Out = Box<dyn Transport>;

    fn connect(&self, details: &ConnectionDetails, _: Option<()>) -> Result<Option<Self::Out>, Error> {
        match self.route(details.uri)? {
            None => self.plain.connect(details, None),
            Some(Chosen { proxy, .. }) if details.needs_tls() => self.tunnel(details, proxy),
            Some(Chosen { proxy, .. }) => self.forward(details, proxy),
        }
    }
}

impl Resolver for Router {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        match self.route(uri)? {
            None => self.names.resolve(uri, config, timeout),
            // The proxy looks the name up itself: its network may have other names.
            Some(_) if uri.scheme_str() == Some("https") => Ok(self.empty()),
            Some(Chosen { proxy, .. }) => self.names.resolve(&proxy_uri(proxy)?, config, timeout),
        }
    }
}

fn proxy_uri(proxy: &Proxy) -> Result<Uri, Error> {
    proxy.to_string().parse().map_err(|_| Error::InvalidProxyUrl)
}

fn copy<'a>(details: &ConnectionDetails<'a>) -> ConnectionDetails<'a> {
    ConnectionDetails {
        uri: details.uri,
        addrs: details.addrs.clone(),
        config: details.config,
        request_level: details.request_level,
        resolver: details.resolver,
        now: details.now,
        timeout: details.timeout,
        current_time: Arc::clone(&details.current_time),
        run_connector: Arc::clone(&details.run_connector),
        register_shutdown: Arc::clone(&details.register_shutdown),
    }
}

/// A connection to a proxy: adds the server to the path of each request. Only for requests without a body.
#[derive(Debug)]
struct Forwarding {
    transport: Box<dyn Transport>,
    /// `http://host:port`.
    target: String,
    /// Header line.
    authorization: Option<String>,
    /// Whether more of a request's head follows.
    in_head: bool,
}

impl Transport for Forwarding {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.transport.buffers()
    }

    fn transmit_output(&mut self, mut amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let output = self.transport.buffers().output();
        let written = output.get(..amount).unwrap_or_default();
        let ends = written.ends_with(b"\r\n\r\n");
        if !self.in_head {
            let head = absolute(written, &self.target, self.authorization.as_deref());
            let too_long = || io::Error::new(io::ErrorKind::InvalidInput, "the request is too long");
            let head = head.ok_or_else(too_long)?;
            amount = head.len();
            output.get_mut(..amount).ok_or_else(too_long)?.copy_from_slice(&head);
        }
        self.in_head = !ends;
        self.transport.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.transport.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.transport.is_open()
    }
}

/// The beginning of a request with its target in absolute form: `GET http://host/path HTTP/1.1`. `None` if it is not a
/// request.
fn absolute(written: &[u8], target: &str, authorization: Option<&str>) -> Option<Vec<u8>> {
    let method = written.iter().position(|byte| *byte == b' ')? + 1;
    let line = written.windows(2).position(|bytes| bytes == b"\r\n")? + 2;
    let (begin, rest, headers) = (written.get(..method)?, written.get(method..line)?, written.get(line..)?);
    Some([begin, target.as_bytes(), rest, authorization.unwrap_or_default().as_bytes(), headers].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_the_server_before_the_path() {
        let head = b"GET /debian/x HTTP/1.1\r\nhost: deb.example\r\n\r\n";
        let made = absolute(head, "http://deb.example", Some("Proxy-Authorization: Basic eA==\r\n")).unwrap();
        let expected =
            "GET http://deb.example/debian/x HTTP/1.1\r\nProxy-Authorization: Basic eA==\r\nhost: deb.example\r\n\r\n";
        assert_eq!(String::from_utf8(made).unwrap(), expected);
        assert_eq!(absolute(b"", "http://deb.example", None), None);
    }
}
