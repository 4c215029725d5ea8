//! Sets the clock from the network as soon as there is one, and checks it again from time to time.

use std::path::Path;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use network::clock::{ClockSettings, SystemClock, sync_once};

use crate::events::{ClockError, Event};
use appliance::paths::IMAGE;
use appliance::settings::Settings;

/// The pause before the next try when no server answered.
const AGAIN: Duration = Duration::from_secs(60);

/// The pause between checks; a good clock drifts little.
const LATER: Duration = Duration::from_secs(6 * 3600);

/// Starts a thread that keeps the clock right for ever.
pub fn keep(settings: &Settings, network: &network::Status, events: Sender<Event>) {
    let wanted = wanted(settings, network, Path::new(IMAGE));
    let said = events.clone();
    let keep = move || {
        loop {
            let result = sync_once(&wanted, &mut SystemClock);
            // A report without a source means that no server answered: all may be unreachable for good.
            let answered = result.as_ref().is_ok_and(|report| report.source.is_some());
            if events.send(Event::Clock(result.map_err(ClockError::Set))).is_err() {
                return;
            }
            thread::sleep(if answered { LATER } else { AGAIN });
        }
    };
    if let Err(error) = thread::Builder::new().name("clock".into()).spawn(keep) {
        // The receiver is gone only when the machine is being switched off.
        let _ = said.send(Event::Clock(Err(ClockError::Thread(error))));
    }
}

/// The time servers to ask: those from the settings, else from DHCP, then the servers that the appliance uses anyway.
/// A time before the image's own cannot be right: the image's files are as old as the archive that it was made from.
fn wanted(settings: &Settings, network: &network::Status, image: &Path) -> ClockSettings {
    let servers = if settings.ntp.is_empty() { network.ntp_servers() } else { settings.ntp.clone() };
    let mut wanted = ClockSettings { servers, ..ClockSettings::default() };
    let urls = [settings.hub.clone(), settings.mirror.clone()].into_iter().flatten();
    wanted.urls = urls.chain(wanted.urls).filter(|url| url.starts_with("http://")).collect();
    if let Ok(made) = std::fs::metadata(image.join("var/lib/dpkg/status")).and_then(|metadata| metadata.modified()) {
        wanted.floor = made;
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_those_who_were_named_first() -> std::io::Result<()> {
        let image = tempfile::tempdir()?;
        std::fs::create_dir_all(image.path().join("var/lib/dpkg"))?;
        std::fs::write(image.path().join("var/lib/dpkg/status"), "")?;
        let settings = Settings {
            ntp: vec!["ntp.example".into()],
            hub: Some("https://hub.example".into()),
            mirror: Some("http://mirror.example/debian".into()),
            ..Settings::default()
        };
        let wanted = wanted(&settings, &network::Status::default(), image.path());
        assert_eq!(wanted.servers, ["ntp.example"]);
        // HTTPS servers would need a right clock.
        assert_eq!(wanted.urls[0], "http://mirror.example/debian");
        assert!(wanted.floor > std::time::UNIX_EPOCH);
        Ok(())
    }
}
