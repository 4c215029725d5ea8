//! The devices that a testbed's control group may use: a BPF program with a list (kernel
//! Documentation/admin-guide/cgroup-v2.rst, "Device controller").
//!
//! Inside, no nodes can be made and `/dev` has only what was granted, so this is the second of two barriers: a node that
//! gets in some other way, as in a root directory that somebody has prepared, cannot be opened.

use std::io;
use std::os::fd::AsFd;

use crate::bpf::{self, Instruction};

/// A character device that may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Allowed {
    major: u32,
    /// `None` allows all.
    minor: Option<u32>,
}

/// What any program may expect (kernel Documentation/admin-guide/devices.txt): null, zero, full, random and urandom, and
/// terminals.
const ALWAYS: [Allowed; 8] = [
    Allowed { major: 1, minor: Some(3) },
    Allowed { major: 1, minor: Some(5) },
    Allowed { major: 1, minor: Some(7) },
    Allowed { major: 1, minor: Some(8) },
    Allowed { major: 1, minor: Some(9) },
    Allowed { major: 5, minor: Some(0) },
    Allowed { major: 5, minor: Some(2) },
    Allowed { major: 136, minor: None },
];

/// Members of `struct bpf_cgroup_dev_ctx`: the type and access, major and minor number, as offsets in bytes.
const ACCESS_TYPE: i16 = 0;
const MAJOR: i16 = 4;
const MINOR: i16 = 8;
/// The lower half of the first member: `BPF_DEVCG_DEV_CHAR`.
const TYPE_MASK: i32 = 0xffff;
const CHARACTER: i32 = 2;

/// Lets the processes of a control group use the devices with these numbers, and those that every testbed has.
///
/// # Errors
/// If the kernel cannot do so, or this process may not.
pub(crate) fn attach(group: impl AsFd, devices: impl Iterator<Item = u64>) -> io::Result<()> {
    let granted =
        devices.map(|device| Allowed { major: rustix::fs::major(device), minor: Some(rustix::fs::minor(device)) });
    let allowed: Vec<Allowed> = ALWAYS.into_iter().chain(granted).collect();
    bpf::attach_device_program(&bpf::load_device_program(&program(&allowed)?)?, group)
}

/// Registers: the result, the argument, and three to calculate with.
const R0: u8 = 0;
const R1: u8 = 1;
const R2: u8 = 2;
const R3: u8 = 3;
const R4: u8 = 4;

/// Returns 1 for a device on the list, and 0 for all others.
fn program(allowed: &[Allowed]) -> io::Result<Vec<Instruction>> {
    let number = |value: u32| i32::try_from(value).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let mut program = vec![load(R2, ACCESS_TYPE), and(R2, TYPE_MASK), load(R3, MAJOR), load(R4, MINOR)];
    // Block devices have numbers of their own, and none is allowed.
    program.extend([jump_if_equal(R2, CHARACTER, 2), set(R0, 0), exit()]);
    for device in allowed {
        let accept = [set(R0, 1), exit()];
        match device.minor {
            Some(minor) => {
                program.push(jump_unless_equal(R3, number(device.major)?, 3));
                program.push(jump_unless_equal(R4, number(minor)?, 2));
            }
            None => program.push(jump_unless_equal(R3, number(device.major)?, 2)),
        }
        program.extend(accept);
    }
    program.extend([set(R0, 0), exit()]);
    Ok(program)
}

const fn load(to: u8, offset: i16) -> Instruction {
    // BPF_LDX | BPF_MEM | BPF_W, from the argument.
    Instruction { code: 0x61, registers: R1 << 4 | to, offset, constant: 0 }
}

const fn and(register: u8, constant: i32) -> Instruction {
    // BPF_ALU | BPF_AND | BPF_K
    Instruction { code: 0x54, registers: register, offset: 0, constant }
}

const fn set(register: u8, constant: i32) -> Instruction {
    // BPF_ALU64 | BPF_MOV | BPF_K
    Instruction { code: 0xb7, registers: register, offset: 0, constant }
}

const fn jump_if_equal(register: u8, constant: i32, offset: i16) -> Instruction {
    // BPF_JMP | BPF_JEQ | BPF_K
    Instruction { code: 0x15, registers: register, offset, constant }
}

const fn jump_unless_equal(register: u8, constant: i32, offset: i16) -> Instruction {
    // BPF_JMP | BPF_JNE | BPF_K
    Instruction { code: 0x55, registers: register, offset, constant }
}

