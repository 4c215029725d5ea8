use super::*;
use gpu::Xgmi;
use proptest::prelude::*;

fn machine(targets: &str) -> Machine {
    let gpus = if targets.is_empty() { Inventory::default() } else { gpu::simulate(targets).expect("targets") };
    Machine { gpus, processors: 2, memory: 4096, ..Machine::default() }
}

/// A machine with room for jobs without GPUs beside the others.
fn large(targets: &str) -> Machine {
    Machine { processors: 128, memory: 1 << 20, ..machine(targets) }
}

fn job(gpu: &str, more: &str) -> Job {
    let text = format!("[[job]]\npackage = \"rocrand\"\ngpu = {gpu}\n{more}");
    protocol::JobList::parse(text.as_bytes()).expect("a list").job.remove(0)
}

/// Begins a job; the ids of its GPUs, or `later`, or why not at all.
fn begin(allocation: &mut Allocation, name: &str, job: &Job) -> String {
    match allocation.fit(job, false) {
        Fit::Now(share) => {
            let ids = share.ids().join(" ");
            allocation.take(name, share, false);
            ids
        }
        Fit::Later => "later".into(),
        Fit::Never(why) => why.to_string(),
    }
}

#[test]
fn a_job_gets_the_gpus_it_asks_for() {
    for (gpu, more, ids) in [
        ("[\"gfx942\"]", "", "simulated-1"),
        ("[\"gfx942\"]", "gpus = 2", "simulated-1 simulated-2"),
        ("\"none\"", "", ""),
    ] {
        assert_eq!(begin(&mut Allocation::new(&machine("gfx1030,gfx942,gfx942"), None), "a", &job(gpu, more)), ids);
    }
    let whoever = Job::of_package("gzip");
    assert_eq!(begin(&mut Allocation::new(&machine("gfx1030,gfx942"), None), "a", &whoever), "simulated-0");
    assert_eq!(begin(&mut Allocation::new(&machine(""), None), "a", &whoever), "");
}

#[test]
fn each_gpu_has_one_job_and_the_next_waits() {
    let mut allocation = Allocation::new(&machine("gfx1030,gfx90a"), None);
    let any = Job::of_package("gzip");
    assert_eq!(begin(&mut allocation, "a", &any), "simulated-0");
    assert_eq!(begin(&mut allocation, "b", &job("[\"gfx1030\"]", "")), "later");
    assert_eq!(begin(&mut allocation, "c", &job("[\"gfx90a\"]", "")), "simulated-1");
    // It says nothing of GPUs, but would be another test without one.
    assert_eq!((begin(&mut allocation, "d", &any).as_str(), allocation.offer()), ("later", None));
    allocation.release("a");
    assert_eq!(begin(&mut allocation, "b", &job("[\"gfx1030\"]", "")), "simulated-0");
}

#[test]
fn a_machine_with_one_gpu_does_one_job_at_a_time() {
    for most in [None, Some(1)] {
        let mut allocation = Allocation::new(&machine("gfx1030"), most);
        assert!(allocation.offer().is_some_and(|offer| offer.is_all && offer.memory == 4096));
        begin(&mut allocation, "a", &job("\"none\"", ""));
        assert_eq!(begin(&mut allocation, "b", &job("\"any\"", "")), "later");
        assert_eq!(allocation.offer(), None);
    }
}

#[test]
fn jobs_without_gpus_run_beside_the_others_where_there_is_room() {
    let none = job("\"none\"", "");
    let mut allocation = Allocation::new(&large("gfx1030,gfx1030"), None);
    for name in ["a", "b"] {
        assert_eq!(begin(&mut allocation, name, &none), "");
    }
    assert_eq!(begin(&mut allocation, "c", &none), "later", "the GPUs' parts are not theirs");
    let offer = allocation.offer().expect("GPUs");
    assert_eq!((offer.gpus.len(), offer.without_gpu, offer.memory, offer.is_all), (2, false, 1 << 19, false));
    // Here there is no room, and one of them may have a GPU's part.
    let mut allocation = Allocation::new(&machine("gfx1030,gfx1030"), None);
    assert_eq!(begin(&mut allocation, "a", &none), "");
    assert_eq!(begin(&mut allocation, "b", &none), "later");
    assert_eq!(begin(&mut allocation, "c", &job("\"any\"", "")), "simulated-0");
    assert_eq!(begin(&mut allocation, "d", &job("\"any\"", "")), "later");
}

