//! `rocbed test`: runs a package's tests in testbeds over a recipe's root directory, without a virtual machine.

mod compare;
mod driver;
mod group;
mod job;
mod layer;
mod machine;
mod parts;
mod proxy;
mod scratch;
mod table;
mod virtual_machine;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use advice::Advice;
use anyhow::{Context as _, Result, bail, ensure};
use progress::Progress as _;
use protocol::{Job, JobResult, Verdict, exit};
use runner::{Cancel, Finished, Grant, KernelLog, Kmsg, Observer, RunEvent, Setup};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use self::compare::Side;
use self::virtual_machine::VmTestbed;
use super::{own_error, print, print_json};
use crate::cmdline::{Source, Test};
use crate::context::{Context, mirror};
use crate::image::root;
use crate::lock::Lock;
use crate::locking::{self, Relock};
use crate::mirror::PUBLIC_MIRROR;
use crate::own_packages;
use crate::package_sources::PackageSources;
use crate::recipe::{self, Recipe};
use crate::report::Reporter;

/// How much memory testbeds may have without `--memory`: as on a worker.
const MEMORY: &str = "90%";

/// Runs the tests; returns autopkgtest's exit status, or 20 if something failed before them.
pub fn run(context: &Context, options: &Test) -> u8 {
    test(context, options).unwrap_or_else(|error| own_error(context, &error))
}

fn test(context: &Context, options: &Test) -> Result<u8> {
    let (job, packages) = job::job(options)?;
    let archive = if options.compare { Some(own_packages::to_compare(&job)?) } else { None };
    let simulated = simulated(options)?;
    // A virtual machine has its memory; nothing in it can use more of this one's.
    let is_asked = options.vm.is_none() && ask_for_group(context, options)?;
    // Before any thread starts: for an unprivileged caller this process is run again as root of a user namespace.
    rootfs::sandbox::become_root()?;
    let limits = limits(context, options, is_asked)?;
    let recipe = recipe::load(&options.recipe)?;
    let vm = options.vm.as_ref().map(|image| VmTestbed::find(image.as_deref(), &recipe)).transpose()?;
    let (mut root, lock) = built(context, &recipe, &options.source)?;
    // autopkgtest sees shared directories under their real paths.
    root.path = root.path.canonicalize().context("finding the root directory")?;
    // Beside the root directory, so that the layer is on a file system with the same features.
    let cache = context.cache_directory()?.canonicalize().context("finding the cache directory")?;
    let scratch = scratch::make(&cache)?;
    let layer = scratch.path().join("layer");
    layer::write(&root, &proxy::told(adapted(recipe, options))?, &lock, &layer)
        .context("making the testbed's own files")?;

    let output = options.output.clone().unwrap_or_else(|| scratch.path().join("results"));
    std::fs::create_dir_all(&output).with_context(|| format!("making {}", output.display()))?;
    let server = match &vm {
        Some(vm) => vm.server(options, scratch.path(), &context.reporter)?,
        None => server(&root.path, &layer, options, &limits)?,
    };
    let copies = match &vm {
        Some(_) => virtual_machine::apt_files(&layer).context("finding apt's files for the virtual machine")?,
        None => Vec::new(),
    };
    virtual_machine::warn_of_loopback(&copies, &context.reporter);
    let mut machine = machine::this();
    if let Some(simulated) = simulated {
        machine.gpus = simulated;
    }
    let gpus = granted(options, &machine.gpus)?;
    let cancel = on_signals()?;
    let run = |job: &Job, packages: &[PathBuf], scratch: &Path, output: &Path| -> Result<Finished> {
        let mut setup = Setup::new(server.clone(), scratch.to_owned(), output.to_owned(), &job.id);
        setup.autopkgtest = driver::command(&driver::DriverParameters {
            recipe: &options.recipe,
            root: &root.path,
            layer: &layer,
            cache: &cache,
            scratch,
            output,
            job,
            overlay: options.overlay_dir.as_deref(),
            options: &options.autopkgtest,
            packages,
            vm: vm.as_ref(),
        })?;
        setup.packages = packages.to_vec();
        setup.copies.clone_from(&copies);
        setup.keep = Some(output.to_owned());
        setup.machine = machine.clone();
        setup.gpus.clone_from(&gpus);
        setup.options = options.autopkgtest.iter().map(OsString::from).collect();
        watched(job, &setup, &context.reporter, &cancel)
    };
    let whole = |job: &Job, packages: &[PathBuf], scratch: &Path, output: &Path| -> Result<Tested> {
        let tested = if job.shards > 1 {
            parts::run(job, output, &context.reporter, |part, output| {
                run(part, packages, &make_in(scratch, &part.id)?, output)
            })?
        } else {
            Tested::of(run(job, packages, scratch, output)?)
        };
        tell(&context.reporter, &tested, options);
        Ok(tested)
    };
    let Some(archive) = archive else {
        let tested = whole(&job, &packages, scratch.path(), &output)?;
        if options.json {
            print_json(&tested.result)?;
        } else {
            print(&table::table(&tested.result))?;
        }
        return Ok(tested.code());
    };
    compare::run(&output, options.json, &context.reporter, |side, output| {
        let (job, packages) = match side {
            Side::Archive => (&archive, &[][..]),
            Side::Own => (&job, &packages[..]),
        };
        whole(job, packages, &make_in(scratch.path(), side.name())?, output)
    })
}

