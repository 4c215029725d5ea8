//! Asks for the time and prints the result: `sync [--set] [SERVER | http://HOST/]...`. With `--set` it sets the clock.

use network::clock::{Clock, ClockSettings, RecordingClock, SystemClock, sync_once};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (options, places): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|word| word == "--set");
    let mut settings = ClockSettings::default();
    if !places.is_empty() {
        (settings.urls, settings.servers) = places.into_iter().partition(|place| place.starts_with("http:"));
        settings.fallback_servers.clear();
    }
    let mut dry = RecordingClock::showing(SystemClock.now());
    let clock: &mut dyn Clock = if options.is_empty() { &mut dry } else { &mut SystemClock };
    println!("{}", sync_once(&settings, clock)?);
    Ok(())
}