#[test]
fn who_needs_much_memory_has_more_parts() {
    let mut allocation = Allocation::new(&machine("gfx1030,gfx1030,gfx1030,gfx1030"), None);
    let Fit::Now(share) = allocation.fit(&job("\"any\"", "memory = 2100"), false) else { panic!("it fits") };
    assert_eq!((share.parts, share.of, share.of_number(4096)), (3, 4, 3072));
    allocation.take("a", share, false);
    assert_eq!(begin(&mut allocation, "b", &job("\"any\"", "memory = 2100")), "later");
    assert_eq!(allocation.offer().map(|offer| offer.memory), Some(1024));
    assert_eq!(begin(&mut allocation, "c", &job("\"any\"", "")), "simulated-1");
}

#[test]
fn no_more_run_at_once_than_is_set_or_memory_is_there_for() {
    let mut allocation = Allocation::new(&large("gfx1030,gfx1030,gfx1030"), Some(2));
    let any = job("\"any\"", "");
    assert_eq!(begin(&mut allocation, "a", &any), "simulated-0");
    assert_eq!(begin(&mut allocation, "b", &any), "simulated-1");
    assert_eq!(begin(&mut allocation, "c", &any), "later");
    let mut all = Allocation::new(&large("gfx1030,gfx1030,gfx1030"), Some(1));
    assert_eq!(begin(&mut all, "a", &job("\"any\"", "gpus = 3")), "simulated-0 simulated-1 simulated-2");
    let small = Machine { memory: 2048, ..machine("gfx1030,gfx1030,gfx1030") };
    assert_eq!([None, Some(3)].map(|most| Allocation::new(&small, most).parts), [2, 3]);
    // Where it is set, jobs without GPUs may be several on any machine.
    let mut none = Allocation::new(&machine(""), Some(2));
    assert_eq!(["a", "b"].map(|name| begin(&mut none, name, &job("\"none\"", ""))), ["", ""]);
    assert_eq!(none.offer(), None);
}

#[test]
fn who_runs_alone_waits_for_the_others_and_they_for_it() {
    let mut allocation = Allocation::new(&machine("gfx1030,gfx1030"), None);
    let any = job("\"any\"", "");
    begin(&mut allocation, "a", &any);
    assert_eq!(allocation.fit(&any, true), Fit::Later);
    allocation.release("a");
    let Fit::Now(share) = allocation.fit(&any, true) else { panic!("nothing else runs") };
    allocation.take("b", share, true);
    assert_eq!((begin(&mut allocation, "c", &any).as_str(), allocation.offer()), ("later", None));
}

#[test]
fn gpus_that_are_set_aside_get_no_job() {
    let mut allocation = Allocation::new(&machine("gfx1030,gfx942"), None);
    allocation.set_aside(["simulated-0".to_owned()]);
    assert_eq!(begin(&mut allocation, "a", &job("\"any\"", "")), "simulated-1");
    let why = begin(&mut allocation, "b", &job("[\"gfx1030\"]", ""));
    assert_eq!(why, "it needs gfx1030, and this machine has gfx1030, gfx942");
}