/// What came of a job.
struct Tested {
    result: JobResult,
    bundle: PathBuf,
    /// Why it does not stand for the package: its parts are not known to be all of it.
    not_counted: Option<String>,
    /// Whether it was ended by Ctrl-C; then the result is incomplete.
    cancelled: bool,
}

impl Tested {
    fn of(finished: Finished) -> Self {
        let Finished { result, bundle, cancelled, .. } = finished;
        Self { result, bundle: bundle.path, not_counted: None, cancelled }
    }

    /// autopkgtest's exit status.
    fn code(&self) -> u8 {
        let has_passed = matches!(self.result.verdict, Verdict::Pass | Verdict::Neutral);
        // Parts that have passed say nothing of the package if they are not all of it.
        if has_passed && self.not_counted.is_some() { exit::TESTBED_FAILED } else { code(&self.result) }
    }
}

/// Makes a directory in another one.
fn make_in(directory: &Path, name: &str) -> Result<PathBuf> {
    let path = directory.join(name);
    std::fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
    Ok(path)
}

/// Tells what is unusual about a result, and where it is kept.
fn tell(reporter: &Reporter, tested: &Tested, options: &Test) {
    if let Some(problem) = &tested.result.problem {
        reporter.warn_of(&with_help(problem).into());
    }
    for warning in &tested.result.warnings {
        reporter.warn(warning);
    }
    if options.output.is_some() {
        reporter.say(&format!("wrote {}", tested.bundle.display()));
    }
}

/// A problem with help, where there is any.
fn with_help(problem: &str) -> Advice {
    let is_expired = problem.contains("apt said: ") && problem.contains("is expired (invalid since");
    let help =
        is_expired.then_some("take the archive as it is with --ignore-valid-until, or name another one with --mirror");
    Advice::new(problem, help)
}

/// The recipe's root directory, from the cache or newly built, and the lock it was made from.
pub(super) fn built(context: &Context, recipe: &Recipe, source: &Source) -> Result<(root::Root, Lock)> {
    let found = locking::find(recipe, source)?;
    let fetcher = context.fetcher(source)?;
    let sources = PackageSources::of(recipe, source)?;
    let outcome = locking::current(context, recipe, &sources, &found, &fetcher, Relock::IfNeeded)?;
    if outcome.changes.is_some() {
        outcome.lock.write(&found.path).context("keeping the new lock")?;
        context.reporter.say(&format!("wrote {}", found.path.display()));
    }
    let store = fetcher.store();
    if store.tree(&root::key(recipe, &outcome.lock))?.is_none() {
        context.reporter.say(&format!("building the root directory of {}", recipe.name));
    }
    let log = context.cache_directory()?.join(format!("{}.log", recipe.key()));
    let wanted =
        root::RootRequest { recipe, lock: &outcome.lock, sources: &sources, fresh: false, check: false, log: &log };
    let (mut root, ()) = root::obtain(&wanted, &fetcher, &context.reporter, |_| Ok(()))?;
    if let Some(old) = root.old.take() {
        old.remove()?;
    }
    Ok((root, outcome.lock))
}

