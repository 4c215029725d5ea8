//! Which hub a search talks to, and with which token.

use advice::Advice;
use anyhow::Result;

use crate::cmdline::Bisect;
use crate::context::Context;
use crate::hubs::{self, HubAccess};

/// The hub of a search. Its token comes from the options and the user's list of hubs. The file of a search that is taken up may
/// be somebody else's: to a hub that only this file names, no other token is sent than the one that is stored for it.
pub(super) fn access(context: &Context, options: &Bisect, address: &str) -> Result<HubAccess> {
    let mut at = options.at.clone();
    let is_of_file = options.take_up && at.hub.is_none();
    let is_withheld = is_of_file && (at.token.is_some() || at.token_file.is_some());
    if is_of_file {
        (at.token, at.token_file) = (None, None);
    }
    at.hub.get_or_insert_with(|| address.to_owned());
    let hub = hubs::find(&at)?;
    if is_withheld && hub.token.is_none() {
        context.reporter.warn_of(
            &Advice::new(
                format!("the token is not sent to {address}, which only {} names", options.state.display()),
                "name the hub with --hub, too, if it is the right one",
            )
            .into(),
        );
    }
    Ok(hub)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use protocol::api::{AskKept, KeptPackages};

    use super::super::fake_hub::{context, json, serve};
    use super::*;
    use crate::cmdline::{Cli, Command};
    use crate::hubs::Patience;

    /// The token that reaches a hub which the file of a search names, with these words after `rocbed bisect`; `HUB` in them
    /// is its address.
    fn sent(words: &[&str]) -> Result<Option<String>> {
        let (hub, server) = serve(vec![json(&KeptPackages::default())?])?;
        let words = words.iter().map(|word| word.replace("HUB", &hub.address));
        let cli = Cli::try_parse_from(["rocbed", "bisect"].map(str::to_owned).into_iter().chain(words))?;
        let Command::Bisect(options) = cli.command else { anyhow::bail!("another command") };
        let found = access(&context()?, &options, &hub.address)?;
        found.client(Patience::Short)?.kept_packages(&AskKept::default())?;
        Ok(server.join().expect("no panic").remove(0).token)
    }

    #[test]
    fn a_token_goes_to_no_hub_that_only_the_file_of_a_search_names() -> Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), "secret\n")?;
        let file = file.path().display().to_string();
        // `ROCBED_TOKEN` and `ROCBED_HUB` are other ways to give these options.
        for token in [["--token", "secret"], ["--token-file", &file]] {
            assert_eq!(sent(&[&["--continue"][..], &token].concat())?, None, "{token:?}");
            let named = [&["--continue", "--hub", "HUB"][..], &token].concat();
            assert_eq!(sent(&named)?.as_deref(), Some("Bearer secret"), "{token:?}");
            // A new search has the hub from the options, or from where they come from.
            assert_eq!(sent(&[&["app"][..], &token].concat())?.as_deref(), Some("Bearer secret"), "{token:?}");
        }
        Ok(())
    }
}