#[test]
fn gpus_of_a_hive_stay_together() {
    let mut eight = large("gfx942,gfx942,gfx942,gfx942,gfx942,gfx942,gfx942,gfx942");
    for (number, gpu) in eight.gpus.gpus.iter_mut().enumerate() {
        // Hives of 0 to 3 and of 4 to 7, but the first GPU is in none.
        let hive = (number > 0).then(|| if number < 4 { "one".to_owned() } else { "two".to_owned() });
        gpu.xgmi = hive.map(|hive| Xgmi { hive: Some(hive), device: None, siblings: Vec::new() });
    }
    let mut allocation = Allocation::new(&eight, None);
    let any = |count: u32| job("\"any\"", &format!("gpus = {count}"));
    assert_eq!(begin(&mut allocation, "a", &any(2)), "simulated-1 simulated-2", "the smallest that has two");
    assert_eq!(begin(&mut allocation, "b", &any(1)), "simulated-0", "no hive is broken for it");
    assert_eq!(begin(&mut allocation, "c", &any(4)), "simulated-4 simulated-5 simulated-6 simulated-7");
    allocation.release("a");
    allocation.release("c");
    assert_eq!(
        begin(&mut allocation, "d", &any(6)),
        "simulated-1 simulated-2 simulated-4 simulated-5 simulated-6 simulated-7"
    );
}

#[test]
fn gpus_of_a_socket_stay_together() {
    let mut four = large("gfx942,gfx942,gfx942,gfx942");
    for (number, gpu) in (0..).zip(&mut four.gpus.gpus) {
        gpu.numa_node = Some(number % 2);
    }
    let two = job("\"any\"", "gpus = 2");
    let mut allocation = Allocation::new(&four, None);
    assert_eq!(begin(&mut allocation, "a", &two), "simulated-0 simulated-2");
    assert_eq!(begin(&mut allocation, "b", &two), "simulated-1 simulated-3");
}

#[test]
fn a_job_that_cannot_run_here_says_why() {
    let why = |job: &Job| begin(&mut Allocation::new(&machine("gfx1030"), None), "a", job);
    assert_eq!(why(&job("[\"gfx90a\"]", "")), "it needs gfx90a, and this machine has gfx1030");
    assert_eq!(why(&job("\"any\"", "gpus = 2")), "it needs 2 times any GPU, and this machine has gfx1030");
    assert_eq!(
        why(&job("\"any\"", "gpu-memory = 4194304")),
        "it needs any GPU with 4194304 MiB, and this machine has gfx1030 with 16384 MiB"
    );
    assert!(why(&job("\"none\"", "memory = 8192")).contains("8192 MiB"));
    let none = begin(&mut Allocation::new(&machine(""), None), "a", &job("\"any\"", ""));
    assert_eq!(none, "it needs any GPU, and this machine has no GPU that can be used");
}

proptest! {
    /// Whatever begins and ends: no GPU has two jobs, no part is given twice, and what fits an idle machine fits it again.
    #[test]
    fn nothing_is_given_twice(
        steps in proptest::collection::vec((0_usize..6, 0_u32..4, 0_u64..3, any::<bool>()), 1..60),
        most in proptest::option::of(1_u32..10),
    ) {
        let machine = machine("gfx1030,gfx942,gfx942,gfx90a");
        let mut allocation = Allocation::new(&machine, most);
        for (number, (slot, gpus, memory, alone)) in steps.into_iter().enumerate() {
            let kind = ["\"none\"", "\"any\"", "[\"gfx942\"]", "[\"gfx1030\"]"][number % 4];
            let job = job(kind, &format!("gpus = {}\nmemory = {}", gpus.max(1), memory * 2000 + 1));
            allocation.release(&format!("job-{slot}"));
            if let Fit::Now(share) = allocation.fit(&job, alone) {
                allocation.take(&format!("job-{slot}"), share, alone);
            }
            let held: Vec<&Held> = allocation.held.values().collect();
            let ids: Vec<String> = held.iter().flat_map(|held| held.share.ids()).collect();
            prop_assert_eq!(ids.len(), allocation.busy().len());
            prop_assert!(held.iter().map(|held| held.share.parts).sum::<u32>() <= allocation.parts);
            prop_assert!(held.iter().all(|one| !one.alone) || held.len() == 1);
            if let Some(offer) = allocation.offer() {
                prop_assert!(offer.gpus.iter().all(|id| !ids.contains(id)));
            }
            let mut idle = allocation.clone();
            idle.held.clear();
            prop_assert_ne!(idle.fit(&job, alone), Fit::Later);
        }
    }
}
