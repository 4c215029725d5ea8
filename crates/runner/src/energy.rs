//! [`EnergyMeter`]: the energy that the GPUs of a job use, from what their drivers measure.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use gpu::PciAddress;

use crate::Grant;

/// How often power is looked at. What amdgpu tells is an average over about this time.
const EVERY: Duration = Duration::from_secs(1);

/// What a driver measures (kernel Documentation/hwmon/sysfs-interface.rst).
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    /// Energy since some time, in microjoules.
    Counter(PathBuf),
    /// Power, in microwatts.
    Power(PathBuf),
}

impl Source {
    /// What the device at an address has below this `/sys`; `None` if it measures neither.
    fn find(sys: &Path, address: PciAddress) -> Option<Self> {
        let hwmon = sys.join("bus/pci/devices").join(address.to_string()).join("hwmon");
        let directory = fs::read_dir(hwmon).ok()?.flatten().next()?.path();
        let counter = directory.join("energy1_input");
        if counter.exists() {
            return Some(Self::Counter(counter));
        }
        let power = ["power1_average", "power1_input"].map(|name| directory.join(name));
        power.into_iter().find(|path| path.exists()).map(Self::Power)
    }

    /// The number that it tells now. A GPU that sleeps tells none.
    fn read(&self) -> Option<u64> {
        let (Self::Counter(path) | Self::Power(path)) = self;
        fs::read_to_string(path).ok()?.trim().parse().ok()
    }
}

/// Adds up what one source tells.
#[derive(Debug)]
struct Sum {
    source: Source,
    last: Option<u64>,
    microjoules: f64,
}

impl Sum {
    fn new(source: Source) -> Self {
        Self { last: source.read(), source, microjoules: 0.0 }
    }

    /// Adds what was used in the time since the last call.
    fn add(&mut self, time: Duration) {
        let now = self.source.read();
        self.microjoules += match (&self.source, self.last, now) {
            // A counter that begins anew after a reset is behind the last.
            (Source::Counter(_), Some(last), Some(now)) => now.saturating_sub(last) as f64,
            (Source::Counter(_), ..) => 0.0,
            (Source::Power(_), last, now) => {
                let mean = f64::midpoint(last.unwrap_or(0) as f64, now.unwrap_or(0) as f64);
                mean * time.as_secs_f64()
            }
        };
        // A counter that cannot be read for a moment goes on from where it was.
        self.last = match &self.source {
            Source::Counter(_) => now.or(self.last),
            Source::Power(_) => now,
        };
    }
}

/// Measures in a thread of its own, until it is asked.
#[derive(Debug)]
pub(crate) struct EnergyMeter {
    stop: Sender<()>,
    thread: JoinHandle<f64>,
}

impl EnergyMeter {
    /// Begins to measure these GPUs. `None` if one of them does not tell, or is a partition: its device measures all of
    /// them together.
    pub(crate) fn start(sys: &Path, gpus: &[Grant]) -> Option<Self> {
        let source = |gpu: &Grant| Source::find(sys, gpu.id.parse().ok()?);
        let mut sums: Vec<Sum> = gpus.iter().map(|gpu| source(gpu).map(Sum::new)).collect::<Option<_>>()?;
        if sums.is_empty() {
            return None;
        }
        let (stop, stopped) = channel();
        let measure = move || {
            let mut began = Instant::now();
            loop {
                let goes_on = stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout);
                let now = Instant::now();
                for sum in &mut sums {
                    sum.add(now.duration_since(began));
                }
                began = now;
                if !goes_on {
                    return sums.iter().map(|sum| sum.microjoules).sum::<f64>() / 1e6;
                }
            }
        };
        let thread = thread::Builder::new().name("energy".into()).spawn(measure).ok()?;
        Some(Self { stop, thread })
    }

    /// Ends it. Returns how many joules were used; `None` if the thread has ended before.
    pub(crate) fn finish(self) -> Option<f64> {
        // The thread may have ended.
        let _ = self.stop.send(());
        self.thread.join().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    /// A `/sys` in which the GPU has a file with this number.
    fn sys(name: &str, number: u64) -> std::io::Result<(tempfile::TempDir, PathBuf)> {
        let sys = tempfile::tempdir()?;
        let directory = sys.path().join("bus/pci/devices/0000:03:00.0/hwmon/hwmon4");
        fs::create_dir_all(&directory)?;
        let file = directory.join(name);
        fs::write(&file, format!("{number}\n"))?;
        Ok((sys, file))
    }

    fn grant(id: &str) -> Grant {
        Grant { id: id.into(), render_node: None, simulated: false }
    }

    #[test]
    fn power_is_added_up_over_time() -> Outcome {
        let (_sys, file) = sys("power1_average", 100_000_000)?;
        let mut sum = Sum::new(Source::Power(file.clone()));
        fs::write(&file, "300000000")?;
        sum.add(Duration::from_secs(2));
        fs::remove_file(&file)?;
        sum.add(Duration::from_secs(2));
        // 200 W on average, then falling from 300 W to nothing.
        assert!((sum.microjoules / 1e6 - (400.0 + 300.0)).abs() < 1e-6, "{}", sum.microjoules);
        Ok(())
    }

    #[test]
    fn a_counter_is_read_at_both_ends() -> Outcome {
        let (sys, file) = sys("energy1_input", 5_000_000)?;
        fs::write(file.with_file_name("power1_average"), "1")?;
        let meter = EnergyMeter::start(sys.path(), &[grant("0000:03:00.0")]).ok_or("no meter")?;
        fs::write(&file, "47000000")?;
        assert_eq!(meter.finish(), Some(42.0));
        let mut sum = Sum::new(Source::Counter(file.clone()));
        for number in ["3000000", "4000000"] {
            fs::write(&file, number)?;
            sum.add(Duration::from_secs(1));
        }
        assert!((sum.microjoules - 1e6).abs() < 1e-6, "it began anew: {}", sum.microjoules);
        Ok(())
    }

    #[test]
    fn what_is_not_measured_is_not_told() -> Outcome {
        let (sys, _file) = sys("temp1_input", 5)?;
        assert!(EnergyMeter::start(sys.path(), &[]).is_none());
        assert!(EnergyMeter::start(sys.path(), &[grant("0000:03:00.0")]).is_none(), "it has no such file");
        let (sys, _file) = self::sys("power1_input", 5)?;
        assert!(EnergyMeter::start(sys.path(), &[grant("0000:03:00.0")]).is_some());
        for id in ["0000:03:00.0/1", "simulated-0", "0000:04:00.0"] {
            assert!(EnergyMeter::start(sys.path(), &[grant("0000:03:00.0"), grant(id)]).is_none(), "{id}");
        }
        Ok(())
    }
}
