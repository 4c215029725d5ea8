//! What the fuzz targets run: a function for each, that takes bytes and must neither panic, nor hang, nor take much
//! memory, and must keep the promises it asserts.
//!
//! The functions are in a library so that a plain test can run all of them over the seeds, with any compiler and
//! without libFuzzer. Where a format has checksums, the function puts them right first: a mutation that a checksum
//! catches finds nothing. How to run all this is in `docs/fuzzing.md`.

mod archive;
mod bytes;
mod chunks;
mod debci;
mod dhcp;
mod discovery;
mod disks;
mod exchange;
mod gpus;
mod kernel;
mod machines;
mod packages;
mod recipes;
mod runs;
mod shaders;
mod simulation;
mod solver;
mod sparse;
mod sticks;
mod storage;
mod wire;

pub use archive::{blockmap, content_range, cpio, deb, tar};
pub use chunks::{fuse_request, root_index, root_order, root_verity};
pub use debci::{amqp, debci_job, debci_received, debci_result};
pub use dhcp::dhcp_client;
pub use discovery::{dns_collector, dns_message};
pub use disks::{boot_entry, ext4, fat, gpt, superblock, uki};
pub use exchange::{api, frames, jobs, result};
pub use gpus::{config_space, gpu_target, kernel_faults, kernel_log, pci_ids, sysfs, topology};
pub use kernel::{cmdline, modinfo, modules, uevent};
pub use machines::{hub_log, netboot_log, netroot, proxy_request, range, settings, virt_request};
pub use packages::{control, deb822, index, lint, relation, release, version};
pub use recipes::{lock, recipe};
pub use runs::{bundle, dsc, report, summary, test_log, tests_control};
pub use shaders::gpu_kernel;
pub use simulation::gpu_requests;
pub use solver::solve;
pub use sparse::{expand as expand_sparse, pack as pack_sparse};
pub use sticks::{stick_jobs, stick_settings};
pub use storage::s3_answer;
pub use wire::{dhcp_frame, dhcp_message, http_date, ip, sntp};

/// What a target does with the bytes that it is given; it panics if they break a promise.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: &[(&str, Target)] = &[
    ("amqp", amqp),
    ("api", api),
    ("blockmap", blockmap),
    ("boot_entry", boot_entry),
    ("bundle", bundle),
    ("cmdline", cmdline),
    ("config_space", config_space),
    ("content_range", content_range),
    ("control", control),
    ("cpio", cpio),
    ("deb", deb),
    ("deb822", deb822),
    ("debci_job", debci_job),
    ("debci_received", debci_received),
    ("debci_result", debci_result),
    ("dhcp_client", dhcp_client),
    ("dhcp_frame", dhcp_frame),
    ("dhcp_message", dhcp_message),
    ("dns_collector", dns_collector),
    ("dns_message", dns_message),
    ("dsc", dsc),
    ("ext4", ext4),
    ("fat", fat),
    ("frames", frames),
    ("fuse_request", fuse_request),
    ("gpt", gpt),
    ("gpu_kernel", gpu_kernel),
    ("gpu_requests", gpu_requests),
    ("gpu_target", gpu_target),
    ("http_date", http_date),
    ("hub_log", hub_log),
    ("index", index),
    ("ip", ip),
    ("jobs", jobs),
    ("kernel_faults", kernel_faults),
    ("kernel_log", kernel_log),
    ("lint", lint),
    ("lock", lock),
    ("modinfo", modinfo),
    ("modules", modules),
    ("netboot_log", netboot_log),
    ("netroot", netroot),
    ("pci_ids", pci_ids),
    ("proxy_request", proxy_request),
    ("range", range),
    ("recipe", recipe),
    ("relation", relation),
    ("release", release),
    ("report", report),
    ("result", result),
    ("root_index", root_index),
    ("root_order", root_order),
    ("root_verity", root_verity),
    ("s3_answer", s3_answer),
    ("settings", settings),
    ("sntp", sntp),
    ("solve", solve),
    ("stick_jobs", stick_jobs),
    ("stick_settings", stick_settings),
    ("summary", summary),
    ("superblock", superblock),
    ("sysfs", sysfs),
    ("tar", tar),
    ("test_log", test_log),
    ("tests_control", tests_control),
    ("topology", topology),
    ("uevent", uevent),
    ("uki", uki),
    ("version", version),
    ("virt_request", virt_request),
];

/// A directory for what has to be files: in memory, if there is room for it.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory")
}

