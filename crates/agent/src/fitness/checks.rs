//! The checks of QUALIFY, each a function of the measured value.

use std::io;
use std::path::Path;
use std::time::SystemTime;

use super::Defect;
use super::command::Answer;
use crate::outbox::Load;
use appliance::disk_space::DiskSpace;

/// The free space that the next bundle may need, in bytes.
const LEAST_FREE: u64 = 32 << 20;

/// The largest number of undelivered results.
const MOST_RESULTS: usize = 100;

/// The largest total size of undelivered results in bytes, on a large file system; on a small one, half of it.
const MOST_BYTES: u64 = 4 << 30;

/// The least memory for a testbed, in MiB.
const LEAST_MEMORY: u64 = 256;

/// Checks that a result can be stored. `room` is an error if no file could be written.
pub(crate) fn data(directory: &Path, room: &io::Result<DiskSpace>) -> Option<Defect> {
    let name = directory.display();
    match room {
        Err(error) => Some(Defect::new(
            format!("nothing can be written to {name}: {error}"),
            "look at the stick's data partition on another machine with `e2fsck -f`, or take another stick",
        )),
        Ok(room) if room.free < LEAST_FREE => Some(Defect::new(
            format!(
                "{name} has only {} MiB free of the {} MiB that a result may need",
                room.free >> 20,
                LEAST_FREE >> 20
            ),
            "take results off the stick with `rocbed collect`, or take a larger one; without a data partition, give the \
             machine more memory",
        )),
        Ok(_) => None,
    }
}

/// Checks that results do not pile up. `total` is the size of the file system.
pub(crate) fn outbox(load: &io::Result<Load>, total: u64) -> Option<Defect> {
    match load {
        Err(error) => Some(Defect::new(
            format!("reading what waits to be delivered: {error}"),
            "look at the stick's data partition on another machine with `e2fsck -f`",
        )),
        Ok(load) if load.results >= MOST_RESULTS || load.bytes >= MOST_BYTES.min(total / 2) => Some(Defect::passing(
            format!(
                "{} results of {} MiB wait to be delivered, and there is no room for more",
                load.results,
                load.bytes >> 20
            ),
            "see that the hub can be reached; those that it will never take can be removed from the stick",
        )),
        Ok(_) => None,
    }
}

/// Checks that the clock is not before the image's build time: leases, certificates and Release files would not be
/// valid.
pub(crate) fn clock(now: SystemTime, made: &io::Result<SystemTime>) -> Option<Defect> {
    match made {
        Ok(made) if now < *made => Some(Defect::passing(
            "the clock is before the day that the image was made",
            "set the machine's clock, or name a time server that can be reached: ntp=",
        )),
        Ok(_) => None,
        Err(error) => Some(Defect::new(
            format!("asking for the image's date: {error}"),
            "the root is not a complete Debian system, or its disk is gone: look at the disk, or build the image again",
        )),
    }
}

/// Checks that there is memory for a testbed, in MiB.
pub(crate) fn memory(mib: &io::Result<u64>) -> Option<Defect> {
    match mib {
        Ok(mib) if *mib < LEAST_MEMORY => Some(Defect::new(
            format!("the machine has {mib} MiB of memory, and a test needs {LEAST_MEMORY} MiB"),
            "give it more",
        )),
        Ok(_) => None,
        Err(error) => Some(Defect::new(format!("reading /proc/meminfo: {error}"), "restart the machine")),
    }
}

/// Checks that ROCm finds the GPUs that the kernel has. Passes if ROCm is not installed.
pub(crate) fn rocminfo(answer: &io::Result<Answer>, usable: usize) -> Option<Defect> {
    let restart = "restart the machine; if it stays so, look for amdgpu in the kernel's log, and at the GPU";
    match answer {
        Ok(Answer::Missing) => None,
        Ok(Answer::Late { stuck: false }) => Some(Defect::new("rocminfo did not end in time: a GPU hangs", restart)),
        Ok(Answer::Late { stuck: true }) => Some(Defect::new(
            "rocminfo did not end in time and cannot be killed: a GPU's driver hangs",
            "switch the machine off and on",
        )),
        Ok(Answer::Ended { success, output }) => {
            let found = agents(output);
            let last = output.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("nothing");
            if !success {
                Some(Defect::new(format!("rocminfo failed; it said: {last}"), restart))
            } else if found < usable {
                let what = format!("rocminfo finds {found} GPUs, and the kernel {usable}");
                Some(Defect::new(what, restart))
            } else {
                None
            }
        }
        Err(error) => Some(Defect::passing(format!("running rocminfo: {error}"), "give the machine more memory")),
    }
}

