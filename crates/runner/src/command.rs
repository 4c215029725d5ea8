//! autopkgtest's command line for one run of a job (autopkgtest(1)).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::{Job, JobArchive, RunAs};

use crate::source::Ready;
use crate::{Error, Grant, Setup, apt_files, timeouts};

/// Marker file in a testbed whose package lists were put there. While it is younger than an hour, they are not fetched
/// again.
pub const LISTS_STAMP: &str = "/var/lib/rocbed/apt-lists";

/// The image has no package lists. Failing to fetch them is the machine's fault; with apt's own exit status the package
/// would be blamed.
const UPDATE: &str = "(apt-get -q -o APT::Update::Error-Mode=any update || (sleep 10; apt-get -q -o APT::Update::Error-Mode=any update)) || exit 1";
/// The command for a source tree, whose tests may not need the lists, so that failing to fetch them is not an error.
const TRY_UPDATE: &str =
    "apt-get -q update || echo 'rocbed: the package lists could not be fetched: dependencies will not be found' >&2";

/// The command that updates the package lists, if the tests need them.
fn lists_command(job: &Job, setup: &Setup, source: &Ready) -> Option<String> {
    let names_packages = !job.versions.is_empty() || !job.apt_sources.is_empty() || job.archive.is_some();
    let update = match (source.must_update() || names_packages, source.wants_packages()) {
        (true, _) => UPDATE,
        (false, true) => TRY_UPDATE,
        (false, false) => return None,
    };
    let fresh = format!("[ -n \"$(find {LISTS_STAMP} -mmin -60 2>/dev/null)\" ] || ");
    if matches!(job.archive, Some(JobArchive::Snapshot(_))) {
        // apt reads in an archive's present state where its snapshots are.
        let present = update.replace("apt-get -q", "apt-get -q -o APT::Snapshot=");
        return Some(format!("{fresh}{{ {present}; }}; {update}"));
    }
    // The lists put there are not those of releases that are added for pinning, nor of other sources.
    let has_others = !job.pin.is_empty() || job.archive.is_some() || has_sources(job, setup);
    Some(if has_others { update.to_owned() } else { fresh + update })
}

/// Whether apt has sources in testbeds that the image does not have.
fn has_sources(job: &Job, setup: &Setup) -> bool {
    !job.apt_sources.is_empty() || !setup.extra_sources.lines.is_empty()
}

/// The releases that apt has to know besides the image's.
fn releases(job: &Job, setup: &Setup) -> Vec<String> {
    // With sources of its own, a pin names a release of these.
    let pins = job.pin.iter().filter(|_| !has_sources(job, setup));
    let mut releases: Vec<String> = pins.filter_map(|pin| Some(pin.split_once('=')?.0.to_owned())).collect();
    if let Some(JobArchive::Suite(suite)) = &job.archive {
        releases.push(suite.clone());
    }
    releases.sort_unstable();
    releases.dedup();
    releases
}

/// The arguments of one run. `files` are those for apt; `output` is the directory that autopkgtest creates; `left` is the
/// time until the deadline.
pub(crate) fn arguments(
    job: &Job,
    setup: &Setup,
    source: &Ready,
    files: &[(PathBuf, String)],
    run_as: RunAs,
    output: &Path,
    left: Duration,
) -> Result<Vec<OsString>, Error> {
    // autopkgtest's own log file has no size limit, so the runner writes it.
    let mut words: Vec<OsString> = vec![joined("--output-dir=", output), "--log-file=/dev/null".into()];
    if run_as == RunAs::Root {
        // Without this option, autopkgtest uses the user that the testbed suggests.
        words.push("--user=root".into());
    }
    words.extend(timeouts::options(left, setup.time_of(job).0).into_iter().map(OsString::from));
    words.extend(job.tests.iter().map(|name| joined("--test-name=", name)));
    words.extend(releases(job, setup).into_iter().map(|release| joined("--add-apt-release=", release)));
    if let Some(JobArchive::Suite(suite)) = &job.archive {
        words.push(joined("--apt-default-release=", suite));
    }
    words.extend(job.pin.iter().map(|pin| joined("--pin-packages=", pin)));
    for (from, to) in setup.copies.iter().chain(files) {
        let mut word = joined("--copy=", from);
        word.push(":");
        word.push(to);
        words.push(word);
    }
    words.extend(lists_command(job, setup, source).map(|command| joined("--setup-commands=", command)));
    if !job.versions.is_empty() {
        words.push(joined("--setup-commands=", apt_files::install_versions()));
        if let Ready::Package(name) = source {
            words.push(joined("--setup-commands=", apt_files::check_source(name)));
        }
    }
    words.extend(environment(job, setup)?);
    words.extend(setup.options.iter().cloned());
    words.extend(source.arguments(&setup.packages));
    words.push("--".into());
    words.extend(setup.virt_server.iter().cloned());
    let nodes: Vec<&Path> = setup.gpus.iter().filter_map(|gpu| gpu.render_node.as_deref()).collect();
    if !nodes.is_empty() {
        words.push("--gpu".into());
        words.extend(nodes.into_iter().map(|node| node.as_os_str().to_owned()));
    }
    let simulated: Vec<String> = setup.gpus.iter().filter_map(|grant| simulated(setup, grant)).collect();
    if !simulated.is_empty() {
        words.extend(["--simulate".into(), simulated.join(",").into(), "--report".into(), setup.simulation().into()]);
    }
    Ok(words)
}

