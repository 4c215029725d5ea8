//! The network in the first stage: loads drivers, brings interfaces up and gets an address.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use network::{Network, NetworkEvent};

use crate::devices::modaliases;
use crate::fatal::Fatal;
use crate::search::Search;
use crate::uevent::{Uevent, Uevents};
use appliance::cmdline::CommandLine;
use appliance::settings::Settings;

/// If no interface has a carrier for this long, drivers for all other devices are loaded too: a network interface may
/// be behind USB or on an unexpected bus.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long to wait for the network before devices are checked again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The appliance's settings in the network crate's form, and problems with them.
pub fn settings(settings: &Settings) -> (network::NetworkSettings, Vec<String>) {
    let (mut links, mut problems) = (Vec::new(), Vec::new());
    for text in &settings.ip {
        match network::ip::parse(text) {
            Ok(parameter) => links.push(parameter),
            Err(problem) => problems.push(format!("ip={text}: {problem}; using DHCP")),
        }
    }
    let (hostname, dns) = (settings.name.clone(), settings.dns.clone());
    (network::NetworkSettings { links, hostname, dns, ..network::NetworkSettings::default() }, problems)
}

/// Brings all wired interfaces up; returns as soon as one can be used.
///
/// # Errors
/// If none can be used, with the state of each interface.
pub(super) fn bring_up(line: &CommandLine, search: &mut Search, events: &mut dyn Uevents) -> Result<Network, Fatal> {
    let start = search.system.uptime();
    load(search, leads_to_network);
    let (wanted, problems) = settings(&Settings::of_this_machine(line).0);
    for problem in problems {
        search.console.say(&problem);
    }
    let (network, news) = Network::start(wanted).map_err(|error| {
        Fatal::new(format!("starting the network: {error}"), "use a kernel that has packet sockets and netlink")
    })?;
    let (mut carrier, mut all) = (false, false);
    loop {
        if hear(&news, search, &mut carrier) {
            return Ok(network);
        }
        let waited = search.system.uptime().saturating_sub(start);
        if line.network_timeout.is_some_and(|patience| waited >= patience) {
            return Err(no_network(&network, waited));
        }
        let everything = !all && !carrier && waited >= PATIENCE;
        if everything {
            search.console.say("no link with a carrier yet: looking for network cards on every bus");
            all = true;
            load(search, |_| true);
        }
        follow(search, events, all)?;
    }
}

/// Takes network events; returns whether an interface can be used.
fn hear(news: &Receiver<NetworkEvent>, search: &mut Search, carrier: &mut bool) -> bool {
    let mut usable = false;
    let mut wait = LOOK_AGAIN;
    while let Ok(event) = news.recv_timeout(wait) {
        *carrier |= matches!(event, NetworkEvent::LinkUp { .. });
        usable |= matches!(event, NetworkEvent::Configured { .. });
        search.console.say(&format!("network: {event}"));
        wait = Duration::ZERO;
    }
    usable
}

/// Takes device events.
fn follow(search: &mut Search, events: &mut dyn Uevents, all: bool) -> Result<(), Fatal> {
    let failed =
        |error| Fatal::new(format!("waiting for devices: {error}"), "report this as a bug of rocbed, with this text");
    while let Some(event) = events.next(Duration::ZERO).map_err(failed)? {
        match event {
            Uevent::Added { modalias: Some(alias) } if all || leads_to_network(&alias) => search.load_alias(&alias),
            Uevent::Lost => load(search, if all { |_| true } else { leads_to_network }),
            Uevent::Added { .. } | Uevent::Other => {}
        }
    }
    search.protect();
    Ok(())
}

/// Loads the drivers of devices; a driver may bring devices that need others.
fn load(search: &mut Search, wanted: fn(&str) -> bool) {
    let mut known = std::collections::BTreeSet::new();
    loop {
        let found = modaliases(&search.paths.sys.join("devices")).into_iter();
        let new: Vec<_> = found.filter(|alias| wanted(alias) && known.insert(alias.clone())).collect();
        if new.is_empty() {
            return;
        }
        for alias in new {
            search.load_alias(&alias);
        }
        search.protect();
    }
}

/// Whether a device is a network interface or leads to one: PCI class 02, virtio's own PCI devices and its network
/// card (virtio 1.2, sections 4.1.2 and 5), Hyper-V's and Xen's buses, network interfaces on USB (class 02 of an
/// interface, or vendor-specific).
fn leads_to_network(alias: &str) -> bool {
    let pci = |class: &str| alias.starts_with("pci:") && alias.contains(class);
    pci("bc02")
        || alias.starts_with("pci:v00001AF4")
        || alias.starts_with("virtio:d00000001v")
        || alias.starts_with("vmbus:f8615163") // Hyper-V's network card, by its class GUID
        || alias.starts_with("xen:vif")
        || alias.starts_with("mdio:")
}

fn no_network(network: &Network, waited: Duration) -> Fatal {
    let status = network.status();
    let details: Vec<_> = status.to_string().lines().map(str::to_owned).collect();
    let advice = if status.links.is_empty() {
        "the initramfs has no driver for this machine's network card: give the loader netboot.img besides initrd.img, or add \
         the driver to the recipe's kernel.modules"
    } else {
        "check the cable and the network's DHCP server; fixed settings are given with ip= on the kernel command line"
    };
    Fatal::new(format!("no network after {} s", waited.as_secs()), advice).with_details(details)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_network_cards_get_their_drivers_first() {
        for alias in [
            "pci:v00008086d000015F3sv00001043sd000087D2bc02sc00i00",
            "pci:v00001AF4d00001041sv00001AF4sd00001100bc02sc00i00",
            "virtio:d00000001v00001AF4",
            "mdio:00000000000111001100100100010110",
        ] {
            assert!(leads_to_network(alias), "{alias}");
        }
        for alias in ["pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01", "virtio:d00000002v00001AF4", "usb:v1"] {
            assert!(!leads_to_network(alias), "{alias}");
        }
    }

    #[test]
    fn a_bad_ip_is_told_and_dhcp_used() {
        let given = Settings { ip: vec!["dhpc".into()], name: Some("gpu7".into()), ..Settings::default() };
        let (settings, problems) = settings(&given);
        assert!(settings.links.is_empty() && settings.hostname.as_deref() == Some("gpu7"));
        assert!(problems[0].ends_with("; using DHCP"), "{problems:?}");
    }
}
