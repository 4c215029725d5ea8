//! What the kernel says about GPUs, and how people name them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Component, Path};

use gpu::kernel_log::KernelEvent;
use gpu::messages::{Findings, Places, Reader, Trust};
use gpu::topology::{Link, Node, Properties};
use gpu::{Inventory, KernelLog, Names, PciAddress, Sources, Sysfs, Target};

use crate::{directory, text};

/// A `properties` file of KFD. What is read of it stands there, and a file that is cut says nothing else.
pub fn topology(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let properties = Properties::parse(&text);
    for name in ["simd_count", "gfx_target_version", "location_id", "domain", "drm_render_minor"] {
        if let Some(value) = properties.get(name) {
            let of_line = |line: &str| Some(line.split_once(' ')?.1.trim().parse::<u64>().ok()? == value);
            assert!(text.lines().any(|line| line.starts_with(name) && of_line(line) == Some(true)), "{name}");
        }
    }
    let cut = text.get(..text.trim_end_matches(|char| char != '\n').len()).unwrap_or_default();
    let mut whole = Properties::parse(cut);
    assert_eq!(properties.damaged, whole.damaged || cut.len() < text.len());
    whole.damaged = properties.damaged;
    assert_eq!(whole, properties);
    let _link = Link::new(&properties);
    let node = Node { properties, ..Node::default() };
    let _of_node = (node.is_gpu(), node.compute_units(), node.partition(), node.hive(), node.unique_id());
    assert!(node.render_minor().is_none_or(|minor| minor >= 128));
    assert!(node.address().is_none_or(|address| address.device < 32 && address.function < 8));
    if let Some(target) = node.target() {
        assert_eq!(target.to_string().parse(), Ok(target));
    }
}

