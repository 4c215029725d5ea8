//! The bridge to a debci server: its queues are served by the hub's workers, who need no access to the broker.
//!
//! Two threads: one [takes](take) jobs while workers wait for some and stores them, the other [sends](send) results. The
//! broker keeps each job for the hub until its result is confirmed. What is to be done is in the database, and the
//! receipts of messages are in memory: if the connection or the hub is lost, the broker hands the jobs out again, and
//! they are recognised by their run ids. A result is sent only while the broker keeps its job for this hub, so that no
//! job gets two.

mod broker;
pub(crate) mod link;
pub(crate) mod offers;
mod send;
mod take;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use advice::Advice;
use debci::JobStates;

use crate::hub::{Hub, Shared};
use broker::Broker;
use link::Link;
pub use offers::DebciWorkersOptions;

/// Which debci server, and which of its jobs.
#[derive(Debug, Clone)]
pub struct DebciOptions {
    /// Its message broker.
    pub address: protocol::BrokerAddress,
    /// Certificates for the broker.
    pub tls: amqp::TlsOptions,
    /// Suites whose jobs are run; others are refused.
    pub suites: Vec<String>,
    /// Architecture, to which targets are added: `amd64`.
    pub architecture: String,
    /// The backend whose queues are read: `lxc`.
    pub backend: String,
    /// Address of the server's web pages, where the state of a job can be asked for.
    pub api: Option<String>,
    /// How many jobs may wait here for each worker that is free; at least 1.
    pub ahead: u32,
    /// Address of the hub's own pages, for results: there is the complete bundle.
    pub pages: Option<String>,
}

/// What both threads have.
#[derive(Clone)]
struct Bridge {
    shared: Shared,
    link: Arc<Link>,
    options: Arc<DebciOptions>,
    /// The broker's address, without a password.
    server: String,
    states: Option<Arc<JobStates>>,
}

impl Hub {
    /// Serves a debci server's queues with the hub's workers, until the hub ends. Returns at once; the broker may be
    /// unreachable for as long as it likes.
    ///
    /// # Errors
    /// If certificates cannot be used, or there are no threads.
    pub fn serve_debci(&self, options: DebciOptions) -> Result<(), Advice> {
        let broker = broker::prepare(&options.address, &options.tls, debci::LONGEST_LINE)?;
        self.bridge(Arc::new(broker), options)
    }

    fn bridge(&self, broker: Arc<dyn Broker>, options: DebciOptions) -> Result<(), Advice> {
        let failed =
            |what: String| Advice::new(what, "give the machine more memory, or mend the system's certificates");
        let states = options.api.as_deref().map(|api| JobStates::new(api, options.tls.authorities.as_deref()));
        let states =
            states.transpose().map_err(|error| failed(format!("preparing to ask the debci server: {error}")))?;
        let server = options.address.to_string();
        let link = Arc::new(Link::new(broker, &server));
        let bridge = Bridge {
            shared: self.shared.clone(),
            link: Arc::clone(&link),
            options: Arc::new(options),
            server,
            states: states.map(Arc::new),
        };
        let sender = bridge.clone();
        let threads = [
            std::thread::Builder::new().name("debci-take".into()).spawn(move || take::run(bridge)),
            std::thread::Builder::new().name("debci-send".into()).spawn(move || send::run(&sender)),
        ];
        for thread in threads {
            link.keep(thread.map_err(|error| failed(format!("starting a thread: {error}")))?);
        }
        // A second server would need a second connection, which nothing offers.
        let _ = self.shared.debci.set(link);
        Ok(())
    }
}
