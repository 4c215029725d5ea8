//! Text and JSON descriptions of devices.

use std::fmt::Write as _;

use serde::Serialize;
use stick::contents::Contents;
use stick::devices::{Device, Use};
use stick::refuse::{TargetRequirements, check_device};

use super::bytes;

/// JSON form of a device, with the reason, if any, why it is not written without further options.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Entry<'a> {
    #[serde(flatten)]
    device: &'a Device,
    refused: Option<String>,
}

impl<'a> Entry<'a> {
    pub(super) fn new(device: &'a Device) -> Self {
        Self { device, refused: refused(device) }
    }
}

fn refused(device: &Device) -> Option<String> {
    let refusal = check_device(device, &TargetRequirements::default()).err()?.to_string();
    refusal.lines().next().map(str::to_owned)
}

/// `/dev/sdb: SanDisk Ultra, 57.3 GiB, usb, removable, serial 4C53`
pub(super) fn headline(device: &Device) -> String {
    let transport = format!("{:?}", device.transport).to_lowercase();
    let mut words = vec![device.title(), bytes(device.size), transport];
    words.extend(device.removable.then(|| "removable".to_owned()));
    words.extend((device.sector_size != 512).then(|| format!("sectors of {} bytes", device.sector_size)));
    words.extend(device.serial.as_ref().map(|serial| format!("serial {serial}")));
    format!("{}: {}", device.path.display(), words.join(", "))
}

/// All devices, those that can be written first.
pub(super) fn list(devices: &[&Device]) -> String {
    let (good, bad): (Vec<_>, Vec<_>) = devices.iter().partition(|device| refused(device).is_none());
    let mut text = String::new();
    for device in good.into_iter().chain(bad) {
        text.push_str(&headline(device));
        text.push('\n');
        parts(device, &mut text);
        if let Some(refused) = refused(device) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "    not to be written: {refused}");
        }
    }
    text
}

/// Describes what is on a device and would be lost.
pub(super) fn lost(device: &Device) -> String {
    let mut text = format!("{}\n", headline(device));
    if device.partitions.is_empty() && device.contents.is_none() {
        text.push_str("    nothing that is recognized; all of it will be lost\n");
        return text;
    }
    text.push_str("  all of this will be lost:\n");
    parts(device, &mut text);
    if device.partitions.iter().any(|part| part.part_label.as_deref() == Some("rocbed-data")) {
        let path = device.path.display();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  it has been a worker's stick: `rocbed collect {path}` takes its results off first");
    }
    text
}

fn parts(device: &Device, text: &mut String) {
    let mut line = |name: &str, size: u64, label: Option<&str>, contents: Option<&Contents>| {
        let mut words = vec![name.to_owned(), bytes(size)];
        words.extend(contents.map(|contents| contents.kind.to_owned()));
        let labels = [contents.and_then(|contents| contents.label.as_deref()), label];
        words.extend(labels.into_iter().flatten().next().map(|label| format!("{label:?}")));
        let at = device.uses.iter().filter_map(|used| match used {
            Use::Mounted { device, at } if device == name => Some(format!("mounted at {at}")),
            Use::Swap { device } if device == name => Some("swap in use".to_owned()),
            Use::Held { device, by, what } if device == name => Some(format!("part of {by} ({what})")),
            _ => None,
        });
        words.extend(at);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "    {}", words.join("  "));
    };
    if device.partitions.is_empty() && device.contents.is_some() {
        line(&device.name, device.size, None, device.contents.as_ref());
    }
    for part in &device.partitions {
        line(&part.name, part.size, part.part_label.as_deref(), part.contents.as_ref());
    }
}
