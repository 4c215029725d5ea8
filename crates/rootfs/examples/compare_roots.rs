//! Compares a finished root directory with one that another tool made, after normalising both:
//!
//! `cargo run -p rootfs --example compare_roots -- OURS ORACLE EPOCH`
//!
//! `ORACLE` may be `-`: then the tree of `OURS` is described on standard output, one line per path, so that the trees
//! of several builds can be compared with `cmp`. Runs as root, or as the user who owns both directories.

use std::path::Path;
use std::process::ExitCode;

use fsimage::{FileTree, dump, scan};
use rootfs::{compare, finish, sandbox};

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool, Box<dyn std::error::Error>> {
    sandbox::become_root()?;
    let arguments: Vec<String> = std::env::args().collect();
    let [_, ours, oracle, epoch] = arguments.as_slice() else {
        return Err("usage: compare_roots OURS (ORACLE|-) EPOCH".into());
    };
    let epoch = epoch.parse()?;
    let ours = finished(ours, epoch)?;
    if oracle == "-" {
        print!("{}", dump(&ours, true)?);
        return Ok(true);
    }
    let oracle = finished(oracle, epoch)?;
    let comparison = compare::against(&ours, &oracle, compare::MMDEBSTRAP)?;
    let mut reasons = std::collections::BTreeMap::<_, usize>::new();
    for (_, reason) in &comparison.explained {
        *reasons.entry(*reason).or_default() += 1;
    }
    for (reason, count) in reasons {
        println!("explained {count:5}: {reason}");
    }
    for difference in &comparison.unexplained {
        println!("{difference}");
    }
    println!("{} paths, {} differences unexplained", ours.len(), comparison.unexplained.len());
    Ok(comparison.unexplained.is_empty())
}

fn finished(root: &str, epoch: i64) -> Result<FileTree, Box<dyn std::error::Error>> {
    let mut tree = scan(Path::new(root))?;
    finish::normalise(&mut tree, epoch)?;
    Ok(tree)
}
