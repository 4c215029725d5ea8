//! A search on this machine that is taken up: what the hub keeps, and gives only with its admin token, is asked for again when
//! there is a token.

use advice::{Advice, WithHelp as _};
use anyhow::Result;

use super::origins::{self, few};
use super::place::Place;
use super::state::State;
use super::wording::counted;
use crate::context::Context;
use crate::hubs::{HubAccess, Patience};

/// Asks the hub for the versions that needed its token. Sets that could not be tested without them are run again.
pub(super) fn ask(context: &Context, state: &mut State, hub: &HubAccess) -> Result<()> {
    let asked = origins::needing_token(&state.versions);
    if asked.is_empty() || hub.token.is_none() || !matches!(state.place, Place::Local(_)) {
        return Ok(());
    }
    let kept = origins::ask(&hub.client(Patience::Short)?, &state.job, &asked);
    let kept = kept
        .map_err(|error| hub.explain(error).context("it is not known which packages the hub gives with this token"))
        .help("without a token the search goes on without them")?;
    if !kept.may_fetch {
        let what = format!(
            "the token is not the admin token of {}, which gives {} only with that",
            hub.address,
            few(&asked.iter().collect::<Vec<_>>())
        );
        context.reporter.warn_of(&Advice::new(what, "the search goes on without them").into());
        return Ok(());
    }
    let given = origins::renew(&mut state.versions, &kept, &state.place);
    for warning in origins::warnings(&state.versions, &state.groups, &state.job, &state.place, &kept) {
        context.reporter.warn_of(&warning.into());
    }
    if !given.is_empty() {
        let list = few(&given.iter().map(|origin| &origin.package).collect::<Vec<_>>());
        context.reporter.say(&format!("the hub gives {list} with this token"));
    }
    let groups = &state.groups;
    let retried = state.search.retry_skipped(|set| origins::from_hub(&given, groups, set));
    if retried > 0 {
        context.reporter.say(&format!("{} that could not be tested without them: run again", counted(retried, "set")));
    }
    Ok(())
}

#[cfg(test)]
#[path = "again/tests.rs"]
mod tests;
