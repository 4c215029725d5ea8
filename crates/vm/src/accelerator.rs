//! Finds out which accelerator really works on this host.
//!
//! It proves little that `/dev/kvm` can be opened: in some nested machines QEMU aborts at once, in others the guest
//! dies in its first steps while QEMU stays. So a [tiny guest](crate::probe) is run, once per boot of the host.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Bus, Disk, End, Exit, Machine, VmError, probe};

/// Time limit for the tiny guest. With a working KVM it takes a quarter of a second.
const PROBE_DEADLINE: Duration = Duration::from_secs(2);

/// The environment variable that overrides the check.
const OVERRIDE: &str = "ROCBED_ACCEL";

/// The way in which QEMU runs a guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Accelerator {
    /// KVM: on the processor itself.
    Kvm,
    /// TCG, by translation: works everywhere, 5 to 30 times slower.
    Tcg,
}

/// An accelerator, and the reason for choosing it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The accelerator.
    pub accelerator: Accelerator,
    /// The reason, for the user; for TCG with advice if there is any.
    pub reason: String,
}

impl Accelerator {
    /// Checks whether KVM works, in two seconds or little more. `ROCBED_ACCEL=kvm` or `=tcg` overrides the check. The
    /// answer is kept in the directory `cache` until the next boot of the host; if that is `None`, in the user's own
    /// (`$XDG_CACHE_HOME/rocbed`). An answer from a machine too busy to be sure is not kept.
    ///
    /// # Errors
    /// [`VmError::BadSetting`], [`VmError::MissingQemu`], or if the tiny guest's disk cannot be written.
    pub fn probe(cache: Option<&Path>) -> Result<Choice, VmError> {
        if let Some(accelerator) = forced(env::var(OVERRIDE).ok().as_deref())? {
            return Ok(Choice { accelerator, reason: format!("{OVERRIDE} is set") });
        }
        let qemu = find_qemu()?;
        if let Err(error) = File::options().read(true).write(true).open("/dev/kvm") {
            return Ok(tcg(&unusable(&error)));
        }
        let cache = cache.map(Path::to_owned).or_else(default_cache).map(|directory| directory.join("kvm-probe"));
        let key = key(&qemu)?;
        if let Some(choice) = cache.as_deref().and_then(|path| recall(path, &key)) {
            return Ok(choice);
        }
        let exit = run_guest(Self::Kvm)?;
        let choice = judge(&exit);
        // Was it KVM, or is everything slow at the moment? Then TCG is slow too, and the answer holds only for now.
        let sure = exit.end != End::Deadline || lives(&run_guest(Self::Tcg)?);
        if let (Some(path), true) = (cache, sure) {
            remember(&path, &key, &choice)?;
        }
        Ok(choice)
    }
}

fn forced(value: Option<&str>) -> Result<Option<Accelerator>, VmError> {
    match value {
        None | Some("") => Ok(None),
        Some("kvm") => Ok(Some(Accelerator::Kvm)),
        Some("tcg") => Ok(Some(Accelerator::Tcg)),
        Some(other) => Err(VmError::BadSetting { variable: OVERRIDE, value: other.to_owned(), takes: "kvm or tcg" }),
    }
}

fn tcg(reason: &str) -> Choice {
    Choice { accelerator: Accelerator::Tcg, reason: format!("{reason}; QEMU translates instead, which is slow") }
}

/// Explains why `/dev/kvm` cannot be opened, with advice.
fn unusable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no /dev/kvm (no virtualisation in this processor, firmware setting or \
                                    virtual machine, or the module kvm_intel or kvm_amd is not loaded)"
            .to_owned(),
        io::ErrorKind::PermissionDenied => {
            "there is no permission to use /dev/kvm: join the group kvm (sudo usermod -aG \
                                            kvm $USER) and log in again"
                .to_owned()
        }
        _ => format!("/dev/kvm cannot be opened: {error}"),
    }
}

/// Runs the tiny guest.
fn run_guest(accelerator: Accelerator) -> Result<Exit, VmError> {
    let temp_dir = env::temp_dir();
    let mut disk = tempfile::NamedTempFile::new().map_err(VmError::io("creating a file in", &temp_dir))?;
    disk.write_all(&probe::disk()).map_err(VmError::io("writing", disk.path()))?;
    let machine = Machine::new(accelerator).memory_mib(64).cpus(1).debug_exit().deadline(PROBE_DEADLINE);
    machine.disk(Disk::snapshot(disk.path(), Bus::Virtio)).start(|_| ControlFlow::Continue(()))?.wait()
}

/// Whether the tiny guest ran to its end.
fn lives(exit: &Exit) -> bool {
    exit.debug_code() == Some(probe::EXIT_CODE)
}

fn judge(exit: &Exit) -> Choice {
    if lives(exit) {
        return Choice { accelerator: Accelerator::Kvm, reason: "KVM works".to_owned() };
    }
    let said = exit.messages.lines().find(|line| line.contains("error") || line.contains("failed"));
    let how = match (said, exit.end) {
        (Some(line), _) => line.trim_start_matches("qemu-system-x86_64: ").to_owned(),
        (None, End::Deadline) => format!("a guest of one sector did not come up in {} s", PROBE_DEADLINE.as_secs()),
        (None, end) => format!("a guest of one sector ended as {end:?}"),
    };
    tcg(&format!("KVM is there but does not work ({how})"))
}

