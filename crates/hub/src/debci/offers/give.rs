//! Puts jobs into the queues of debci's workers.

use std::collections::BTreeMap;
use std::time::Duration;

use amqp::Delivery;

use super::{OfferError, Offers};
use crate::core::offers::Offered;

impl Offers {
    /// Offers jobs while the queues have room for some. An offer that the broker has not confirmed is published again, also
    /// after a restart: if it is there twice, the first result counts.
    pub(super) fn give(&self) -> Result<(), OfferError> {
        self.publish_waiting()?;
        let candidates = self.shared.core.state().candidates(self.rules.after.is_some());
        if candidates.is_empty() {
            return Ok(());
        }
        let mut rooms = BTreeMap::new();
        for (architecture, queue) in &self.queues {
            let state =
                self.link.broker.look_at(queue).map_err(|error| OfferError::Broker(self.link.failed(&error)))?;
            let waiting = usize::try_from(state.messages).unwrap_or(usize::MAX);
            rooms.insert(architecture.clone(), self.ahead.saturating_sub(waiting));
        }
        let rules = self.rules.clone();
        let count = self.shared.core.write_blocking(move |tx| tx.offer_to_debci(&rules, &candidates, rooms))?;
        if count > 0 { self.publish_waiting() } else { Ok(()) }
    }

    /// Publishes what the broker has not confirmed.
    fn publish_waiting(&self) -> Result<(), OfferError> {
        let server = self.rules.server.clone();
        let waiting = self.shared.core.write_blocking(move |tx| tx.unstored_offers(&server))?;
        for offer in waiting {
            if self.link.is_over() {
                return Ok(());
            }
            self.publish(&offer)?;
        }
        Ok(())
    }

    fn publish(&self, offer: &Offered) -> Result<(), OfferError> {
        let left = offer.waits_until.saturating_sub(self.shared.config.clock.millis());
        // The broker does not hand out what has expired, so that nobody begins with a job that is about to be taken back.
        let Some(left) = u64::try_from(left).ok().filter(|left| *left > 0) else { return Ok(()) };
        let delivery = Delivery { priority: Some(offer.priority), expires: Some(Duration::from_millis(left)) };
        let published = self.link.broker.publish(&offer.queue, offer.line.as_bytes(), delivery);
        let run = offer.run;
        published.map_err(|error| OfferError::Unconfirmed { run, why: self.link.failed(&error) })?;
        self.shared.core.write_blocking(move |tx| tx.stored_offer(run))?;
        Ok(())
    }
}
