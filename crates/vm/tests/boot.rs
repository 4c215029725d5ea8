//! Tests with real machines, run by TCG so that they work everywhere.

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use vm::{Accelerator, Boot, Bus, Disk, End, Exit, Machine, VmError, probe};

const HINT: &str = "this test needs QEMU: apt install qemu-system-x86";

struct Bed {
    dir: tempfile::TempDir,
}

impl Bed {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn disk(&self, content: &[u8]) -> PathBuf {
        let path = self.dir.path().join("disk, with a comma.img");
        fs::write(&path, content).unwrap();
        path
    }

    fn machine(&self) -> Machine {
        let log = self.dir.path().join("log");
        Machine::new(Accelerator::Tcg).memory_mib(128).cpus(1).log(log).debug_exit().deadline(Duration::from_secs(60))
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.path().join("log")).unwrap()).into_owned()
    }
}

fn run(machine: &Machine) -> (Exit, Vec<String>) {
    let (lines, seen) = mpsc::channel();
    let running = machine.start(move |line| {
        lines.send(line.to_owned()).unwrap();
        ControlFlow::Continue(())
    });
    let exit = running.expect(HINT).wait().unwrap();
    (exit, seen.into_iter().collect())
}

/// A disk whose boot sector loops for ever.
fn idle_disk() -> Vec<u8> {
    let mut disk = probe::disk();
    // hlt; jmp to it
    disk[..3].copy_from_slice(&[0xf4, 0xeb, 0xfd]);
    disk
}

#[test]
fn a_guest_boots_from_every_kind_of_disk_speaks_and_ends() {
    for bus in [Bus::Virtio, Bus::Nvme, Bus::UsbStorage] {
        let bed = Bed::new();
        let (exit, lines) = run(&bed.machine().disk(Disk::snapshot(bed.disk(&probe::disk()), bus)));
        assert_eq!(exit.debug_code(), Some(probe::EXIT_CODE), "{bus:?}: {exit:?}");
        assert!(lines.iter().any(|line| line == probe::GREETING), "{bus:?}: {lines:?}");
        assert!(bed.log().contains(probe::GREETING));
    }
}

#[test]
fn a_machine_is_killed_at_its_deadline() {
    let bed = Bed::new();
    let machine = bed.machine().disk(Disk::snapshot(bed.disk(&idle_disk()), Bus::Virtio));
    let (exit, _) = run(&machine.deadline(Duration::from_millis(500)));
    assert_eq!(exit.end, End::Deadline);
    assert_eq!(exit.debug_code(), None);
}

#[test]
fn who_has_seen_enough_ends_the_machine() {
    let bed = Bed::new();
    // Without the port to end itself, the guest halts after its greeting.
    let machine =
        Machine::new(Accelerator::Tcg).memory_mib(128).disk(Disk::snapshot(bed.disk(&probe::disk()), Bus::Virtio));
    let enough =
        |line: &str| if line.contains(probe::GREETING) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    assert_eq!(machine.start(enough).expect(HINT).wait().unwrap().end, End::Stopped);
}

#[test]
fn a_dropped_machine_is_dead() {
    let bed = Bed::new();
    let machine = bed.machine().disk(Disk::snapshot(bed.disk(&idle_disk()), Bus::Virtio));
    let running = machine.start(|_| ControlFlow::Continue(())).expect(HINT);
    let process = PathBuf::from(format!("/proc/{}", running.pid()));
    assert!(process.exists());
    drop(running);
    assert!(!process.exists());
}

#[test]
fn a_snapshot_is_not_written_and_what_qemu_dislikes_is_told() {
    let bed = Bed::new();
    let path = bed.disk(&probe::disk());
    let (exit, _) = run(&bed.machine().disk(Disk::snapshot(&path, Bus::Virtio)).argument("-nonsense"));
    assert_eq!(exit.end, End::Exited(1));
    assert!(exit.messages.contains("-nonsense"), "{}", exit.messages);
    assert_eq!(fs::read(path).unwrap(), probe::disk());
}

#[test]
fn a_guest_that_kvm_gave_up_does_not_stay_for_ever() {
    let bed = Bed::new();
    let fake = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/qemu-where-kvm-fails");
    let (exit, lines) = run(&bed.machine().qemu(fake));
    assert_eq!((exit.end, lines), (End::KvmFailed, vec!["first".to_owned()]));
    assert!(exit.messages.contains("Suberror: 1"));
}

#[test]
fn a_missing_file_is_named_before_qemu_starts() {
    let bed = Bed::new();
    let machine =
        bed.machine().boot(Boot::Direct { kernel: "/no/kernel".into(), initrd: None, cmdline: String::new() });
    let error = machine.start(|_| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(&error, VmError::Io { path, .. } if path == &PathBuf::from("/no/kernel")), "{error}");
}

#[test]
fn firmware_starts_and_speaks_on_the_console() {
    let bed = Bed::new();
    let (seen, spoken) = mpsc::channel();
    let machine =
        bed.machine().memory_mib(256).boot(Boot::Uefi).disk(Disk::snapshot(bed.disk(&idle_disk()), Bus::Virtio));
    let running = machine.start(move |line| {
        if line.contains("BdsDxe") {
            seen.send(line.to_owned()).unwrap();
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    let exit = running.expect("this test needs QEMU and OVMF: apt install qemu-system-x86 ovmf").wait().unwrap();
    assert_eq!(exit.end, End::Stopped, "{}", bed.log());
    assert!(spoken.recv().is_ok());
}

#[test]
fn the_probe_answers_and_remembers() {
    let dir = tempfile::tempdir().unwrap();
    let choice = Accelerator::probe(Some(dir.path())).expect(HINT);
    assert!(!choice.reason.is_empty());
    assert_eq!(Accelerator::probe(Some(dir.path())).unwrap().accelerator, choice.accelerator);
    // The chosen accelerator must run a guest.
    let bed = Bed::new();
    let machine = Machine::new(choice.accelerator).memory_mib(64).debug_exit();
    let (exit, _) = run(&machine.disk(Disk::snapshot(bed.disk(&probe::disk()), Bus::Virtio)));
    assert_eq!(exit.debug_code(), Some(probe::EXIT_CODE), "{}: {exit:?}", choice.reason);
}