const fn exit() -> Instruction {
    // BPF_JMP | BPF_EXIT
    Instruction { code: 0x95, registers: 0, offset: 0, constant: 0 }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::PathBuf;

    use proptest::prelude::*;
    use rustix::fs::{CWD, FileType, Mode, makedev};
    use rustix::io::Errno;

    use super::*;
    use crate::process::fork;

    /// What the program answers about a device; a small interpreter of its instructions.
    fn answer(program: &[Instruction], access_type: u32, major: u32, minor: u32) -> Option<u64> {
        let (mut registers, mut at) = ([0_u64; 5], 0_usize);
        while let Some(instruction) = program.get(at) {
            let register = usize::from(instruction.registers & 15);
            let constant = u64::from(instruction.constant.cast_unsigned());
            let mut jump = 0;
            match instruction.code {
                0x61 => {
                    registers[register] = u64::from([access_type, major, minor][instruction.offset as usize / 4]);
                }
                0x54 => registers[register] &= constant,
                0xb7 => registers[register] = constant,
                0x15 if registers[register] == constant => jump = instruction.offset as usize,
                0x55 if registers[register] != constant => jump = instruction.offset as usize,
                0x15 | 0x55 => {}
                0x95 => return Some(registers[0]),
                _ => return None,
            }
            at += 1 + jump;
        }
        None
    }

    proptest! {
        #[test]
        fn only_character_devices_on_the_list_are_allowed(
            list in prop::collection::vec((0..6_u32, prop::option::of(0..6_u32)), 0..6),
            device in (1..3_u32, 1..8_u32, 0..6_u32, 0..6_u32),
        ) {
            let allowed: Vec<_> = list.iter().map(|(major, minor)| Allowed { major: *major, minor: *minor }).collect();
            let (kind, access, major, minor) = device;
            let expected = kind == 2
                && allowed.iter().any(|one| one.major == major && one.minor.is_none_or(|wanted| wanted == minor));
            let program = program(&allowed).unwrap();
            prop_assert_eq!(answer(&program, access << 16 | kind, major, minor), Some(u64::from(expected)));
        }
    }

    /// A directory in a cgroup2 file system, which is removed in the end.
    struct ControlGroup(PathBuf);

    impl ControlGroup {
        fn make() -> Self {
            let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
            let is_writable =
                |line: &&str| line.split(' ').nth(2) == Some("cgroup2") && line.split([' ', ',']).nth(3) == Some("rw");
            let mount = mounts.lines().find(is_writable).and_then(|line| line.split(' ').nth(1));
            let name = format!("rocbed-test-{}", std::process::id());
            let built_for = "built for root with a cgroup2 file system: run it as root, or rebuild";
            let directory = PathBuf::from(mount.expect(built_for)).join(name);
            std::fs::create_dir(&directory).expect(built_for);
            Self(directory)
        }
    }

    impl Drop for ControlGroup {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir(&self.0);
        }
    }

    #[test]
    #[cfg_attr(
        not(device_filters),
        ignore = "it takes root and a cgroup2 file system that can be written to; tests/virtual_machine.rs boots a machine with it"
    )]
    fn a_node_of_another_device_cannot_be_opened() {
        let group = ControlGroup::make();
        let directory = File::open(&group.0).unwrap();
        attach(&directory, [makedev(1, 11)].into_iter()).expect("built for root: run it as root, or rebuild");
        let place = tempfile::tempdir().unwrap();
        let node = |name: &str, minor: u32| {
            let path = place.path().join(name);
            let mode = Mode::from_raw_mode(0o666);
            rustix::fs::mknodat(CWD, &path, FileType::CharacterDevice, mode, makedev(1, minor)).unwrap();
            path
        };
        // /dev/kmsg is granted, /dev/mem is not; /dev/zero always is.
        let (granted, zero, other) = (node("kmsg", 11), node("zero", 5), node("mem", 1));
        let made_inside = place.path().join("made");
        let members = group.0.join("cgroup.procs");
        let child = fork(|| {
            std::fs::write(&members, "0").map_or(1, |()| {
                let open = |path: &PathBuf| File::open(path).map_err(|error| error.raw_os_error());
                let refused = Err(Some(Errno::PERM.raw_os_error()));
                let mode = Mode::from_raw_mode(0o666);
                let make = rustix::fs::mknodat(CWD, &made_inside, FileType::CharacterDevice, mode, makedev(1, 1));
                match () {
                    () if open(&granted).is_err() => 2,
                    () if open(&zero).is_err() => 3,
                    () if open(&other).map(drop) != refused => 4,
                    () if make != Err(Errno::PERM) => 5,
                    () => 0,
                }
            })
        })
        .unwrap();
        let status = child.wait().unwrap().and_then(|status| status.exit_status());
        assert_eq!(status, Some(0));
    }
}
