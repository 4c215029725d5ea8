//! Describes this machine for results.

use std::fs;
use std::path::Path;

use gpu::Inventory;
use machineinfo::{Memory, Processors};
use protocol::{ImageId, Machine};

use appliance::block;
use appliance::paths::IMAGE;
use appliance::root::Superblocks;
use appliance::settings::Settings;

/// Describes the machine. What cannot be determined is left out.
pub fn describe(settings: &Settings, gpus: Inventory) -> Machine {
    let uname = rustix::system::uname();
    let read =
        |path: &str| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let processors = Processors::read();
    Machine {
        name: uname.nodename().to_string_lossy().into_owned(),
        kernel: uname.release().to_string_lossy().into_owned(),
        processor: processors.name,
        processors: processors.count,
        memory: Memory::read().map_or(0, |memory| memory.total >> 20),
        rocbed: env!("CARGO_PKG_VERSION").to_owned(),
        image: image(&read("/proc/self/mountinfo"), Path::new("/sys"), Path::new("/dev"), settings.recipe.as_deref()),
        command_line: command_line(&read("/proc/cmdline")),
        gpus,
    }
}

/// The kernel's command line without secrets.
fn command_line(text: &str) -> Option<String> {
    let text = safetext::redacted(text.trim());
    (!text.is_empty()).then(|| text.chars().filter(|char| !char.is_control()).take(4096).collect())
}

/// The image that the machine was booted from, read from the superblock of the mounted root; also works for a root in
/// memory that came over the network.
fn image(mounts: &str, sys: &Path, dev: &Path, recipe: Option<&str>) -> Option<ImageId> {
    let source = mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        (before.split(' ').nth(4) == Some(IMAGE)).then(|| after.split(' ').nth(1)).flatten()
    })?;
    let name = source.strip_prefix("/dev/")?;
    let device = block::read(&sys.join("class/block").join(name))?;
    let root = Superblocks::default().of(dev, &device)?.uuid?;
    Some(ImageId { name: recipe.unwrap_or_default().to_owned(), root })
}

/// Describes each GPU in one line for people, and says why others cannot be used.
pub fn gpu_lines(inventory: &Inventory) -> Vec<String> {
    let usable = inventory.gpus.iter().map(|gpu| {
        // Those that are not copies of real ones have it in their names.
        let is_told = gpu.name.starts_with("simulated ");
        let simulated = if gpu.simulated && !is_told { ", simulated" } else { "" };
        let place = gpu.pci_address.map(|address| format!(" at {address}")).unwrap_or_default();
        format!("{} {}, {} GiB{place}{simulated}", gpu.target, gpu.name, gpu.memory >> 30)
    });
    let unusable = inventory.unusable.iter().map(|gpu| {
        let reason =
            gpu.reasons.first().map(|reason| format!("{}; {}", reason.message, reason.remedy)).unwrap_or_default();
        format!("unusable: {}: {reason}", gpu.name)
    });
    usable.chain(unusable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulated_gpu_says_so_once() -> Result<(), gpu::SimulateError> {
        let mut inventory = gpu::simulate("gfx1030")?;
        assert_eq!(gpu_lines(&inventory), ["gfx1030 simulated gfx1030 GPU, 16 GiB"]);
        inventory.gpus[0].name = "Navi 21".into();
        assert_eq!(gpu_lines(&inventory), ["gfx1030 Navi 21, 16 GiB, simulated"]);
        Ok(())
    }

    #[test]
    fn a_root_in_memory_is_an_image_too() -> std::io::Result<()> {
        let machine = tempfile::tempdir()?;
        for name in ["zram0", "vda"] {
            appliance::fixtures::add_disk(machine.path(), name, &[])?;
            fs::write(machine.path().join(name), appliance::fixtures::ext4(0xab, "rocbed"))?;
            let mounts = format!("29 1 0:2 / / rw - overlay x rw\n30 1 8:2 / {IMAGE} ro - ext4 /dev/{name} ro\n");
            let found = image(&mounts, machine.path(), machine.path(), Some("smoke"));
            let root = "abababab-abab-abab-abab-abababababab".to_owned();
            assert_eq!(found, Some(ImageId { name: "smoke".into(), root }), "{name}");
        }
        Ok(())
    }
}
