//! Reads the load of GPUs, temperature and use, for the status screen (kernel Documentation/gpu/amdgpu/thermal.rst).

use std::fs;
use std::path::Path;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use crate::events::Event;
use crate::state::Load;

/// How often GPUs are asked.
const EVERY: Duration = Duration::from_secs(3);

/// Number of GPUs that are asked.
const MAX_GPUS: usize = 64;

/// Asks GPUs now and then, in a thread of its own: a driver that is about to reset its GPU answers late or never.
pub fn watch(events: Sender<Event>) {
    let watch = move || {
        let mut last = Vec::new();
        loop {
            let loads = read(Path::new("/sys/class/drm"));
            // Until the receiver is gone.
            if loads != last && events.send(Event::Loads(loads.clone())).is_err() {
                return;
            }
            last = loads;
            thread::sleep(EVERY);
        }
    };
    // Without it the screen has a line less for each GPU.
    let _ = thread::Builder::new().name("GPU load".into()).spawn(watch);
}

/// The load of the GPUs in `/sys/class/drm`. Those without sensors are left out.
fn read(drm: &Path) -> Vec<Load> {
    let Ok(entries) = fs::read_dir(drm) else { return Vec::new() };
    let mut loads: Vec<Load> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let number = name.to_str()?.strip_prefix("card")?;
            // Not its connectors, such as card0-DP-1.
            number.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
            of(&entry.path().join("device"))
        })
        .take(MAX_GPUS)
        .collect();
    loads.sort_by(|a, b| a.address.cmp(&b.address));
    loads
}

fn of(device: &Path) -> Option<Load> {
    let address = fs::canonicalize(device).ok()?.file_name()?.to_str()?.to_owned();
    let busy = number(&device.join("gpu_busy_percent"))
        .and_then(|percent| u8::try_from(percent).ok())
        .filter(|percent| *percent <= 100);
    let mut sensors = fs::read_dir(device.join("hwmon")).into_iter().flatten().flatten();
    // Thousandths of a degree; the first sensor is the chip's edge.
    let celsius =
        sensors.find_map(|sensor| number(&sensor.path().join("temp1_input"))).map(|temperature| temperature / 1000);
    (celsius.is_some() || busy.is_some()).then_some(Load { address, celsius, busy })
}

fn number(path: &Path) -> Option<i64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temperature_and_use_are_asked_of_each_gpu() -> std::io::Result<()> {
        let sys = tempfile::tempdir()?;
        let drm = sys.path().join("class/drm");
        for (name, address) in [
            ("card0", "0000:03:00.0"),
            ("card1", "0000:43:00.0"),
            ("card1-DP-1", "0000:43:00.0"),
            ("renderD128", "0000:03:00.0"),
        ] {
            let device = sys.path().join("devices").join(address);
            fs::create_dir_all(&device)?;
            fs::create_dir_all(drm.join(name))?;
            std::os::unix::fs::symlink(&device, drm.join(name).join("device"))?;
        }
        let device = sys.path().join("devices/0000:03:00.0");
        fs::create_dir_all(device.join("hwmon/hwmon4"))?;
        fs::write(device.join("hwmon/hwmon4/temp1_input"), "54000\n")?;
        fs::write(device.join("gpu_busy_percent"), "97\n")?;
        // The other one has a driver that tells nothing.
        let loads = read(&drm);
        assert_eq!(loads, [Load { address: "0000:03:00.0".into(), celsius: Some(54), busy: Some(97) }]);
        assert_eq!(loads[0].to_string(), "54 °C, 97 % in use");
        assert!(read(&sys.path().join("nowhere")).is_empty());
        Ok(())
    }
}
