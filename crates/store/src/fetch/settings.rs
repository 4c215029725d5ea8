//! [`FetchSettings`]: the settings of the HTTP client's connections.

use ureq::Agent;
use ureq::config::Config;
use ureq::tls::TlsConfig;

use crate::fetch::FetchOptions;

/// Maximum number of redirections.
pub(crate) const REDIRECTIONS: u32 = 8;

/// Settings common to all connections of an agent.
#[derive(Debug, Clone)]
pub(crate) struct FetchSettings {
    pub(crate) https_only: bool,
    pub(crate) options: FetchOptions,
    pub(crate) tls: TlsConfig,
}

impl FetchSettings {
    /// ureq's configuration; `tunnel` is the proxy, for connections through its tunnel only.
    pub(crate) fn config(&self, tunnel: Option<ureq::Proxy>) -> Config {
        let Self { https_only, options, tls } = self;
        let config = Agent::config_builder()
            .https_only(*https_only)
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
            .proxy(tunnel)
            .tls_config(tls.clone());
        config.build()
    }
}
