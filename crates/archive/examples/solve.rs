//! Solves a request with real indexes and prints the set, with times:
//!
//!     cargo run --release -p archive --example solve -- Packages... -- rocminfo 'apt (>= 3)' -initramfs-tools
//!
//! `--recommends`, `--required` and `--no-base` before the `--` change the request.

#[path = "../tests/closure/mod.rs"]
mod closure;

use archive::{
    index::{IndexText, Universe},
    solve::{Base, Request, solve},
};
use closure::check_closure;
use std::{error::Error, time::Instant};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (before, after) = arguments.split_at(arguments.iter().position(|a| a == "--").unwrap_or(arguments.len()));
    let (flags, files): (Vec<_>, Vec<_>) = before.iter().partition(|a| a.starts_with("--"));
    let has = |flag: &str| flags.iter().any(|a| *a == flag);
    let (exclude, install): (Vec<_>, Vec<_>) = after.iter().skip(1).cloned().partition(|a| a.starts_with('-'));
    let mut texts = Vec::new();
    for file in files {
        texts.push(IndexText { archive: "sid".into(), component: file.clone(), text: std::fs::read(file)? });
    }
    let start = Instant::now();
    let universe = Universe::new(texts, "amd64")?;
    let indexed = start.elapsed();
    let mut request = Request::new(install);
    request.exclude = exclude.iter().map(|name| name.trim_start_matches('-').to_owned()).collect();
    request.recommends = has("--recommends");
    request.base = match (has("--required"), has("--no-base")) {
        (true, _) => Base::Required,
        (_, true) => Base::None,
        _ => Base::Essential,
    };
    let start = Instant::now();
    let result = solve(&universe, &request);
    let solved = start.elapsed();
    eprintln!("{} packages read in {indexed:?}, solved in {solved:?}", universe.len());
    let solution = result.inspect_err(|error| eprintln!("{error}"))?;
    let packages: Vec<_> = solution.packages.iter().filter_map(|(id, _)| universe.get(*id)).collect();
    for violation in check_closure(&packages, "amd64") {
        eprintln!("violation: {violation}");
    }
    for package in packages {
        println!("{} {}", package.name(), package.version());
    }
    Ok(())
}
