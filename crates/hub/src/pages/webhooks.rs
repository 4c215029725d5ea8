//! The page about webhooks. It names receivers, and not their addresses.

use askama::Template;
use axum::extract::State;

use crate::format::Time;
use crate::http::Reader;
use crate::hub::Shared;
use crate::pages::{Page, now, render};
use crate::webhooks::{Counts, counts};

#[derive(Template)]
#[template(path = "webhooks.html")]
struct WebhooksPage {
    here: &'static str,
    receivers: Vec<Receiver>,
}

struct Receiver {
    name: String,
    states: String,
    counts: Counts,
    problem: Option<(String, Time)>,
}

pub(crate) async fn page(State(shared): State<Shared>, _: Reader) -> Page {
    let now = now(&shared);
    let mut receivers = Vec::new();
    for (hook, status) in shared.config.webhooks.iter().zip(&shared.webhooks) {
        let key = hook.key();
        receivers.push(Receiver {
            name: hook.name.clone(),
            states: hook.states(),
            counts: shared.readers.run(move |db| counts(db, &key)).await?,
            problem: status.problem().map(|(since, what)| (what, Time::new(since, now))),
        });
    }
    render(&WebhooksPage { here: "webhooks", receivers })
}
