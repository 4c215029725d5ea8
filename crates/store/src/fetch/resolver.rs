//! Resolves host names one at a time, and caches the answers for a while.
//!
//! ureq resolves the address for every request. Some name servers and routers drop requests that several threads send
//! at once, and the C library then waits five seconds before it asks again.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// Time for which an answer is cached.
const KEPT: Duration = Duration::from_secs(60);

/// The system's resolver with a cache.
#[derive(Debug, Default)]
pub(crate) struct RememberingResolver {
    system: DefaultResolver,
    known: Mutex<HashMap<String, (Instant, Vec<SocketAddr>)>>,
}

impl Resolver for RememberingResolver {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        // The scheme determines the port if the authority has none.
        let name = format!("{}://{}", uri.scheme_str().unwrap_or_default(), uri.authority().map_or("", |a| a.as_str()));
        // Held during the system's lookup, so that other threads wait for its answer instead of asking too.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, addresses)) = known.get(&name)
            && when.elapsed() < KEPT
        {
            let mut found = self.empty();
            for address in addresses {
                found.push(*address);
            }
            return Ok(found);
        }
        let found = self.system.resolve(uri, config, timeout)?;
        known.insert(name, (Instant::now(), found.iter().copied().collect()));
        Ok(found)
    }
}