/// Whether QEMU reported that KVM cannot go on with the guest, after which it waits for ever.
pub(crate) fn says_kvm_failed(messages: &[u8]) -> bool {
    String::from_utf8_lossy(messages).contains("KVM internal error")
        || String::from_utf8_lossy(messages).contains("KVM: entry failed")
}

/// The path of QEMU, as found on `PATH`.
///
/// # Errors
/// [`VmError::MissingQemu`].
pub fn find_qemu() -> Result<PathBuf, VmError> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|directory| directory.join("qemu-system-x86_64"))
        .find(|candidate| candidate.is_file())
        .ok_or(VmError::MissingQemu)
}

fn default_cache() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(cache.join("rocbed"))
}

/// The key for which an answer is valid: this boot of the host and this QEMU.
fn key(qemu: &Path) -> Result<String, VmError> {
    let boot = "/proc/sys/kernel/random/boot_id";
    let boot_id = fs::read_to_string(boot).map_err(VmError::io("reading", boot))?;
    let modified = fs::metadata(qemu).and_then(|m| m.modified()).map_err(VmError::io("examining", qemu))?;
    let modified = modified.duration_since(std::time::UNIX_EPOCH).map_or(0, |age| age.as_secs());
    Ok(format!("{} {} {modified}", boot_id.trim(), qemu.display()))
}

/// Reads the cached answer: three lines, the key, the accelerator, the reason. Anything else is ignored.
fn recall(path: &Path, key: &str) -> Option<Choice> {
    let text = fs::read_to_string(path).ok()?;
    let mut lines = text.lines();
    if lines.next()? != key {
        return None;
    }
    let accelerator = forced(lines.next()).ok()??;
    Some(Choice { accelerator, reason: lines.next()?.to_owned() })
}

fn remember(path: &Path, key: &str, choice: &Choice) -> Result<(), VmError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory).map_err(VmError::io("creating", directory))?;
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(VmError::io("creating a file in", directory))?;
    let name = if choice.accelerator == Accelerator::Kvm { "kvm" } else { "tcg" };
    writeln!(file, "{key}\n{name}\n{}", choice.reason).map_err(VmError::io("writing", path))?;
    file.persist(path).map_err(|e| VmError::io("writing", path)(e.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(end: End, messages: &str) -> Exit {
        Exit { end, elapsed: Duration::ZERO, messages: messages.to_owned(), accelerator: Accelerator::Kvm }
    }

    #[test]
    fn only_the_guest_itself_proves_that_kvm_works() {
        assert_eq!(judge(&exit(End::Exited(0x43), "warning: feature")).accelerator, Accelerator::Kvm);
        for end in [End::Exited(0), End::Exited(1), End::Signal(6), End::Deadline, End::KvmFailed] {
            assert_eq!(judge(&exit(end, "")).accelerator, Accelerator::Tcg, "{end:?}");
        }
    }

    #[test]
    fn the_reason_quotes_qemu() {
        let said = "qemu-system-x86_64: warning: x\nqemu-system-x86_64: error: failed to set MSR 0x10a to 0x69\nmore";
        assert_eq!(
            judge(&exit(End::Signal(6), said)).reason,
            "KVM is there but does not work (error: failed to set MSR 0x10a to 0x69); QEMU translates instead, which is slow"
        );
        assert!(judge(&exit(End::Deadline, "")).reason.contains("did not come up in 2 s"));
        assert!(says_kvm_failed(b"KVM internal error. Suberror: 1\n"));
    }

    #[test]
    fn the_override_is_read() {
        assert_eq!(forced(Some("tcg")).unwrap(), Some(Accelerator::Tcg));
        assert_eq!(forced(Some("kvm")).unwrap(), Some(Accelerator::Kvm));
        assert_eq!(forced(None).unwrap(), None);
        let text = advice::Advice::of(&forced(Some("fast")).unwrap_err()).in_one_line();
        assert!(text.starts_with("ROCBED_ACCEL=\"fast\" is not understood"), "{text}");
        assert!(text.contains("kvm") && text.contains("tcg"), "{text}");
    }

    #[test]
    fn who_may_not_use_kvm_is_told_what_to_do() {
        assert!(unusable(&io::ErrorKind::PermissionDenied.into()).contains("sudo usermod -aG kvm $USER"));
        assert!(unusable(&io::ErrorKind::NotFound.into()).contains("there is no /dev/kvm"));
    }

    #[test]
    fn an_answer_is_kept_until_the_next_boot() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cache/kvm-probe");
        let choice = tcg("because");
        remember(&path, "boot-1 qemu", &choice).unwrap();
        assert_eq!(recall(&path, "boot-1 qemu"), Some(choice));
        assert_eq!(recall(&path, "boot-2 qemu"), None);
        fs::write(&path, "boot-1 qemu\n").unwrap();
        assert_eq!(recall(&path, "boot-1 qemu"), None);
    }
}
