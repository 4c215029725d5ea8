//! Live updates of open pages: server-sent events (HTML Standard, section 9.2).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::concurrency::Permit;
use crate::core::HubEvent;
use crate::http::jobs::find;
use crate::http::{Answer, Reader};
use crate::hub::Shared;
use crate::limits::Stream;
use crate::pages::Converter;
use crate::pages::log::Which;
use crate::party::Party;

/// Delay between a change and its event.
const PAUSE: Duration = Duration::from_millis(200);

/// Most bytes of a log in one message.
const PIECE: usize = 64 << 10;

/// Query for the job whose changes are wanted; all jobs if none is given.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Of {
    job: Option<String>,
}

/// Sends an event for each change. The page then requests the new content itself.
pub(crate) async fn events(
    State(shared): State<Shared>,
    _: Reader,
    party: Party,
    Query(of): Query<Of>,
) -> Answer<Response> {
    let permit = shared.limits.stream(Stream::Events, &party)?;
    let job = match of.job {
        Some(id) => Some(find(&shared, &id).await?.0),
        None => None,
    };
    let watch = shared.core.watch();
    let messages = stream::unfold((shared, watch), move |(shared, mut watch)| async move {
        let wanted = |event: &HubEvent| match (event, job) {
            (HubEvent::Job(number), Some(job)) => *number == job,
            (HubEvent::Job(_) | HubEvent::Worker(_), None) => true,
            (HubEvent::Log(_), _) | (HubEvent::Worker(_), Some(_)) => false,
        };
        loop {
            let event = next(&shared, &mut watch).await?;
            // Missed events may have been wanted ones.
            if event.as_ref().is_none_or(wanted) {
                // Further changes within the delay share this event, so the cost stays low with many viewers and many
                // changes.
                tokio::time::sleep(PAUSE).await;
                while !matches!(watch.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed)) {}
                return Some((Ok::<_, Infallible>(Event::default().data("changed")), (shared, watch)));
            }
        }
    });
    Ok(sse(permit, messages))
}

/// The next event; `Some(None)` if some were missed, and `None` when the hub shuts down.
async fn next(shared: &Shared, watch: &mut Receiver<HubEvent>) -> Option<Option<HubEvent>> {
    let mut stop = shared.stop.clone();
    let event = tokio::select! {
        event = watch.recv() => event,
        _ = stop.wait_for(|stop| *stop) => return None,
    };
    match event {
        Ok(event) => Some(Some(event)),
        Err(RecvError::Lagged(_)) => Some(None),
        Err(RecvError::Closed) => None,
    }
}

/// Sends messages; the permit is released when the client has gone.
fn sse(
    permit: Permit,
    messages: impl futures_util::Stream<Item = Result<Event, Infallible>> + Send + 'static,
) -> Response {
    let messages = messages.map(move |message| {
        let _held = &permit;
        message
    });
    Sse::new(messages).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response()
}

struct Following {
    shared: Shared,
    watch: Receiver<HubEvent>,
    number: i64,
    attempt: u32,
    offset: u64,
    converter: Converter,
    id: String,
    ended: bool,
    waiting: VecDeque<Event>,
}

/// Sends additions to a log, as HTML.
pub(crate) async fn log(
    State(shared): State<Shared>,
    _: Reader,
    party: Party,
    Path(id): Path<String>,
    Query(which): Query<Which>,
    headers: HeaderMap,
) -> Answer<Response> {
    let permit = shared.limits.stream(Stream::Events, &party)?;
    // Subscribes before reading, so that no event is missed.
    let watch = shared.core.watch();
    let (number, last, _) = find(&shared, &id).await?;
    // A browser that reconnects sends the last offset that it has seen.
    let seen = headers.get("last-event-id").and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    let following = Following {
        watch,
        number,
        attempt: which.attempt.unwrap_or(last),
        offset: seen.or(which.from).unwrap_or(0),
        converter: Converter::default(),
        id,
        ended: false,
        waiting: VecDeque::new(),
        shared,
    };
    Ok(sse(
        permit,
        stream::unfold(following, |mut following| async move {
            let message = following.next().await?;
            Some((Ok(message), following))
        }),
    ))
}

impl Following {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(message) = self.waiting.pop_front() {
                return Some(message);
            }
            if self.ended {
                return None;
            }
            // Checks whether the job has ended before reading, so that nothing is left unread when it has.
            let over = find(&self.shared, &self.id).await.map_or(true, |(_, _, job)| job.state.is_over());
            let bytes = self.read().await?;
            if !bytes.is_empty() {
                self.offset = self.offset.saturating_add(bytes.len() as u64);
                let html = self.converter.html(&bytes);
                self.waiting.push_back(Event::default().id(self.offset.to_string()).data(html));
                continue;
            }
            if over {
                self.ended = true;
                self.waiting.push_back(Event::default().event("end").data("end"));
                continue;
            }
            self.wait().await?;
        }
    }

    /// Reads what follows the part already sent, up to the end of a line if there is one.
    async fn read(&self) -> Option<Vec<u8>> {
        let (logs, number, attempt, offset) = (self.shared.logs.clone(), self.number, self.attempt, self.offset);
        let read = tokio::task::spawn_blocking(move || logs.read(number, attempt, offset, PIECE));
        let mut bytes = read.await.ok()?.ok()?;
        if let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') {
            bytes.truncate(end + 1);
        }
        Some(bytes)
    }

    /// Waits for an event about this job, or for missed events. `None` when the hub shuts down.
    async fn wait(&mut self) -> Option<()> {
        loop {
            match next(&self.shared, &mut self.watch).await? {
                Some(HubEvent::Log(number) | HubEvent::Job(number)) if number != self.number => {}
                Some(HubEvent::Worker(_)) => {}
                _ => {
                    // Pieces arrive in bursts, so they are read together.
                    tokio::time::sleep(PAUSE).await;
                    return Some(());
                }
            }
        }
    }
}
