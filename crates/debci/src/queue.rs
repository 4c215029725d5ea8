//! Names of debci's queues.

use gpu::{Inventory, Target};
use protocol::GpuNeed;

/// The queue that debci's collector reads results from, unless the server's setting `debci_amqp_results_queue` names
/// another one.
pub const RESULTS_QUEUE: &str = "debci_results";

/// The highest priority of debci's job queues, with which they are declared.
pub const PRIORITIES: u8 = 10;

/// Backends whose jobs debci puts into another backend's queue.
const ALIASES: [(&str, &str); 2] = [("incus-lxc", "lxc"), ("lxd-lxc", "lxc")];

/// A queue with jobs for one of this machine's targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchitectureQueue {
    /// The queue's name: `debci-tests-amd64+gfx1030-lxc`.
    pub name: String,
    /// The architecture, as debci's pages show it: `amd64+gfx1030`.
    pub architecture: String,
    /// The GPU that its jobs need.
    pub gpu: GpuNeed,
}

/// The name of an architecture with this target: `amd64+gfx1030`. Features such as `xnack+` are not part of it.
pub fn architecture(base: &str, target: Target) -> String {
    format!("{base}+{}", target.without_features())
}

/// The name of the queue for an architecture and a backend.
pub fn queue_name(architecture: &str, backend: &str) -> String {
    let alias = ALIASES.iter().find(|(from, _)| *from == backend).map_or(backend, |(_, to)| to);
    format!("debci-tests-{architecture}-{alias}")
}

/// The queues for a machine: one for each kind of GPU that it has, and then one for each generic target that these run.
/// Without GPUs there are none.
pub fn queues(base: &str, backend: &str, inventory: &Inventory) -> Vec<ArchitectureQueue> {
    let exact = inventory.gpus.iter().map(|gpu| gpu.target.without_features());
    let generic = inventory.gpus.iter().filter_map(|gpu| gpu.target.generic());
    let mut targets: Vec<Target> = Vec::new();
    for target in exact.chain(generic) {
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    let queue = |target: Target| {
        let architecture = architecture(base, target);
        ArchitectureQueue {
            name: queue_name(&architecture, backend),
            architecture,
            gpu: GpuNeed::Targets(vec![target]),
        }
    };
    targets.into_iter().map(queue).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_a_queue_for_each_target_and_generic_target() -> Result<(), gpu::SimulateError> {
        let names = |gpus: &str| -> Result<Vec<String>, gpu::SimulateError> {
            let inventory = gpu::simulate(gpus)?;
            Ok(queues("amd64", "lxc", &inventory).into_iter().map(|queue| queue.name).collect())
        };
        assert_eq!(names("gfx1030")?, ["debci-tests-amd64+gfx1030-lxc", "debci-tests-amd64+gfx10-3-generic-lxc"]);
        // Two of a kind, and one more of the same family.
        assert_eq!(
            names("gfx1030,gfx1030,gfx1031")?,
            ["debci-tests-amd64+gfx1030-lxc", "debci-tests-amd64+gfx1031-lxc", "debci-tests-amd64+gfx10-3-generic-lxc"]
        );
        assert_eq!(queues("amd64", "lxc", &Inventory::default()), []);
        Ok(())
    }

    #[test]
    fn some_backends_share_a_queue() {
        assert_eq!(queue_name("amd64", "incus-lxc"), "debci-tests-amd64-lxc");
        assert_eq!(queue_name("amd64+gfx942", "qemu"), "debci-tests-amd64+gfx942-qemu");
    }
}
