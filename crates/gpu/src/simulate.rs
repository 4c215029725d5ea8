//! [`simulate`]: simulated GPUs, to try the rest of the system on machines without any.

use advice::{Advise, Help};

use crate::inventory::{Gpu, Inventory};
use crate::target::{Processor, Target, TargetError};

/// The largest number of simulated GPUs.
const MAX_GPUS: usize = 64;
const GIB: u64 = 1 << 30;

/// The reason why GPUs can't be simulated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SimulateError {
    /// The list is empty.
    #[error("no GPU to simulate")]
    Empty,
    /// A target is not valid.
    #[error("can't simulate a GPU: {0}")]
    Target(#[from] TargetError),
    /// A generic target is not that of a single GPU.
    #[error("can't simulate {0}: a GPU is of one kind, not of a whole family")]
    Generic(Target),
    /// There are too many.
    #[error("can't simulate {0} GPUs; {MAX_GPUS} are the most")]
    TooMany(usize),
}

impl Advise for SimulateError {
    fn help(&self) -> Help {
        match self {
            Self::Empty => "give targets with commas between them: gfx1030,gfx942".into(),
            Self::Generic(_) => "give one of the family, such as gfx1030".into(),
            Self::Target(_) | Self::TooMany(_) => Help::none(),
        }
    }
}

/// Simulates GPUs with these targets, separated by commas as in `rocbed.gpu=` on the kernel command line. They look
/// like the usual card with that target, and have neither address nor device file.
pub fn simulate(targets: &str) -> Result<Inventory, SimulateError> {
    let texts: Vec<&str> = targets.split(',').map(str::trim).filter(|text| !text.is_empty()).collect();
    if texts.is_empty() {
        return Err(SimulateError::Empty);
    }
    if texts.len() > MAX_GPUS {
        return Err(SimulateError::TooMany(texts.len()));
    }
    let gpus = texts
        .into_iter()
        .enumerate()
        .map(|(index, text)| {
            let target: Target = text.parse()?;
            if target.is_generic() { Err(SimulateError::Generic(target)) } else { Ok(made_up(index, target)) }
        })
        .collect::<Result<_, _>>()?;
    let notes =
        vec!["these GPUs are simulated: nothing runs on them, and results say nothing about real ones".to_owned()];
    Ok(Inventory { gpus, unusable: Vec::new(), simulated: true, notes })
}

fn made_up(index: usize, target: Target) -> Gpu {
    let (memory, compute_units, integrated) = usual(target);
    Gpu {
        id: format!("simulated-{index}"),
        target,
        name: format!("simulated {} GPU", target.processor()),
        pci_address: None,
        pci_id: None,
        subsystem: None,
        integrated,
        memory: memory * GIB,
        shared_memory: None,
        compute_units,
        render_node: None,
        kfd_node: None,
        numa_node: None,
        unique_id: None,
        firmware: std::collections::BTreeMap::new(),
        link: None,
        xgmi: None,
        partition: None,
        simulated: true,
        hints: Vec::new(),
    }
}

/// Memory in GiB, compute units, and whether it is integrated, for a usual card or processor with this target.
fn usual(target: Target) -> (u64, u32, bool) {
    let Processor::Version { major, minor, stepping } = target.processor() else { return (16, 60, false) };
    match (major, minor, stepping) {
        (9, 0, 8) => (32, 120, false),
        (9, 0, 10) => (64, 104, false),
        (9, 4, _) => (192, 304, false),
        (9, 5, _) => (288, 256, false),
        (10, 3, 0) => (16, 80, false),
        (10, 3, 1) => (12, 40, false),
        (10, 3, 2) => (8, 32, false),
        (10, 3, 4) => (4, 16, false),
        (10, 3, 6) => (1, 2, true),
        (9, 0, 2 | 9 | 12) | (10, 3, 3 | 5) => (2, 8, true),
        (11, 0, 0) => (24, 96, false),
        (11, 0, 3) | (11, 5 | 7, _) => (4, 16, true),
        (12, 0, 0) => (16, 32, false),
        (12, 0, 1) => (16, 64, false),
        _ => (16, 60, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simulated_gpus_match_as_real_ones_do_and_say_what_they_are() {
        let inventory = simulate("gfx1031, gfx942:xnack-").unwrap();
        assert!(inventory.simulated && inventory.gpus.iter().all(|gpu| gpu.simulated));
        assert!(inventory.notes[0].contains("simulated"));
        let matching: Vec<_> =
            inventory.matching("gfx10-3-generic".parse().unwrap()).map(|gpu| gpu.id.as_str()).collect();
        assert_eq!(matching, ["simulated-0"]);
        assert_eq!(inventory.gpus[1].target.to_string(), "gfx942:xnack-");
        assert_eq!((inventory.gpus[0].memory, inventory.gpus[0].compute_units), (12 * GIB, 40));
    }

    #[test]
    fn errors_name_what_to_write() {
        assert_eq!(simulate(" ,"), Err(SimulateError::Empty));
        assert!(simulate("gfx1030,radeon").unwrap_err().to_string().contains("`radeon` is not a GPU target"));
        assert!(simulate("gfx11-generic").unwrap_err().to_string().starts_with("can't simulate gfx11-generic"));
        assert_eq!(simulate(&"gfx900,".repeat(65)), Err(SimulateError::TooMany(65)));
    }
}
