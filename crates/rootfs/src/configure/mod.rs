//! Runs maintainer scripts with the image's own dpkg in the sandbox.
//!
//! Packages with a preinst are unpacked here, by dpkg, so that their scripts run when Policy requires it and their
//! effects (diversions, users) are there in time. Those that all other packages need to run had their files unpacked
//! before, without a database entry, as debootstrap does.

mod runner;

use std::collections::BTreeSet;
use std::path::Path;

use progress::{Progress, Unit};
use runner::Runner;

use crate::closure::Set;
use crate::hashed::HashedFile;
use crate::inside::Inside;
use crate::{Error, Spec, database};
use debian::deb::Deb;

/// Directory of the packages while dpkg unpacks them, relative to the root.
const PACKAGES: &str = "var/cache/rocbed-packages";
/// Policy script that forbids invoke-rc.d to start services (its documented interface): 101 is "action forbidden by
/// policy".
const POLICY: &str = "usr/sbin/policy-rc.d";
const POLICY_TEXT: &[u8] = b"#!/bin/sh\nexit 101\n";

/// Directory of the stubbed programs; the first directory of the scripts' `PATH`.
const IDLE: &str = "var/cache/rocbed-idle";
const IDLE_TEXT: &[u8] = b"#!/bin/sh\nexit 0\n";

/// The packages that dpkg unpacks in the root, and those that everything else needs.
pub(crate) struct ConfigurePlan<'a> {
    debs: &'a [Deb],
    set: Set<'a>,
    /// Essential packages and their dependencies.
    base: BTreeSet<usize>,
}

impl<'a> ConfigurePlan<'a> {
    pub(crate) fn new(debs: &'a [Deb], spec: &Spec) -> Self {
        let set = Set::new(debs);
        let essential = |at: &usize| {
            spec.packages.get(*at).is_some_and(|package| package.essential)
                || debs.get(*at).is_some_and(|deb| deb.control.get("Essential") == Some("yes"))
        };
        let base = set.closure((0..debs.len()).filter(essential));
        Self { debs, set, base }
    }

    /// Whether dpkg unpacks this package in the root.
    pub(crate) fn by_dpkg(&self, at: usize) -> bool {
        self.debs.get(at).is_some_and(|deb| deb.file("preinst").is_some())
    }

    /// Whether its files must exist before dpkg can run.
    pub(crate) fn is_base(&self, at: usize) -> bool {
        self.base.contains(&at)
    }
}

/// Unpacks the packages that are left to dpkg, then configures everything.
pub(crate) fn configure(root: &Path, spec: &Spec, plan: &ConfigurePlan, progress: &dyn Progress) -> Result<(), Error> {
    if plan.debs.is_empty() {
        return Ok(());
    }
    let task = progress.task("configuring packages", Some(plan.debs.len() as u64), Unit::Items);
    let mut runner = Runner::new(root, spec, task.as_ref(), progress)?;
    let inside = Inside::open(root)?;
    let had_policy = inside.exists(POLICY)?;
    if !had_policy {
        inside.write(POLICY, POLICY_TEXT, 0o755)?;
    }
    for name in &spec.stubbed_programs {
        inside.make_directories(IDLE)?;
        inside.write(&format!("{IDLE}/{name}"), IDLE_TEXT, 0o755)?;
    }
    let (unpacked, configured) = (BTreeSet::new(), BTreeSet::new());
    Work { inside: &inside, spec, plan, runner: &mut runner, unpacked, configured }.run()?;
    if !had_policy {
        inside.remove_file(POLICY)?;
    }
    for name in &spec.stubbed_programs {
        inside.remove_file(&format!("{IDLE}/{name}"))?;
    }
    if !spec.stubbed_programs.is_empty() {
        inside.remove_directory(IDLE)?;
    }
    runner.finish()
}

struct Work<'a, 'r> {
    inside: &'a Inside,
    spec: &'a Spec,
    plan: &'a ConfigurePlan<'a>,
    runner: &'a mut Runner<'r>,
    unpacked: BTreeSet<usize>,
    configured: BTreeSet<usize>,
}