/// Checks that a small kernel on a GPU gave the right result. Passes if HIP is not installed.
pub(crate) fn compute(answer: &io::Result<Answer>, gpu: &str) -> Option<Defect> {
    let advice = "switch the machine off and on; if it stays so, look at the GPU's power and cooling";
    match answer {
        Ok(Answer::Missing | Answer::Ended { success: true, .. }) => None,
        Ok(Answer::Ended { success: false, output }) => {
            let last = output.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("nothing");
            Some(Defect::new(format!("a small kernel failed on GPU {gpu}; it said: {last}"), advice))
        }
        Ok(Answer::Late { .. }) => {
            Some(Defect::new(format!("a small kernel did not end in time on GPU {gpu}"), advice))
        }
        Err(error) => Some(Defect::passing(
            format!("running a small kernel on GPU {gpu}: {error}"),
            "give the machine more memory",
        )),
    }
}

/// The number of GPUs that rocminfo(1) has listed. The names of their instruction sets begin otherwise.
pub(crate) fn agents(output: &str) -> usize {
    let names = output.lines().filter_map(|line| line.trim_start().strip_prefix("Name:"));
    names.filter(|name| name.trim_start().starts_with("gfx")).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn what(defect: Option<Defect>) -> String {
        defect.map(|defect| defect.advice.what).unwrap_or_default()
    }

    fn failed<T>() -> io::Result<T> {
        Err(io::Error::from_raw_os_error(30))
    }

    #[test]
    fn a_result_needs_room() {
        let room = |mib: u64| data(Path::new("/data"), &Ok(DiskSpace { free: mib << 20, total: 1 << 40 }));
        assert_eq!(room(32), None);
        assert_eq!(what(room(31)), "/data has only 31 MiB free of the 32 MiB that a result may need");
        assert!(what(data(Path::new("/data"), &failed())).starts_with("nothing can be written to /data: Read-only"));
    }

    #[test]
    fn results_that_pile_up_are_waited_for() {
        let with = |results, mib: u64, total: u64| outbox(&Ok(Load { results, bytes: mib << 20 }), total << 20);
        assert_eq!(with(99, 4095, 1 << 20), None);
        assert!(with(100, 1, 1 << 20).is_some_and(|defect| defect.passes));
        assert!(what(with(2, 4096, 1 << 20)).starts_with("2 results of 4096 MiB wait"));
        // Half of a small stick.
        assert_eq!(with(2, 499, 1000), None);
        assert!(with(2, 500, 1000).is_some());
        assert!(outbox(&failed(), 0).is_some_and(|defect| !defect.passes));
    }

    #[test]
    fn time_goes_on_from_the_images_day() {
        let made = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        assert_eq!(clock(made, &Ok(made)), None);
        assert!(clock(SystemTime::UNIX_EPOCH, &Ok(made)).is_some_and(|defect| defect.passes));
        assert!(clock(made, &failed()).is_some());
    }

    #[test]
    fn a_test_needs_memory() {
        assert_eq!(memory(&Ok(256)), None);
        assert_eq!(what(memory(&Ok(100))), "the machine has 100 MiB of memory, and a test needs 256 MiB");
    }

    #[test]
    fn a_kernel_has_to_give_the_right_result() {
        let told = |answer| what(compute(&Ok(answer), "0000:03:00.0"));
        assert_eq!(told(Answer::Missing), "");
        assert_eq!(told(Answer::Ended { success: true, output: String::new() }), "");
        let wrong = told(Answer::Ended { success: false, output: "element 3 is 0 and should be 7\n".into() });
        assert_eq!(wrong, "a small kernel failed on GPU 0000:03:00.0; it said: element 3 is 0 and should be 7");
        assert!(told(Answer::Late { stuck: true }).contains("did not end in time"));
    }

    #[test]
    fn rocm_has_to_find_what_the_kernel_has() {
        let text = "Agent 1\n  Name:                    AMD EPYC\nAgent 2\n  Name:                    gfx1030   \n  \
            ISA Info:\n      Name:                    amdgcn-amd-amdhsa--gfx1030\n*** Done ***\n";
        assert_eq!((agents(text), agents("Name:gfx942\nName: gfx942"), agents("")), (1, 2, 0));
        let ended = |success, output: &str| Ok(Answer::Ended { success, output: output.into() });
        assert_eq!(rocminfo(&ended(true, text), 1), None);
        assert_eq!(what(rocminfo(&ended(true, text), 2)), "rocminfo finds 1 GPUs, and the kernel 2");
        let said = what(rocminfo(&ended(false, "hsa_init failed\n\n"), 1));
        assert_eq!(said, "rocminfo failed; it said: hsa_init failed");
        assert_eq!(rocminfo(&Ok(Answer::Missing), 1), None);
        assert!(what(rocminfo(&Ok(Answer::Late { stuck: true }), 1)).contains("cannot be killed"));
        assert!(rocminfo(&Ok(Answer::Late { stuck: false }), 1).is_some());
        assert!(rocminfo(&failed(), 1).is_some());
    }
}