/// The target of a simulated GPU that programs are to see.
fn simulated(setup: &Setup, grant: &Grant) -> Option<String> {
    let inventory = &setup.machine.gpus.gpus;
    let found = inventory.iter().find(|gpu| grant.simulated && gpu.simulated && gpu.id == grant.id);
    found.map(|gpu| gpu.target.to_string())
}

fn joined(option: &str, value: impl AsRef<OsStr>) -> OsString {
    let mut word = OsString::from(option);
    word.push(value);
    word
}

/// The variable that tells tests how many MiB of memory the smallest of their GPUs has.
const GPU_MEMORY: &str = "ROCBED_GPU_MEMORY_MIB";

/// Its value; `None` without a GPU, or if the memory is not known.
fn gpu_memory(setup: &Setup) -> Option<String> {
    let inventory = setup.machine.gpus.gpus.iter();
    let granted = inventory.filter(|gpu| setup.gpus.iter().any(|grant| grant.id == gpu.id));
    let smallest = granted.map(gpu::Gpu::usable_memory).min().filter(|bytes| *bytes > 0)?;
    Some((smallest >> 20).to_string())
}

fn environment(job: &Job, setup: &Setup) -> Result<Vec<OsString>, Error> {
    let gpu_memory = gpu_memory(setup);
    let mut all: BTreeMap<&str, &str> = BTreeMap::new();
    all.extend(gpu_memory.as_deref().map(|value| (GPU_MEMORY, value)));
    all.extend(setup.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    all.extend(job.env.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let word = |(name, value): (&str, &str)| {
        // autopkgtest 5 puts it between single quotes in a shell script, version 6 does not.
        if value.contains(['\'', '\n', '\0']) {
            return Err(Error::Job(format!(
                "env: the value of {name} has a single quote or a line break, which autopkgtest cannot pass on"
            )));
        }
        Ok(format!("--env={name}={value}").into())
    };
    all.into_iter().map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup() -> Setup {
        let server = ["/usr/bin/autopkgtest-virt-rocbed", "--root", "/root"].map(OsString::from).to_vec();
        Setup::new(server, "/work".into(), "/bundles".into(), "job")
    }

    fn line(job: &Job, setup: &Setup, source: &Ready, run_as: RunAs) -> String {
        let words = arguments(job, setup, source, &[], run_as, Path::new("/out"), Duration::from_secs(60)).unwrap();
        words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join("|")
    }

    const TIMEOUTS: &str =
        "--timeout-short=60|--timeout-copy=60|--timeout-install=60|--timeout-test=60|--timeout-build=60";

    #[test]
    fn a_package_of_the_archive() {
        let line = line(&Job::of_package("gzip"), &setup(), &Ready::Package("gzip".into()), RunAs::User);
        let expected = format!(
            "--output-dir=/out|--log-file=/dev/null|{TIMEOUTS}|--setup-commands={}|gzip|--|/usr/bin/autopkgtest-virt-rocbed|--root|/root",
            lists_command(&Job::of_package("gzip"), &setup(), &Ready::Package("gzip".into())).unwrap()
        );
        assert_eq!(line, expected);
    }

    /// Runs a job's command with a marker file and a stand-in for `apt-get`; returns how often apt-get was called.
    fn updates(job: &Job, age: Option<u64>) -> usize {
        let directory = tempfile::tempdir().unwrap();
        let stamp = directory.path().join("stamp");
        if let Some(seconds) = age {
            let time = std::time::SystemTime::now() - Duration::from_secs(seconds);
            std::fs::File::create(&stamp).unwrap().set_modified(time).unwrap();
        }
        let command = lists_command(job, &setup(), &Ready::Package("gzip".into())).unwrap();
        let command = command.replace(LISTS_STAMP, &stamp.to_string_lossy());
        let apt = directory.path().join("apt-get");
        appliance::fixtures::program(&apt, "echo called").unwrap();
        let path = format!("{}:/usr/bin:/bin", directory.path().display());
        let output = std::process::Command::new("sh").args(["-ec", &command]).env("PATH", path).output().unwrap();
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stdout).lines().count()
    }

    #[test]
    fn lists_that_are_there_are_fetched_again_only_when_old_or_for_pins() {
        let gzip = Job::of_package("gzip");
        assert_eq!(updates(&gzip, None), 1);
        assert_eq!(updates(&gzip, Some(60)), 0);
        assert_eq!(updates(&gzip, Some(2 * 3600)), 1);
        let pinned = Job { pin: vec!["experimental=rocminfo".into()], ..gzip };
        assert_eq!(updates(&pinned, Some(60)), 1);
        // The present state says where the snapshots are.
        let old = Job { archive: "20261001T000000Z".parse().ok(), ..Job::of_package("gzip") };
        assert_eq!((updates(&old, None), updates(&old, Some(60))), (2, 1));
    }

    #[test]
    fn what_a_job_says_about_packages_is_in_its_command() {
        let json = r#"{"package": "rocrand", "pin": ["own=src:rocrand"], "versions": {"rocminfo": "7.1-1"},
            "archive": "experimental",
            "apt-sources": [{"uris": ["http://x"], "suites": ["own"], "components": ["main"], "trusted": true}]}"#;
        let job: Job = serde_json::from_str(json).unwrap();
        let mut setup = setup();
        setup.packages = vec!["/own/rocrand.deb".into()];
        let line = line(&job, &setup, &Ready::Tree("/tree".into()), RunAs::User);
        let expected = format!(
            "--add-apt-release=experimental|--apt-default-release=experimental|--pin-packages=own=src:rocrand|\
             --setup-commands={UPDATE}|--setup-commands={}|--no-built-binaries|/own/rocrand.deb|/tree|--|",
            apt_files::install_versions()
        );
        assert!(line.contains(&expected), "{line}");
    }

    #[test]
    fn everything_that_a_job_can_say() {
        let mut job = Job::of_package("rocrand");
        job.pin = vec!["experimental=src:rocr-runtime".into(), "experimental=rocminfo".into()];
        job.tests = vec!["upstream".into()];
        job.env = [("A".to_owned(), "of the job".to_owned())].into();
        let mut setup = setup();
        setup.environment = [("A", "of the setup"), ("B", "2")].map(|(name, value)| (name.into(), value.into())).into();
        setup.copies = vec![("/tmp/apt.conf".into(), "/etc/apt/apt.conf.d/99rocbed".into())];
        setup.options = vec!["--debug".into()];
        setup.gpus = ["/dev/dri/renderD128", ""]
            .map(|node| Grant {
                id: "x".into(),
                render_node: (!node.is_empty()).then(|| node.into()),
                simulated: node.is_empty(),
            })
            .to_vec();
        let line = line(&job, &setup, &Ready::Git("https://x/y.git".into()), RunAs::Root);
        let expected = format!(
            "--output-dir=/out|--log-file=/dev/null|--user=root|{TIMEOUTS}|--test-name=upstream|--add-apt-release=experimental|\
             --pin-packages=experimental=src:rocr-runtime|--pin-packages=experimental=rocminfo|\
             --copy=/tmp/apt.conf:/etc/apt/apt.conf.d/99rocbed|--setup-commands={UPDATE}|--env=A=of the job|--env=B=2|\
             --debug|--no-built-binaries|https://x/y.git|--|/usr/bin/autopkgtest-virt-rocbed|--root|/root|--gpu|/dev/dri/renderD128"
        );
        assert_eq!(line, expected);
    }

    #[test]
    fn simulated_gpus_are_named_by_their_targets() {
        let mut setup = setup();
        setup.machine.gpus = gpu::simulate("gfx1030,gfx942").unwrap();
        setup.gpus = setup.machine.gpus.gpus.iter().map(Grant::from).collect();
        let line = line(&Job::of_package("gzip"), &setup, &Ready::Package("gzip".into()), RunAs::User);
        assert!(line.ends_with("|--simulate|gfx1030,gfx942|--report|/work/simulation"), "{line}");
        // The smaller one has 16 GiB.
        assert!(line.contains("|--env=ROCBED_GPU_MEMORY_MIB=16"), "{line}");
    }

    #[test]
    fn what_would_leave_a_shells_quotes_is_refused() {
        let mut job = Job::of_package("gzip");
        job.env = [("A".to_owned(), "it's".to_owned())].into();
        assert!(environment(&job, &setup()).unwrap_err().to_string().contains("env: the value of A"));
    }
}