impl Work<'_, '_> {
    fn run(&mut self) -> Result<(), Error> {
        let all: Vec<usize> = (0..self.plan.debs.len()).filter(|at| self.plan.by_dpkg(*at)).collect();
        let (base, rest): (Vec<usize>, Vec<usize>) = all.into_iter().partition(|at| self.plan.is_base(*at));
        // Nothing is configured yet, so Pre-Depends cannot be satisfied: but all their files exist, which is enough.
        self.unpack(&base)?;
        if !self.spec.preseeds.is_empty() {
            self.runner.run("/usr/bin/debconf-set-selections", &[], self.spec.preseeds.as_bytes())?;
        }
        let mut batch = Vec::new();
        for at in rest {
            if self.unpacked.contains(&at) {
                continue; // another one needed it before
            }
            let needed = self.plan.set.closure(self.plan.set.needs(at, &["Pre-Depends"]));
            let missing: BTreeSet<usize> = needed.difference(&self.configured).copied().collect();
            if !missing.is_empty() {
                self.unpack(&std::mem::take(&mut batch))?;
                // Including the base: a preinst may use more than it declares.
                self.configure(&missing.union(&self.plan.base).copied().collect())?;
            }
            batch.push(at);
        }
        self.unpack(&batch)?;
        // By name and in the given order, as apt does: user ids that scripts assign depend on the order.
        self.configure(&(0..self.plan.debs.len()).collect())?;
        if !self.all_installed()? {
            // Triggers that a later package activated for an earlier one.
            self.runner.run("/usr/bin/dpkg", &["--force-unsafe-io", "--configure", "--pending"], &[])?;
        }
        Ok(())
    }

    /// The packages in dpkg's database. One that another completely replaces disappears when that one is unpacked, and
    /// cannot be configured any more.
    fn there(&self) -> Result<BTreeSet<String>, Error> {
        let status = self.inside.read(&format!("{}/status", database::DIRECTORY))?;
        let status = String::from_utf8_lossy(&status);
        let (mut names, mut name) = (BTreeSet::new(), "");
        for line in status.lines() {
            if let Some(package) = line.strip_prefix("Package: ") {
                name = package;
            } else if line.strip_prefix("Status: ").is_some_and(|status| !status.ends_with(" not-installed")) {
                names.insert(name.to_owned());
            }
        }
        Ok(names)
    }

    fn all_installed(&self) -> Result<bool, Error> {
        let status = self.inside.read(&format!("{}/status", database::DIRECTORY))?;
        let mut states = status.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"Status: "));
        Ok(states.all(|state| state == b"install ok installed"))
    }

    /// Makes dpkg unpack packages, in this order, each once.
    fn unpack(&mut self, packages: &[usize]) -> Result<(), Error> {
        let packages: Vec<usize> = packages.iter().copied().filter(|at| self.unpacked.insert(*at)).collect();
        if packages.is_empty() {
            return Ok(());
        }
        self.inside.make_directories(PACKAGES)?;
        let mut copies = Vec::new();
        for at in &packages {
            let Some(package) = self.spec.packages.get(*at) else { continue };
            let copy = format!("{PACKAGES}/{}_{at}.deb", package.name);
            let mut file = HashedFile::open(&package.path)?;
            let copied = self.inside.copy(&mut file, &copy);
            package.expected().confirm(Some(file), copied)?;
            copies.push(copy);
        }
        let mut arguments = vec!["--force-unsafe-io".to_owned(), "--force-depends".to_owned(), "--unpack".to_owned()];
        arguments.extend(copies.iter().map(|copy| format!("/{copy}")));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.runner.run("/usr/bin/dpkg", &arguments, &[])?;
        for copy in &copies {
            self.inside.remove_file(copy)?;
        }
        self.inside.remove_directory(PACKAGES)
    }

    fn configure(&mut self, packages: &BTreeSet<usize>) -> Result<(), Error> {
        let todo: Vec<usize> = packages.difference(&self.configured).copied().collect();
        if todo.is_empty() {
            return Ok(());
        }
        // Packages that come later in the order but are needed now.
        let debs: Vec<usize> = todo.iter().copied().filter(|at| self.plan.by_dpkg(*at)).collect();
        self.unpack(&debs)?;
        let there = self.there()?;
        let debs = todo.iter().filter_map(|at| self.plan.debs.get(*at));
        let names: Vec<String> = debs.filter(|deb| there.contains(deb.name())).map(Deb::qualified_name).collect();
        let mut arguments = vec!["--force-unsafe-io", "--configure"];
        arguments.extend(names.iter().map(String::as_str));
        self.runner.run("/usr/bin/dpkg", &arguments, &[])?;
        self.configured.extend(todo);
        Ok(())
    }
}
