//! `cargo xtask bench-netboot`: starts the same image from a disk and over the network, in turn, and measures the time
//! until the agent is ready and the memory in use then.
//!
//! Over the network, the firmware's own time is not the image's fault, so the time since the first DHCP packet is
//! reported too: from then on a start from a disk reads the image, and one over the network downloads it.

mod capture;
mod start;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::build::{self, Profile};
use crate::host;
use crate::run::run as execute;
use start::{Measured, Start};

/// How to measure.
#[derive(Args)]
pub(crate) struct BenchNetbootOptions {
    /// Starts of each kind
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Recipes to build and start
    #[arg(long, value_delimiter = ',', default_value = "smoke,rocm")]
    recipe: Vec<String>,
    /// How much memory the machine has; with several, starts over the network are made with each, those from a disk with the
    /// first
    #[arg(long, value_delimiter = ',', default_value = "2GiB,1GiB")]
    memory: Vec<String>,
    /// Where the images go
    #[arg(long, default_value = "target/bench")]
    directory: PathBuf,
}

/// A way to start.
struct Way {
    name: String,
    memory: String,
    words: &'static [&'static str],
    is_network: bool,
    measured: Vec<Measured>,
}

/// Measures all starts in turn and prints a table on stdout.
pub(crate) fn run(options: &BenchNetbootOptions) -> Result<()> {
    ensure!(options.runs > 0, "--runs 0 measures nothing");
    host::install(&[host::TO_TEST, host::TO_BOOT])?;
    let programs = build::programs(Profile::DevToMeasure)?;
    fs::create_dir_all(&options.directory).with_context(|| format!("making {}", options.directory.display()))?;
    let directory = options.directory.canonicalize().context("finding the benchmark's directory")?;
    let mut table = String::from(HEAD);
    for recipe in &options.recipe {
        let image = directory.join(recipe);
        execute(Command::new(&programs.rocbed).args(["build", recipe, "--locked", "--output"]).arg(&image))?;
        let mut ways = ways(&options.memory);
        for number in 1..=options.runs {
            for way in &mut ways {
                let (rocbed, memory) = (programs.rocbed.as_path(), way.memory.as_str());
                let start = Start { rocbed, image: &image, scratch: &directory, memory, words: way.words };
                let measured = start.measure()?;
                eprintln!("{recipe}, {}, run {number}: {:.1} s", way.name, measured.from_power_on);
                way.measured.push(measured);
            }
        }
        table.extend(ways.iter().map(|way| line(recipe, way)));
        table.push_str(&sizes(recipe, &image)?);
    }
    print!("{table}");
    Ok(())
}

const HEAD: &str = "| image, start | from power-on, s | from the first DHCP packet, s | from the kernel's start, s | memory in use, MiB | root in memory |\n\
    |---|---:|---:|---:|---:|---|\n";

fn ways(memory: &[String]) -> Vec<Way> {
    let first = memory.first().cloned().unwrap_or_default();
    let way = |name: String, memory: &str, words, is_network| Way {
        name,
        memory: memory.to_owned(),
        words,
        is_network,
        measured: Vec::new(),
    };
    let mut ways = vec![
        way("disk, kernel loaded by QEMU".into(), &first, &[][..], false),
        way("disk, UEFI".into(), &first, &["--firmware", "uefi", "--disk", "virtio"][..], false),
    ];
    ways.extend(
        memory.iter().map(|size| way(format!("network, BIOS and iPXE, {size}"), size, &["--netboot"][..], true)),
    );
    ways
}

/// A line of the table, with medians.
fn line(recipe: &str, way: &Way) -> String {
    let median = |value: fn(&Measured) -> f64| {
        let mut values: Vec<_> = way.measured.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    // A machine that starts from a disk also sends DHCP requests, but long after its kernel has started.
    let dhcp = if way.is_network { format!("{:.1}", median(|one| one.from_dhcp)) } else { String::new() };
    let root = way.measured.iter().find_map(|one| one.root.as_deref()).unwrap_or_default();
    format!(
        "| {recipe}, {} | {:.1} | {dhcp} | {:.1} | {:.0} | {root} |\n",
        way.name,
        median(|one| one.from_power_on),
        median(|one| one.from_kernel),
        median(|one| one.in_use),
    )
}

/// Size of the root, and size of the download.
fn sizes(recipe: &str, image: &Path) -> Result<String> {
    let mib = |name: &str| {
        let path = image.join(name);
        let length = fs::metadata(&path).with_context(|| format!("examining {}", path.display()))?.len();
        anyhow::Ok(length >> 20)
    };
    Ok(format!("| {recipe}: root {} MiB, sent {} MiB | | | | | |\n", mib("root.img")?, mib("root.img.zst")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_medians_and_dhcp_only_over_the_network() {
        let measured =
            |seconds: f64| Measured { from_power_on: seconds, from_dhcp: 1.0, in_use: 99.6, ..Measured::default() };
        let mut ways = ways(&["2GiB".to_owned(), "1GiB".to_owned()]);
        assert_eq!(ways.len(), 4);
        for way in &mut ways {
            way.measured = [9.0, 1.0, 2.0].map(measured).to_vec();
        }
        assert_eq!(line("smoke", &ways[1]), "| smoke, disk, UEFI | 2.0 |  | 0.0 | 100 |  |\n");
        assert_eq!(line("smoke", &ways[3]), "| smoke, network, BIOS and iPXE, 1GiB | 2.0 | 1.0 | 0.0 | 100 |  |\n");
    }
}
