//! Delivers events to their receivers while the hub runs.

use std::time::Duration;

use tokio::time::sleep;
use transfer::Backoff;

use crate::background::run_in_background;
use crate::clock::timestamp;
use crate::hub::Hub;
use crate::webhooks::deliver::{Delivery, Trouble};
use crate::webhooks::queue::{Outcome, next};
use crate::webhooks::{Webhook, WebhookStatus};

/// Pauses after a delivery that failed.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);
/// How often it is looked for events if nobody says that something has changed, and how often at most.
const OFTEN: Duration = Duration::from_secs(60);
const SELDOM: Duration = Duration::from_millis(200);
/// After so many refusals an event is dropped: with these pauses after some hours.
const MOST_REFUSALS: u32 = 20;

/// What the task of a receiver does next.
enum Next {
    /// There is another event perhaps.
    GoOn,
    /// There is nothing to deliver.
    Wait,
    /// It failed.
    Pause(Option<Duration>),
}

impl Hub {
    /// Delivers events to all receivers until the hub ends.
    pub(crate) async fn run_webhooks(&self) {
        if self.shared.config.webhooks.is_empty() {
            return;
        }
        match self.shared.core.write(|tx| tx.forget_receivers()).await {
            Ok(0) => {}
            Ok(count) => {
                tracing::warn!(count, "events for webhooks that are not in the settings any more were removed");
            }
            Err(problem) => tracing::warn!(%problem, "events of webhooks could not be looked through"),
        }
        let tasks = self.shared.config.webhooks.iter().zip(&self.shared.webhooks);
        let tasks = tasks.map(|(hook, status)| self.serve_webhook(hook, status));
        futures_util::future::join_all(tasks).await;
    }

    async fn serve_webhook(&self, hook: &Webhook, status: &WebhookStatus) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut events = self.shared.core.watch();
        loop {
            match self.deliver_next(hook, status).await {
                Next::GoOn => backoff.reset(),
                Next::Wait => {
                    sleep(SELDOM).await;
                    // Whatever it is, also that there were too many to hear of all.
                    let _ = tokio::time::timeout(OFTEN, events.recv()).await;
                }
                Next::Pause(asked) => sleep(backoff.next_pause_after(asked)).await,
            }
        }
    }

    /// Delivers the next event to a receiver.
    async fn deliver_next(&self, hook: &Webhook, status: &WebhookStatus) -> Next {
        let key = hook.key();
        let (find, now) = (key.clone(), timestamp(self.shared.config.clock.millis()));
        let queued = match self.shared.readers.run(move |db| next(db, &find)).await {
            Ok(Some(queued)) => queued,
            Ok(None) => return Next::Wait,
            Err(error) => {
                status.failed(&hook.name, now, &format!("the database cannot be read: {error}"));
                return Next::Pause(None);
            }
        };
        let (number, refused) = (queued.number, queued.refused);
        let sender = hook.clone();
        let delivery = run_in_background("webhook", move || sender.deliver(&queued)).await;
        let noted = match delivery {
            Ok(Delivery::Taken) => {
                status.worked(&hook.name);
                self.shared.core.write(move |tx| tx.remove_event(&key, number, Outcome::Delivered)).await
            }
            Ok(Delivery::Refused(Trouble { what, .. })) if refused.saturating_add(1) >= MOST_REFUSALS => {
                tracing::warn!(receiver = hook.name, what, "an event was refused too often and is dropped");
                self.shared.core.write(move |tx| tx.remove_event(&key, number, Outcome::Dropped)).await
            }
            Ok(Delivery::Refused(trouble)) => {
                status.failed(&hook.name, now, &trouble.what);
                // If this is not noted, it is only tried once more.
                let _ = self.shared.core.write(move |tx| tx.note_refusal(number)).await;
                return Next::Pause(trouble.wait);
            }
            Ok(Delivery::Failed(trouble)) => {
                status.failed(&hook.name, now, &trouble.what);
                return Next::Pause(trouble.wait);
            }
            Err(problem) => Err(problem),
        };
        match noted {
            Ok(()) => Next::GoOn,
            Err(problem) => {
                status.failed(&hook.name, now, &problem.to_string());
                Next::Pause(None)
            }
        }
    }
}