/// The recipe with apt in the testbed configured as for a build on this machine: its mirror, and whether an archive
/// may be out of date. A worker has settings of its own for that.
fn adapted(mut recipe: Recipe, options: &Test) -> Recipe {
    let chosen = mirror(&recipe, &options.source);
    let check = recipe.archive.check_valid_until && !options.source.ignore_valid_until;
    let elsewhere = recipe.extra_archives.iter().filter(|extra| extra.has_own_mirror);
    let elsewhere: Vec<_> = elsewhere.filter_map(|extra| extra.archive.mirror.clone()).collect();
    for source in recipe.apt_sources.iter_mut().filter(|source| !source.uris.iter().any(|uri| elsewhere.contains(uri)))
    {
        // Another archive cannot be replaced by a mirror of Debian's. Files of this machine do not exist in a testbed.
        let is_debians = source.uris.iter().all(|address| address == PUBLIC_MIRROR);
        if options.source.mirror.is_some() || (is_debians && chosen.url.starts_with("http")) {
            source.uris = vec![chosen.url.clone()];
        }
        source.check_valid_until &= check;
    }
    recipe
}

/// Command line of this program as the virtualisation server (`rocbed virt`).
fn server(root: &Path, layer: &Path, options: &Test, limits: &[OsString]) -> Result<Vec<OsString>> {
    let program = std::env::current_exe().context("finding this program")?;
    let mut words: Vec<OsString> =
        vec![program.into(), "virt".into(), "--root".into(), root.into(), "--layer".into(), layer.into()];
    if let Some(size) = &options.overlay_size {
        words.extend(["--overlay-size".into(), size.into()]);
    }
    if let Some(directory) = &options.overlay_dir {
        let found = directory.canonicalize().with_context(|| format!("finding {}", directory.display()))?;
        words.extend(["--overlay-dir".into(), found.into()]);
    }
    if options.run_kernels {
        words.push("--run-kernels".into());
    }
    words.extend_from_slice(limits);
    Ok(words)
}

/// Asks for a control group, whose lack only matters to somebody who asks for a limit. Returns whether there is one.
fn ask_for_group(context: &Context, options: &Test) -> Result<bool> {
    let reason = match (group::ask(), &options.memory) {
        (Ok(()), _) => return Ok(true),
        // This program runs again as the root of a user namespace, and the first time has told.
        (Err(group::NoGroup::Namespace), None) => return Ok(false),
        (Err(reason), None) => reason,
        (Err(reason), Some(memory)) => bail!(Advice::new(
            format!("--memory={memory}: {reason}"),
            "without --memory, tests run with the limits that need no control group"
        )),
    };
    context.reporter.detail(&format!("the memory of testbeds is not limited: {reason}"));
    Ok(false)
}

/// Limits of testbeds that need a control group, as options of the virtualisation server.
fn limits(context: &Context, options: &Test, is_asked: bool) -> Result<Vec<OsString>> {
    let Some(group) = is_asked.then(group::divide).transpose()?.flatten() else { return Ok(Vec::new()) };
    context.reporter.detail(&format!("testbeds have control groups in {}", group.display()));
    let memory = options.memory.as_deref().unwrap_or(MEMORY);
    Ok(vec!["--cgroup".into(), group.into(), "--memory".into(), memory.into()])
}

