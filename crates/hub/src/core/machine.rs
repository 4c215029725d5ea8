//! Comparison of a result with its worker's registration: a result counts for GPUs, and a worker may have made it
//! elsewhere.

use gpu::Gpu;
use protocol::api::{Problem, ProblemCode};
use protocol::{JobResult, Machine};

/// Compares a result with the machine that its worker had registered when it got the job. The GPUs, their targets and
/// whether they are simulated must be the same; other differences are returned as warnings.
pub(crate) fn compare(result: &JobResult, registered: &Machine) -> Result<Vec<String>, Problem> {
    let refuse = |detail: String| Err(Problem::new(ProblemCode::WrongMachine, detail));
    let word = |simulated: bool| if simulated { "simulated" } else { "real" };
    let says = result.simulated || result.machine.gpus.simulated;
    if says != registered.gpus.simulated {
        let (says, registered) = (word(says), word(registered.gpus.simulated));
        return refuse(format!("the result is of {says} GPUs, and the worker has registered {registered} ones"));
    }
    for id in &result.gpus {
        let find = |machine: &'_ Machine| machine.gpus.gpus.iter().find(|gpu| gpu.id == *id).cloned();
        let Some(known) = find(registered) else {
            return refuse(format!(
                "GPU `{id}` was used, and the worker has registered {}",
                listed(&registered.gpus.gpus)
            ));
        };
        let Some(used) = find(&result.machine) else {
            return refuse(format!("GPU `{id}` was used, and the result does not say what it is"));
        };
        if used.target.without_features() != known.target.without_features() || used.simulated != known.simulated {
            return refuse(format!(
                "GPU `{id}` is {} {} in the result, and the worker has registered it as {} {}",
                word(used.simulated),
                used.target,
                word(known.simulated),
                known.target
            ));
        }
    }
    let mut warnings = Vec::new();
    if result.machine.name != registered.name {
        let (says, name) = (&result.machine.name, &registered.name);
        warnings
            .push(format!("the result is of a machine that is called `{says}`, and the worker's is called `{name}`"));
    }
    let root = |machine: &Machine| machine.image.as_ref().map(|image| image.root.clone());
    if root(&result.machine) != root(registered) {
        let root = |machine: &Machine| root(machine).unwrap_or_else(|| "none".to_owned());
        let (says, known) = (root(&result.machine), root(registered));
        warnings.push(format!("the result is of image {says}, and the worker was booted from image {known}"));
    }
    Ok(warnings)
}

fn listed(gpus: &[Gpu]) -> String {
    let ids: Vec<String> = gpus.iter().map(|gpu| format!("`{}`", gpu.id)).collect();
    if ids.is_empty() { "none".to_owned() } else { ids.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(gpus: &str) -> Machine {
        Machine { name: "lab-1".into(), gpus: gpu::simulate(gpus).expect("targets"), ..Machine::default() }
    }

    fn result(machine: &Machine, gpus: &[&str]) -> JobResult {
        let json = serde_json::json!({
            "version": 1, "job": { "package": "gzip" }, "verdict": "pass", "simulated": machine.gpus.simulated,
            "started": "2026-11-01T10:00:00Z", "finished": "2026-11-01T10:01:00Z", "runs": [], "gpus": gpus,
            "machine": machine,
        });
        serde_json::from_value(json).expect("a result")
    }

    /// The same machine, with its GPUs marked as real.
    fn real(mut machine: Machine) -> Machine {
        machine.gpus.simulated = false;
        machine.gpus.gpus.iter_mut().for_each(|gpu| gpu.simulated = false);
        machine
    }

    #[test]
    fn a_result_of_the_registered_machine_is_taken() {
        let lab = machine("gfx1030,gfx942");
        assert_eq!(compare(&result(&lab, &["simulated-1"]), &lab), Ok(Vec::new()));
        // A job without a GPU used none, so no simulated one either.
        let mut without = result(&lab, &[]);
        without.simulated = false;
        assert_eq!(compare(&without, &lab), Ok(Vec::new()));
        let features = Machine { gpus: gpu::simulate("gfx90a:xnack+").expect("a target"), ..lab };
        let plain = Machine { gpus: gpu::simulate("gfx90a").expect("a target"), ..features.clone() };
        assert_eq!(compare(&result(&features, &["simulated-0"]), &plain), Ok(Vec::new()));
    }

    #[test]
    fn what_the_worker_did_not_register_is_refused() {
        let lab = machine("gfx1030");
        for (wrong, says) in [
            (result(&lab, &["0000:ff:00.0"]), "GPU `0000:ff:00.0` was used, and the worker has registered"),
            (result(&machine("gfx942"), &["simulated-0"]), "simulated gfx942 in the result"),
            (result(&real(lab.clone()), &["simulated-0"]), "the result is of real GPUs"),
            (
                result(
                    &Machine { gpus: gpu::Inventory { simulated: true, ..gpu::Inventory::default() }, ..lab.clone() },
                    &["simulated-0"],
                ),
                "does not say what it is",
            ),
        ] {
            let problem = compare(&wrong, &lab).expect_err(says);
            assert!(problem.code == ProblemCode::WrongMachine && problem.detail.contains(says), "{problem}");
        }
        assert!(compare(&result(&lab, &["simulated-0"]), &real(lab)).is_err());
    }

    #[test]
    fn what_else_differs_is_a_warning() {
        let lab = machine("gfx1030");
        let image = protocol::ImageId { name: "rocm".into(), root: "6a1f".into() };
        let other = Machine { name: "elsewhere".into(), image: Some(image), ..lab.clone() };
        let warnings = compare(&result(&other, &["simulated-0"]), &lab).expect("it is taken");
        assert!(
            warnings.len() == 2 && warnings[0].contains("`elsewhere`") && warnings[1].contains("6a1f"),
            "{warnings:?}"
        );
    }
}