/// The bytes as text, or nothing: what is not UTF-8 is refused before these functions are called.
fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, fs, path::Path};

    fn names(directory: &str) -> BTreeSet<String> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
        let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn each_function_is_a_target_and_has_seeds() {
        let known: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(names("fuzz_targets"), known);
        assert_eq!(names("seeds"), known);
        let manifest = include_str!("../Cargo.toml");
        for name in known {
            assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} is not in Cargo.toml");
        }
    }

    fn seed(name: &str) -> Vec<u8> {
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name)).unwrap()
    }

    /// A seed that is refused at its first byte leads nowhere.
    #[test]
    fn binary_seeds_are_accepted() {
        for name in ["deb/plain.deb", "deb/xz.deb", "deb/zst.deb"] {
            assert_eq!(debian::deb::parse(&seed(name)).unwrap().name(), "demo", "{name}");
        }
        for name in ["ext4/ours", "ext4/no-checksums", "ext4/ext2"] {
            let image = expand_sparse(&seed(name), 1 << 20).unwrap();
            assert!(fsimage::ext4::read(&image, fsimage::ext4::Limits::default()).unwrap().len() >= 7, "{name}");
        }
        assert_eq!(
            fsimage::cpio::read(&seed("cpio/two-and-more"), fsimage::cpio::Limits::default()).unwrap().tree.len(),
            11
        );
        let volume = expand_sparse(&seed("fat/small"), 40 << 20).unwrap();
        assert_eq!(diskimage::fat::parse(&volume).unwrap().len(), 3);
        for name in ["gpt/512", "gpt/4096"] {
            let disk = expand_sparse(&seed(name), 4 << 20).unwrap();
            assert_eq!(diskimage::gpt::parse(&disk).unwrap().partitions.len(), 2, "{name}");
        }
        assert_eq!(diskimage::uki::sections(&seed("uki/stub")).unwrap().len(), 1);
        assert_eq!(diskimage::uki::bzimage_version(&seed("uki/kernel")), Some("7.2.13-amd64"));
        assert_eq!(kmod::Modinfo::parse(&seed("modinfo/elf")).unwrap().name(), Some("amdgpu"));
        assert!(diskimage::blockmap::BlockMap::parse(&seed("blockmap/disk.bmap")).is_ok());
        assert!(packages::seed_is_trusted(&seed("release/InRelease")));
        let recipe = String::from_utf8(seed("recipe/all-sections.toml")).unwrap();
        rocbed::recipe::parse_file(&recipe, "seed").unwrap();
        let lock = String::from_utf8(seed("lock/two-packages.lock")).unwrap();
        assert_eq!(rocbed::lock::Lock::parse(&lock, "seed").unwrap().packages.len(), 3);
    }

    #[test]
    fn seeds_of_the_network_and_of_runs_are_accepted() {
        let tar = archive::mend_tar(&seed("bundle/all-kinds"));
        assert_eq!(::bundle::parse(&zstd::encode_all(&tar[..], 1).unwrap()).unwrap().entries.len(), 6);
        protocol::JobResult::parse(&seed("result/worker")).unwrap();
        let compressed = seed("netroot/compressed");
        let root = rocbed_init::netroot::image::Incoming::open(&compressed[..], None).ok().unwrap();
        assert_eq!(root.size(), Some(12_000));
        for name in ["dhcp_message/ack", "dhcp_message/overload"] {
            assert!(network::dhcp::Lease::new(&network::dhcp::Message::parse(&seed(name)).unwrap()).is_ok(), "{name}");
        }
        assert!(network::dhcp::frame::read(&seed("dhcp_frame/ack")).is_some());
        for name in ["announcement", "question", "compressed"] {
            assert!(network::discovery::Message::parse(&seed(&format!("dns_message/{name}"))).is_ok(), "{name}");
        }
        let about = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_795_000_000);
        let cookie = 0x0707_0707_0707_0707;
        assert!(network::clock::sntp::Answer::parse(&seed("sntp/good")[8..], cookie, about).is_ok());
        assert_eq!(gpu::config_space::atomics_enabled(&seed("config_space/gpu")), Some(true));
        let mut decoder = protocol::Decoder::default();
        decoder.push(&seed("frames/from-appliance"));
        let frames = std::iter::from_fn(|| decoder.next_frame().unwrap()).count();
        assert_eq!((frames, decoder.is_within_frame()), (4, false));
        for name in ["jobs/toml", "jobs/json"] {
            protocol::JobList::parse(&seed(name)).unwrap();
        }
    }

    #[test]
    fn all_targets_survive_their_seeds() {
        for (name, target) in TARGETS {
            target(b"");
            let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name);
            for entry in fs::read_dir(&directory).unwrap() {
                let path = entry.unwrap().path();
                println!("{}", path.display()); // which one it was, should one panic
                let seed = fs::read(&path).unwrap();
                target(&seed);
                // And cut short, as a download would be.
                target(&seed[..seed.len() / 2]);
                target(&seed[..seed.len().saturating_sub(1)]);
                for round in 0..50 {
                    target(&mutated(&seed, round));
                }
            }
        }
    }

    /// The seed with a few bytes changed, doubled or taken out: always the same for the same round.
    fn mutated(seed: &[u8], round: u64) -> Vec<u8> {
        let mut state = round.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut random = |below: usize| {
            state ^= state << 13; // xorshift64
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 16) as usize % below.max(1)
        };
        let mut bytes = seed.to_vec();
        for _ in 0..=round % 4 {
            let at = random(bytes.len());
            let length = random(8).min(bytes.len() - at);
            match random(4) {
                0 => bytes[at..at + length].fill([0, 0xff, b'9', b'\n'][random(4)]),
                1 => bytes[at..].iter_mut().take(1).for_each(|byte| *byte ^= 1 << random(8)),
                2 => drop(bytes.drain(at..at + length)),
                _ => drop(bytes.splice(at..at, seed[at.min(seed.len())..].iter().copied().take(length))),
            }
        }
        bytes
    }
}