/// The simulated GPUs that `--gpu` asks for by their targets; `None` if it names no targets.
fn simulated(options: &Test) -> Result<Option<gpu::Inventory>> {
    let wanted = options.gpu.as_deref().unwrap_or_default();
    let are_targets = wanted.iter().filter(|text| text.parse::<gpu::Target>().is_ok()).count();
    if are_targets == 0 {
        ensure!(
            !options.run_kernels,
            Advice::new(
                "--run-kernels: kernels are interpreted for simulated GPUs only, and --gpu names none",
                "name a target: --gpu=gfx1100"
            )
        );
        return Ok(None);
    }
    ensure!(
        are_targets == wanted.len(),
        Advice::new(
            format!("--gpu={}: simulated GPUs and those of this machine cannot be mixed", wanted.join(",")),
            "name only targets, which are simulated, or only ids"
        )
    );
    Ok(Some(gpu::simulate(&wanted.join(","))?))
}

/// The GPUs that `--gpu` asks for.
fn granted(options: &Test, inventory: &gpu::Inventory) -> Result<Vec<Grant>> {
    let Some(wanted) = &options.gpu else { return Ok(Vec::new()) };
    if inventory.simulated {
        return Ok(inventory.gpus.iter().map(Grant::from).collect());
    }
    let there = || inventory.gpus.iter().map(|gpu| gpu.id.as_str()).collect::<Vec<_>>().join(", ");
    if wanted.is_empty() {
        ensure!(
            !inventory.gpus.is_empty(),
            Advice::new(
                format!("--gpu: this machine has no GPU that ROCm can use\n{inventory}"),
                "without --gpu, tests that need one are skipped"
            )
        );
        return Ok(inventory.gpus.iter().map(Grant::from).collect());
    }
    let find = |id: &String| match inventory.gpus.iter().find(|gpu| gpu.id == *id) {
        Some(gpu) => Ok(Grant::from(gpu)),
        None if inventory.gpus.is_empty() => bail!("--gpu={id}: this machine has no GPU that ROCm can use"),
        None => {
            bail!(Advice::new(format!("--gpu={id}: there is no such GPU"), format!("this machine has {}", there())))
        }
    };
    wanted.iter().map(find).collect()
}

/// Listens for signals: Ctrl-C ends the job and keeps the results so far; a second one ends everything.
fn on_signals() -> Result<Cancel> {
    let cancel = Cancel::default();
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register_conditional_shutdown(signal, exit::OWN_ERROR.into(), cancel.flag())
            .and_then(|_| signal_hook::flag::register(signal, cancel.flag()))
            .context("listening for signals")?;
    }
    Ok(cancel)
}

/// Runs the job, with autopkgtest's output on stderr.
fn watched(job: &Job, setup: &Setup, reporter: &Reporter, cancel: &Cancel) -> Result<Finished> {
    struct Talk<'a>(&'a Reporter);
    impl Observer for Talk<'_> {
        fn log(&mut self, bytes: &[u8]) {
            self.0.pass_on(bytes);
        }
        fn event(&mut self, event: RunEvent<'_>) {
            match event {
                RunEvent::Deadline => self.0.warn("the time is over; collecting what there is"),
                RunEvent::GpuFault(line) => self.0.warn(&format!("a fault of the GPU ends the job: {line}")),
                _ => {}
            }
        }
    }
    let is_real = setup.gpus.iter().any(|gpu| !gpu.simulated);
    let mut kernel: Box<dyn KernelLog> = match Kmsg::open() {
        // What the kernel says about real GPUs is not about simulated ones.
        _ if !setup.gpus.is_empty() && !is_real => Box::new(()),
        Ok(log) => Box::new(log),
        Err(error) => {
            if !setup.gpus.is_empty() {
                reporter.warn(&format!("reading the kernel's log: {error}; GPU faults will not be known"));
            }
            Box::new(())
        }
    };
    Ok(runner::run(job, setup, &mut *kernel, &mut Talk(reporter), cancel)?)
}

/// autopkgtest's exit status, if there was just one run and nothing else failed.
fn code(result: &JobResult) -> u8 {
    match result.runs.as_slice() {
        [run] if run.verdict == result.verdict => {
            let status = run.exit_status.and_then(|status| u8::try_from(status).ok());
            status.unwrap_or_else(|| result.verdict.exit_code())
        }
        runs => Verdict::exit_code_of_all(runs.iter().map(|run| run.verdict).chain([result.verdict])),
    }
}
