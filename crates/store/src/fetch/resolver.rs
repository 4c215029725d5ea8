//! Host names looked up one at a time, and remembered for a while.
//!
//! ureq asks for the address with every request. Some name servers and routers drop what several threads ask at once,
//! and the C library then waits five seconds before it asks again.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// How long an answer is used again.
const KEPT: Duration = Duration::from_secs(60);

/// The system's resolver with a memory.
#[derive(Debug, Default)]
pub(crate) struct RememberingResolver {
    system: DefaultResolver,
    known: Mutex<HashMap<String, (Instant, Vec<SocketAddr>)>>,
}

impl Resolver for RememberingResolver {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        // The scheme decides on the port where the authority has none.
        let name = format!("{}://{}", uri.scheme_str().unwrap_or_default(), uri.authority().map_or("", |a| a.as_str()));
        // Held while the system is asked, so that the others wait for its answer instead of asking too.
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
