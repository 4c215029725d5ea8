//! The power button: input devices that have `KEY_POWER` (kernel Documentation/input/event-codes.rst).

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::mpsc::Sender;
use std::thread;

use crate::events::Event;

/// `EV_KEY` and `KEY_POWER` of linux/input-event-codes.h.
const EV_KEY: u16 = 1;
const KEY_POWER: u16 = 116;

/// `struct input_event` on 64-bit machines: two times of 8 bytes, type, code, value.
const EVENT: usize = 24;

/// Listens to each device with a power button, once.
#[derive(Debug, Default)]
pub struct PowerButtons {
    known: BTreeSet<String>,
}

impl PowerButtons {
    /// Starts to listen to new devices with a power button in `/sys/class/input`, whose files are in `/dev/input`.
    pub fn look(&mut self, class: &Path, dev: &Path, events: &Sender<Event>) {
        let Ok(entries) = std::fs::read_dir(class) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with("event") || self.known.contains(&name) {
                continue;
            }
            let keys = std::fs::read_to_string(entry.path().join("device/capabilities/key")).unwrap_or_default();
            // The node shows up a moment after the device: then the next call finds it.
            let Some(file) = has_key(&keys, KEY_POWER).then(|| File::open(dev.join(&name)).ok()).flatten() else {
                continue;
            };
            self.known.insert(name);
            let theirs = events.clone();
            let thread = thread::Builder::new().name("power button".into()).spawn(move || listen(file, &theirs));
            if let Err(error) = thread {
                // The machine can still be ended in other ways.
                let _ =
                    events.send(Event::Said(format!("the power button is not watched: starting a thread: {error}")));
            }
        }
    }
}

fn listen(mut file: File, events: &Sender<Event>) {
    let mut event = [0; EVENT];
    while file.read_exact(&mut event).is_ok() {
        if is_press(&event) && events.send(Event::PowerButton).is_err() {
            return;
        }
    }
}

fn is_press(event: &[u8; EVENT]) -> bool {
    // `struct input_event` of linux/input.h: a time, whose length differs, then type, code and value.
    let [.., k0, k1, c0, c1, v0, v1, v2, v3] = *event;
    u16::from_ne_bytes([k0, k1]) == EV_KEY
        && u16::from_ne_bytes([c0, c1]) == KEY_POWER
        && i32::from_ne_bytes([v0, v1, v2, v3]) == 1
}

/// Whether a bitmap in sysfs's format has a bit set: words of 64 bits in hexadecimal digits, the highest first.
fn has_key(bitmap: &str, key: u16) -> bool {
    let words: Vec<_> = bitmap.split_ascii_whitespace().rev().collect();
    let word = words.get(usize::from(key / 64)).and_then(|word| u64::from_str_radix(word, 16).ok());
    word.is_some_and(|word| word >> (key % 64) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn knows_a_power_button_by_its_keys() {
        assert!(has_key("10000000000000 0\n", KEY_POWER));
        assert!(!has_key("8000000000000 0\n", KEY_POWER));
        assert!(!has_key("ffffffffffffffff\n", KEY_POWER));
        assert!(!has_key("", KEY_POWER));
    }

    #[test]
    fn only_its_press_counts() -> std::io::Result<()> {
        let (sys, dev) = (tempfile::tempdir()?, tempfile::tempdir()?);
        for (name, keys) in [("event0", "10000000000000 0"), ("event1", "1"), ("input0", "10000000000000 0")] {
            std::fs::create_dir_all(sys.path().join(name).join("device/capabilities"))?;
            std::fs::write(sys.path().join(name).join("device/capabilities/key"), keys)?;
        }
        let event = |code: u16, value: i32| {
            let mut bytes = vec![0; 16];
            bytes.extend([&EV_KEY.to_ne_bytes()[..], &code.to_ne_bytes(), &value.to_ne_bytes()].concat());
            bytes
        };
        let typed = [event(30, 1), event(KEY_POWER, 1), event(KEY_POWER, 0)].concat();
        std::fs::write(dev.path().join("event0"), typed)?;
        let (sender, events) = mpsc::channel();
        let mut buttons = PowerButtons::default();
        buttons.look(sys.path(), dev.path(), &sender);
        buttons.look(sys.path(), dev.path(), &sender);
        drop(sender);
        let heard: Vec<_> = events.iter().collect();
        assert!(matches!(heard[..], [Event::PowerButton]), "{heard:?}");
        Ok(())
    }
}
