//! Suspends the machine to memory, and has its real-time clock wake it or switch it on.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the kernel calls suspending to memory (kernel Documentation/admin-guide/pm/sleep-states.rst).
const TO_MEMORY: &str = "mem";

/// Many clocks have alarms for a day at most.
const A_DAY: Duration = Duration::from_secs(23 * 3600);

/// The kernel's files for power and clocks.
#[derive(Debug, Clone)]
pub struct Power {
    /// The states that it can go to, and the one that it goes to (kernel Documentation/ABI/testing/sysfs-power).
    state: PathBuf,
    /// The first real-time clock (kernel Documentation/ABI/testing/sysfs-class-rtc).
    clock: PathBuf,
}

/// Why a machine does not sleep.
#[derive(Debug, thiserror::Error)]
pub enum SuspendError {
    /// It cannot at all.
    #[error("this machine cannot suspend to memory: its kernel offers {0:?}")]
    Unsupported(String),
    /// It did not work.
    #[error("suspending to memory")]
    Failed(#[source] io::Error),
}

impl Power {
    /// The files of this machine, or of a directory that stands for `/sys`.
    pub fn below(sys: &Path) -> Self {
        Self { state: sys.join("power/state"), clock: sys.join("class/rtc/rtc0") }
    }

    /// Sets the alarm of the clock, which also switches on many machines that are off; `None` clears it. Returns after
    /// how long it comes: earlier than wanted, if the clock has no later ones.
    ///
    /// # Errors
    /// If there is no clock, or it has no alarm.
    pub fn set_alarm(&self, after: Option<Duration>) -> io::Result<Option<Duration>> {
        let alarm = self.clock.join("wakealarm");
        // An alarm that is set has to be cleared before another one.
        fs::write(&alarm, "0")?;
        let Some(after) = after else { return Ok(None) };
        // The clock's own time: it may be local, or wrong.
        let now = fs::read_to_string(self.clock.join("since_epoch"))?;
        let now: u64 = now.trim().parse().map_err(io::Error::other)?;
        let set = |after: Duration| fs::write(&alarm, now.saturating_add(after.as_secs().max(1)).to_string());
        match set(after) {
            Err(_) if after > A_DAY => set(A_DAY).map(|()| Some(A_DAY)),
            other => other.map(|()| Some(after)),
        }
    }

    /// Suspends the machine; returns when it is awake again.
    ///
    /// # Errors
    /// If it cannot, or did not.
    pub fn suspend(&self) -> Result<(), SuspendError> {
        // Without the file the kernel has no such states.
        let states = fs::read_to_string(&self.state).unwrap_or_default();
        if !states.split_whitespace().any(|state| state == TO_MEMORY) {
            return Err(SuspendError::Unsupported(states.trim().to_owned()));
        }
        fs::write(&self.state, TO_MEMORY).map_err(SuspendError::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    #[test]
    fn a_machine_sleeps_until_its_alarm() -> Outcome {
        let sys = tempfile::tempdir()?;
        let clock = sys.path().join("class/rtc/rtc0");
        fs::create_dir_all(&clock)?;
        fs::create_dir_all(sys.path().join("power"))?;
        fs::write(sys.path().join("power/state"), "freeze mem disk\n")?;
        fs::write(clock.join("since_epoch"), "1000\n")?;
        let power = Power::below(sys.path());
        assert_eq!(power.set_alarm(Some(Duration::from_secs(60)))?, Some(Duration::from_secs(60)));
        assert_eq!(fs::read_to_string(clock.join("wakealarm"))?, "1060");
        assert_eq!(power.set_alarm(None)?, None);
        assert_eq!(fs::read_to_string(clock.join("wakealarm"))?, "0");
        power.suspend()?;
        assert_eq!(fs::read_to_string(sys.path().join("power/state"))?, "mem");
        Ok(())
    }

    #[test]
    fn what_a_machine_cannot_do_is_told() -> Outcome {
        let sys = tempfile::tempdir()?;
        let power = Power::below(sys.path());
        assert!(power.set_alarm(Some(Duration::from_secs(60))).is_err());
        assert!(matches!(power.suspend(), Err(SuspendError::Unsupported(states)) if states.is_empty()));
        fs::create_dir_all(sys.path().join("power"))?;
        fs::write(sys.path().join("power/state"), "freeze\n")?;
        let told = power.suspend().map_err(|error| error.to_string());
        assert_eq!(told, Err("this machine cannot suspend to memory: its kernel offers \"freeze\"".to_owned()));
        Ok(())
    }
}
