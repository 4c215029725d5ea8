//! [`TestbedLimits`]: how much a job's testbeds may use of the machine: its share of what all may.

use std::collections::BTreeSet;

use gpu::{Gpu, Sysfs};
use protocol::Machine;

use super::allocation::Share;
use appliance::settings::Settings;

/// Most processes and threads of a testbed, as long as that is not more than a quarter of the machine's: the server's own
/// limit. All testbeds together have twice as many, which leaves half to the machine.
const PROCESSES: u64 = 16384;

/// The fewest of one testbed: builds start one for each processor.
const LEAST_PROCESSES: u64 = 1024;

/// Share of the processors of a job with one part, as the server has it, and the largest that there is.
const CPU_WEIGHT: u32 = 50;
const LARGEST_WEIGHT: u32 = 10_000;

/// The kernel's limit for the machine (`proc_sys_kernel(5)`).
const PID_MAX: &str = "/proc/sys/kernel/pid_max";

/// Limits as the options of the virtualisation server take them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TestbedLimits {
    /// `--overlay-size`.
    pub(crate) overlay_size: String,
    /// `--memory`.
    pub(crate) memory: String,
    /// `--processes`, where it is less than the server's own limit.
    pub(crate) processes: Option<u64>,
    /// `--cpu-weight`, where it is not the server's own.
    pub(crate) cpu_weight: Option<u32>,
}

/// Where the kernel lists NUMA nodes (kernel Documentation/ABI/stable/sysfs-devices-node).
const NODES: &str = "devices/system/node";

/// The processors near a job's GPUs, as the kernel lists them; `None` if all are, or it is not known of each. Memory is
/// taken there first by itself, and elsewhere rather than not at all.
pub(crate) fn near(gpus: &[Gpu], sysfs: &Sysfs) -> Option<String> {
    let nodes: BTreeSet<u32> = gpus.iter().map(|gpu| gpu.numa_node).collect::<Option<_>>()?;
    let names = sysfs.list(NODES);
    let processors = |node: u32| sysfs.value(&format!("{NODES}/node{node}/cpulist"));
    let all = names.iter().filter_map(|name| name.strip_prefix("node")?.parse().ok()).filter_map(processors).count();
    // A node may have memory only.
    let lists: Vec<String> = nodes.into_iter().map(processors).collect::<Option<_>>()?;
    (!lists.is_empty() && lists.len() < all).then(|| lists.join(","))
}

impl TestbedLimits {
    /// The limits of a job with this share. Where one job runs at a time they are what is set; a size that is set in
    /// bytes always is.
    pub(crate) fn new(settings: &Settings, machine: &Machine, share: &Share) -> Self {
        let pid_max = std::fs::read_to_string(PID_MAX).ok().and_then(|text| text.trim().parse().ok());
        Self::with_pid_max(settings, machine, share, pid_max.unwrap_or(4 * PROCESSES))
    }

    fn with_pid_max(settings: &Settings, machine: &Machine, share: &Share, pid_max: u64) -> Self {
        let part = |size: &str| match size.strip_suffix('%').map(str::parse::<u64>) {
            Some(Ok(percent)) if share.of > 1 => {
                let kib = share.of_number(machine.memory.saturating_mul(1024)).saturating_mul(percent) / 100;
                format!("{}K", kib.max(1))
            }
            _ => size.to_owned(),
        };
        let alone = PROCESSES.min(pid_max / 4).max(LEAST_PROCESSES);
        let processes = share.of_number(2 * alone).clamp(LEAST_PROCESSES, alone);
        Self {
            overlay_size: part(&settings.overlay_size),
            memory: part(&settings.testbed_memory),
            processes: (share.of > 1).then_some(processes),
            cpu_weight: (share.parts > 1).then(|| share.parts.saturating_mul(CPU_WEIGHT).min(LARGEST_WEIGHT)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(parts: u32, of: u32, change: impl FnOnce(&mut Settings)) -> TestbedLimits {
        let mut settings = Settings::default();
        change(&mut settings);
        let machine = Machine { memory: 65536, ..Machine::default() };
        TestbedLimits::with_pid_max(&settings, &machine, &Share { gpus: Vec::new(), parts, of }, 32768)
    }

    #[test]
    fn one_job_has_what_is_set() {
        let whole =
            TestbedLimits { overlay_size: "50%".into(), memory: "90%".into(), processes: None, cpu_weight: None };
        assert_eq!(limits(1, 1, |_| ()), whole);
    }

    #[test]
    fn each_of_several_has_its_part() {
        let eighth = limits(1, 8, |_| ());
        // 50 % and 90 % of 8 GiB.
        assert_eq!((eighth.overlay_size.as_str(), eighth.memory.as_str()), ("4194304K", "7549747K"));
        assert_eq!((eighth.processes, limits(8, 8, |_| ()).processes), (Some(2048), Some(8192)));
        assert_eq!(limits(1, 64, |_| ()).processes, Some(1024));
        // Who has four parts gets four times as much of busy processors.
        assert_eq!((eighth.cpu_weight, limits(4, 8, |_| ()).cpu_weight), (None, Some(200)));
    }

    #[test]
    fn a_job_is_near_its_gpus() -> Result<(), Box<dyn std::error::Error>> {
        let sys = tempfile::tempdir()?;
        for (node, list) in [("node0", "0-15,32-47\n"), ("node1", "16-31,48-63\n"), ("node2", "\n")] {
            let directory = sys.path().join(NODES).join(node);
            std::fs::create_dir_all(&directory)?;
            std::fs::write(directory.join("cpulist"), list)?;
        }
        let sysfs = Sysfs::new(sys.path());
        let mut gpus = gpu::simulate("gfx942,gfx942")?.gpus;
        let mut on = |nodes: [Option<u32>; 2]| {
            gpus.iter_mut().zip(nodes).for_each(|(gpu, node)| gpu.numa_node = node);
            near(&gpus, &sysfs)
        };
        assert_eq!(on([Some(1), Some(1)]).as_deref(), Some("16-31,48-63"));
        assert_eq!(on([Some(0), Some(1)]), None, "that is all");
        assert_eq!(on([Some(0), None]), None, "one is not known");
        assert_eq!(on([Some(2), Some(2)]), None, "it has only memory");
        assert_eq!(near(&[], &sysfs), None);
        Ok(())
    }

    #[test]
    fn what_is_set_in_bytes_stays() {
        let set = limits(1, 4, |settings| settings.testbed_memory = "6G".into());
        assert_eq!((set.memory.as_str(), set.overlay_size.as_str()), ("6G", "8388608K"));
    }
}
