//! `rocbed build`: builds an image.

use anyhow::{Context as _, Result};

use super::{bytes, print_json};
use crate::cmdline::Build;
use crate::context::Context;
use crate::locking::{self, Relock};
use crate::package_sources::PackageSources;
use crate::wording::counted;
use crate::{image, lock, recipe};

/// Whether this runs in a CI system: all of them set the variable.
fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !["", "0", "false"].contains(&value.as_str()))
}

pub fn run(context: &Context, options: &Build) -> Result<()> {
    // Before any thread starts: for an unprivileged caller this process is run again as root of a user namespace.
    rootfs::sandbox::become_root()?;
    let recipe = recipe::load(&options.recipe)?;
    let sector_size = options.sector_size.unwrap_or(recipe.image.sector_size);
    if let Some(size) = recipe.image.esp_size {
        // The recipe's size fits the recipe's sectors; --sector-size may ask for others.
        recipe::check_esp_size(size, sector_size).with_context(|| format!("image.esp-size is {}", bytes(size)))?;
    }
    let found = locking::find(&recipe, &options.source)?;
    let fetcher = context.fetcher(&options.source)?;
    let sources = PackageSources::of(&recipe, &options.source)?;
    context.reporter.stage("lock", "looking at the lock");
    let relock = if options.locked { Relock::Never } else { Relock::IfNeeded };
    let outcome = locking::current(context, &recipe, &sources, &found, &fetcher, relock)?;
    if let Some(changes) = &outcome.changes {
        outcome.lock.write(&found.path).context("keeping the new lock")?;
        let count = outcome.lock.packages.len();
        let what = if found.lock.is_none() { counted(count, "package", "packages") } else { lock::summary(changes) };
        context.reporter.say(&format!("wrote {}: {what}", found.path.display()));
    }
    let how = image::BuildOptions {
        output: options.output.clone().unwrap_or_else(|| image::default_output(&recipe)),
        sources,
        compress: options.compress,
        sector_size,
        fresh: options.fresh,
        // `--locked` asks for exactly the bytes of the lock, so a damaged cache must not go unnoticed.
        check: options.locked || in_ci(),
        wait: options.wait,
    };
    let built = image::run(&recipe, &outcome.lock, &how, &fetcher, &context.reporter)?;
    for (stage, seconds) in &built.seconds {
        context.reporter.detail(&format!("{stage}: {seconds:.2} s"));
    }
    let disk = built.files.iter().find(|file| file.name == "disk.img");
    let seconds: f64 = built.seconds.iter().map(|(_, seconds)| seconds).sum();
    // With JSON on stdout this line is useful only in logs that are read later.
    if !options.json || context.reporter.is_ci() {
        context.reporter.summary(&format!(
            "built {} in {seconds:.1} s: kernel {}, {}, disk.img {}, sha256 {}",
            built.directory.display(),
            built.kernel,
            counted(built.packages, "package", "packages"),
            bytes(disk.map_or(0, |disk| disk.size)),
            disk.map_or_else(String::new, |disk| disk.sha256.to_string()),
        ));
    }
    if options.json { print_json(&built) } else { Ok(()) }
}