/// A target, a PCI address, and a list of GPUs to make up. What is shown of each means the same again.
pub fn gpu_target(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Ok(target) = text.parse::<Target>() {
        assert_eq!(target.to_string().parse(), Ok(target));
        assert!(target.satisfies(&target) && target.satisfies(&target.without_features()));
        if let Some(generic) = target.generic() {
            assert!(generic.is_generic() && target.satisfies(&generic));
        }
    }
    if let Some(address) = PciAddress::find(text) {
        assert_eq!(PciAddress::find(&format!("at {address}: x")), Some(address));
        assert_eq!(address.to_string().parse(), Ok(address));
    }
    match gpu::simulate(text) {
        Ok(inventory) => {
            check(&inventory);
            assert!(inventory.simulated && inventory.gpus.iter().all(|gpu| gpu.simulated && !gpu.target.is_generic()));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// The kernel's log. What is told of it is for a terminal, and can be.
pub fn kernel_log(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let plain = |text: &str| !text.contains(char::is_control);
    let log = KernelLog::parse(&text);
    for entry in &log.entries {
        assert!(plain(&entry.line), "{entry:?}");
        match &entry.event {
            KernelEvent::FirmwareMissing(file) => {
                let path = Path::new(file).extension().is_some_and(|end| end == "bin");
                assert!(file.starts_with("amdgpu/") && path && plain(file), "{file:?}");
            }
            KernelEvent::UnsupportedByKfd(chip) => assert!(plain(chip), "{chip:?}"),
            _ => {}
        }
        if let Some(address) = entry.address {
            assert!(log.about(address).any(|other| other == entry));
        }
    }
    for line in text.lines() {
        let Some(fault) = gpu::fault(line) else { continue };
        assert!(plain(&fault.line) && !fault.line.is_empty(), "{fault:?}");
        // Whatever the kernel's own marks before it are.
        if plain(line) {
            let marked = gpu::fault(&format!("3,1207,98765432,-;{}", fault.line));
            assert_eq!(marked, Some(fault), "{line:?}");
        }
    }
}

/// The kernel's log as faults are looked for in it: as a text that somebody hands in, and as the records of the running
/// kernel. What is told can be printed; of the running kernel, nothing that has not the kernel's own marks.
pub fn kernel_faults(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let findings = Findings::of_log(&text, Trust::Text, None);
    let json = serde_json::to_value(&findings).expect("writing JSON");
    assert!(json.is_array());
    let lines: u64 = findings.0.iter().map(|finding| finding.count).sum();
    assert!(findings.0.iter().all(|finding| !finding.lines.is_empty() && !finding.advice.is_empty()));
    assert!(lines <= 2 * text.lines().count() as u64 + 2);
    assert!(!findings.to_string().contains(|char: char| char.is_control() && char != '\n'));
    let mut reader = Reader::new(Trust::Record, Places::of_log(&text));
    for line in text.lines() {
        if !reader.take(line).is_empty() {
            let priority = line.split(',').next().and_then(|priority| priority.parse::<u32>().ok());
            assert!(priority.is_some_and(|priority| priority < 8), "{line:?}");
        }
    }
}

/// A configuration space. Who sees its beginning only knows nothing.
pub fn config_space(data: &[u8]) {
    let _enabled = gpu::config_space::atomics_enabled(data);
    assert_eq!(gpu::config_space::atomics_enabled(&data[..data.len().min(64)]), None);
}

/// A `pci.ids`. What a device is called stands there.
pub fn pci_ids(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let names = Names::new(text.as_ref());
    for (vendor, device) in [(0x1002, 0x73bf), (0x1002, 0x164e), (0x10de, 0x2684)] {
        let found = names.vendor(vendor).into_iter().chain(names.device(vendor, device));
        assert!(found.into_iter().all(|name| text.contains(name) && !name.contains('\n')));
        assert!(names.device(vendor, device).is_none() || names.vendor(vendor).is_some());
        let _name = names.amd(device);
    }
}

/// A sysfs: for each file a line `== path` or `=> path target` for a link, and the file's content; the kernel's log is
/// the file `log`. GPUs have ids of their own, each that cannot be used has a reason, and all of it reads back.
pub fn sysfs(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let directory = directory();
    let mut log = String::new();
    for part in format!("\n{text}").split("\n=").skip(1).take(200) {
        let (head, content) = part.split_once('\n').unwrap_or((part, ""));
        let (kind, head) = head.split_at_checked(1).unwrap_or_default();
        let (path, target) = head.trim().split_once(' ').unwrap_or((head.trim(), ""));
        let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        if path.is_empty() || !inside || path.contains('\0') {
            continue;
        }
        if path == "log" {
            log.push_str(content);
        }
        let path = directory.path().join(path);
        let made = path.parent().map(fs::create_dir_all);
        // Names can be too long, and files in the way of directories.
        let _made = match kind {
            // Of a driver's link only the last part counts, and none must lead out of here.
            ">" => (made.is_some(), symlink(target.replace(['/', '.'], "-"), &path).is_ok()),
            _ => (made.is_some(), fs::write(&path, format!("{content}\n")).is_ok()),
        };
    }
    let sysfs = Sysfs::new(directory.path());
    let sources = Sources { sysfs, kernel_log: log, names: Names::default(), kfd: None, notes: Vec::new() };
    let inventory = gpu::detect(&sources);
    check(&inventory);
    assert!(!inventory.simulated && inventory.unusable.iter().all(|gpu| !gpu.reasons.is_empty()));
    let json = serde_json::to_vec(&inventory).expect("writing JSON");
    assert_eq!(serde_json::from_slice::<Inventory>(&json).expect("our own JSON"), inventory);
}

fn check(inventory: &Inventory) {
    let mut ids: Vec<&str> = inventory.gpus.iter().map(|gpu| gpu.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), inventory.gpus.len(), "{inventory:?}");
    let table = inventory.to_string();
    assert!(!table.contains(|char: char| char.is_control() && char != '\n'), "{table:?}");
}
