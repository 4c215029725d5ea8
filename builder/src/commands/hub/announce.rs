//! Announces the hub on the local network, for machines that were not given a hub's address.

use std::net::SocketAddr;

use advice::{Advice, WithHelp as _};
use anyhow::{Context as _, Result, ensure};
use network::discovery::{HUB, Responder, Service};

use crate::context::Context;

/// Announces the hub by DNS-SD until the returned handle is dropped.
pub(super) fn start(context: &Context, listens: &[SocketAddr], encrypted: bool) -> Result<Responder> {
    let service = service(listens, encrypted, &rustix::system::uname().nodename().to_string_lossy())?;
    let name = service.instance.clone();
    let responder = Responder::start(service)
        .context("announcing the hub")
        .help("leave --announce out, and set hub= on the sticks instead")?;
    context.reporter.say(&format!("announced on the local network as {name:?}"));
    Ok(responder)
}

/// The service to announce: the first socket that other machines can reach.
fn service(listens: &[SocketAddr], encrypted: bool, node: &str) -> Result<Service> {
    let reachable = listens.iter().find(|address| !address.ip().is_loopback());
    ensure!(
        reachable.is_some(),
        Advice::new(
            "--announce: the hub listens on this machine's loopback interface only, where nobody else can reach it",
            "leave --listen out, or name an address of the network"
        )
    );
    // Multicast DNS knows the machine by its host name without the domain.
    let host = node.split('.').next().filter(|name| !name.is_empty()).unwrap_or("rocbed");
    Ok(Service {
        instance: format!("rocbed hub on {host}").chars().take(LONGEST_NAME).collect(),
        kind: HUB.to_owned(),
        host: host.to_owned(),
        port: reachable.map_or(0, SocketAddr::port),
        attributes: vec![format!("tls={}", u8::from(encrypted))],
    })
}

/// Maximum length of a label in bytes (RFC 6763, section 4.1.1); host names are ASCII.
const LONGEST_NAME: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_can_reach_is_announced() -> Result<()> {
        let listens = ["127.0.0.1:1".parse()?, "[::]:8420".parse()?];
        let service = service(&listens, true, "lab.example.org")?;
        assert_eq!((service.host.as_str(), service.port), ("lab", 8420));
        assert_eq!((service.instance.as_str(), service.attributes), ("rocbed hub on lab", vec!["tls=1".to_owned()]));
        Ok(())
    }

    #[test]
    fn a_hub_on_the_loopback_interface_is_not_announced() -> Result<()> {
        let error = service(&["127.0.0.1:8420".parse()?], false, "lab")
            .err()
            .map(|error| crate::error::report(&error).to_string());
        assert!(error.is_some_and(|text| text.contains("--announce") && text.contains("\n  help: ")));
        Ok(())
    }
}
