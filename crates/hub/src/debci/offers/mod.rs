//! The other direction of the bridge: jobs of the hub are offered to workers of debci, and their results come back.
//!
//! The hub is to them what a debci server is: it puts jobs into their queues, and takes results out of `debci_results`. So it
//! has a broker, or a virtual host, for itself; where a collector of debci reads the results too, nothing is offered.
//!
//! An offer is a lease ([`crate::core::offers`]). One thread [gives](give) jobs to the broker and [collects](collect)
//! results. A result ends its job in one transaction, and only then the broker forgets its message: if it comes again, it is
//! recognised by the digest of its [bundle].

mod bundle;
mod collect;
mod error;
mod give;
pub(crate) mod link;

use std::sync::Arc;
use std::time::{Duration, Instant};

use advice::Advice;
use amqp::Queue;
use debci::{PRIORITIES, RESULTS_QUEUE};

use crate::core::offers::OfferRules;
use crate::debci::broker::{self, Broker, pauses, results};
use crate::hub::{Hub, Shared};
use error::OfferError;
use link::OffersLink;

/// Largest result that is read, in bytes. Brokers take no larger messages than 16 MiB unless they are told to.
const LARGEST: usize = 128 << 20;
/// How often jobs are offered, and results asked for.
const OFTEN: Duration = Duration::from_millis(500);
/// How often old offers are forgotten, and how long they are kept after their jobs were taken back.
const TIDY: Duration = Duration::from_secs(3600);
const KEPT: Duration = Duration::from_secs(30 * 86_400);

/// Which workers of debci get jobs of the hub, and which jobs.
#[derive(Debug, Clone)]
pub struct DebciWorkersOptions {
    /// Their message broker, with a virtual host that no debci server uses.
    pub address: protocol::BrokerAddress,
    /// Certificates for the broker.
    pub tls: amqp::TlsOptions,
    /// The suite that they test in.
    pub suite: String,
    /// Their architectures; of those that fit a job, the first one with room gets it.
    pub architectures: Vec<String>,
    /// Their backend.
    pub backend: String,
    /// How long a job that a machine of the hub could run waits for that machine first; `None` is for ever.
    pub after: Option<Duration>,
    /// How long a job waits for them before it is taken back.
    pub wait: Duration,
    /// How long they may take then before it is taken back.
    pub limit: Duration,
    /// How many jobs may wait in each queue.
    pub ahead: u32,
}

/// What the thread has.
struct Offers {
    shared: Shared,
    link: Arc<OffersLink>,
    rules: OfferRules,
    ahead: usize,
    queues: Vec<(String, Queue)>,
}

impl Hub {
    /// Offers jobs to workers of debci, until the hub ends. Returns at once; the broker may be unreachable for as long as it
    /// likes.
    ///
    /// # Errors
    /// If certificates cannot be used, or there are no threads.
    pub fn offer_to_debci_workers(&self, options: DebciWorkersOptions) -> Result<(), Advice> {
        let broker = broker::prepare(&options.address, &options.tls, LARGEST)?;
        self.offer(Arc::new(broker), options)
    }

    pub(super) fn offer(&self, broker: Arc<dyn Broker>, options: DebciWorkersOptions) -> Result<(), Advice> {
        let server = options.address.to_string();
        let queues: Vec<(String, Queue)> = options
            .architectures
            .iter()
            .map(|name| {
                let queue = debci::queue_name(name, &options.backend);
                (name.clone(), Queue { name: queue, max_priority: Some(PRIORITIES) })
            })
            .collect();
        let names = queues.iter().map(|(_, queue)| queue.name.clone()).collect();
        let link = Arc::new(OffersLink::new(broker, &server, names));
        let offers = Offers {
            shared: self.shared.clone(),
            link: Arc::clone(&link),
            rules: OfferRules {
                server,
                suite: options.suite,
                backend: options.backend,
                architectures: options.architectures,
                after: options.after,
                wait: options.wait,
                limit: options.limit,
            },
            ahead: usize::try_from(options.ahead.max(1)).unwrap_or(usize::MAX),
            queues,
        };
        let thread = std::thread::Builder::new().name("debci-offers".into()).spawn(move || offers.run());
        link.keep(
            thread
                .map_err(|error| Advice::new(format!("starting a thread: {error}"), "give the machine more memory"))?,
        );
        // A second broker would need a second connection, which nothing offers.
        let _ = self.shared.offers.set(link);
        Ok(())
    }
}

impl Offers {
    /// Offers jobs and collects results until the hub ends.
    fn run(&self) {
        self.clean();
        let mut backoff = pauses();
        let mut tidied = None;
        while !self.link.is_over() {
            let worked = self.check().and_then(|()| self.collect()).and_then(|worked| {
                self.give()?;
                Ok(worked)
            });
            match worked {
                Ok(worked) => {
                    backoff = pauses();
                    if !worked {
                        self.link.rest(OFTEN);
                    }
                }
                Err(error) => {
                    self.link.problem(error.to_string());
                    self.link.rest(backoff.next_pause());
                }
            }
            if tidied.is_none_or(|last: Instant| last.elapsed() > TIDY) {
                tidied = Some(Instant::now());
                self.tidy();
            }
        }
    }

    /// Declares the queues, so that workers and this hub agree on them. Fails while somebody else reads the results: that is
    /// debci's collector, which would drop those of this hub.
    fn check(&self) -> Result<(), OfferError> {
        let failed = |error: amqp::Error| OfferError::Broker(self.link.failed(&error));
        let declared: Vec<Queue> = self.queues.iter().map(|(_, queue)| queue.clone()).collect();
        self.link.broker.declare(&declared).map_err(failed)?;
        let state = self.link.broker.look_at(&results()).map_err(failed)?;
        self.link.connected();
        if state.consumers == 0 {
            return Ok(());
        }
        Err(OfferError::Broker(Advice::new(
            format!(
                "no job is offered: {} programs read the queue {RESULTS_QUEUE} of {}, debci's collector perhaps, and would \
                 get results of this hub's jobs",
                state.consumers, self.rules.server
            ),
            "give the workers and the hub a virtual host of their own",
        )))
    }

    fn tidy(&self) {
        let before = self.shared.config.clock.millis().saturating_sub(crate::clock::millis(KEPT));
        if let Err(problem) = self.shared.core.write_blocking(move |tx| tx.forget_offers(before)) {
            tracing::warn!(%problem, "old offers to workers of debci could not be forgotten");
        }
    }
}
