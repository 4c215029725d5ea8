//! `rocbed.toml` and `jobs.toml` on a stick: what is put there is what the appliance will read.

use appliance::settings::{Origin, Settings as OfAppliance};
use stick::settings::{StickSettings, check_jobs};

/// A `rocbed.toml` that people have edited, a line `==`, and lines `name=value` to set, or `name` to remove. What is not
/// edited is not changed; what is set is there, and the appliance takes it and understands the same.
pub fn stick_settings(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (file, edits) = text.split_once("\n==\n").unwrap_or((&text, ""));
    let Ok(mut settings) = StickSettings::parse(file.as_bytes()) else { return };
    let _problems = settings.problems();
    let reads_back = |settings: &StickSettings| {
        let again = StickSettings::parse(settings.text().as_bytes()).expect("our own text");
        assert_eq!(again.text(), settings.text());
        // What is new comes before tables in the text, and behind them until it is read again.
        let sorted = |mut list: Vec<(String, String)>| {
            list.sort();
            list
        };
        assert_eq!(sorted(again.list()), sorted(settings.list()));
    };
    reads_back(&settings);
    for edit in edits.lines().take(20) {
        let before = settings.list();
        let name = edit.split('=').next().unwrap_or(edit).replace('_', "-");
        let is_it = |key: &str| key.replace('_', "-") == name;
        let others = |list: Vec<(String, String)>| list.into_iter().filter(|(key, _)| !is_it(key)).collect::<Vec<_>>();
        if let Some((given, value)) = edit.split_once('=') {
            match settings.set(given, value) {
                Ok(()) => {
                    assert_eq!(settings.list().iter().filter(|(key, _)| is_it(key)).count(), 1, "{edit:?}");
                    assert_eq!(others(settings.list()), others(before), "{edit:?}");
                    understood(given, value);
                }
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    assert_eq!(settings.list(), before, "{edit:?}");
                }
            }
        } else {
            let was_there = before.iter().any(|(key, _)| is_it(key));
            assert_eq!(settings.unset(edit).is_ok_and(|removed| removed), was_there, "{edit:?}");
            assert_eq!(settings.list(), others(before), "{edit:?}");
        }
        reads_back(&settings);
    }
}

/// What is set on a stick is to the appliance what it would be on the kernel command line.
fn understood(name: &str, value: &str) {
    let mut on_stick = StickSettings::default();
    on_stick.set(name, value).expect("what was set before");
    let mut from_stick = OfAppliance::default();
    let problems = from_stick.set_all(&on_stick.text(), Origin::Stick);
    assert!(problems.is_empty(), "{name}={value:?}: {problems:?}");
    let mut from_line = OfAppliance::default();
    from_line.set(name, value, Origin::CommandLine).expect("what a stick may have");
    // There an address with commas is one, here it is several.
    if name != "ip" {
        assert_eq!(from_stick, from_line, "{name}={value:?}");
    }
}

/// A job list for a stick. What is taken has jobs, and none that a stick has no source for.
pub fn stick_jobs(data: &[u8]) {
    match check_jobs(data) {
        Ok(number) => {
            let list = protocol::JobList::parse(data).expect("what was checked");
            assert_eq!(list.job.len(), number);
            assert!(list.job.iter().all(|job| !matches!(job.source, protocol::Source::Path(_))));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
