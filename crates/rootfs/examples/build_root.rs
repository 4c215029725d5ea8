//! Builds a root directory from a list of .deb files, as root or as a user with subordinate ids:
//!
//! `cargo run -p rootfs --example build_root -- DEBS.txt ROOT [EPOCH [PRESEEDS]]`
//!
//! The first file has one path to a .deb per line, in an order that is the same every time; the last one has answers
//! for debconf.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use debian::deb::Deb;
use rootfs::{Package, Spec, build, sandbox};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    sandbox::become_root()?;
    let arguments: Vec<String> = std::env::args().collect();
    let [_, list, root, rest @ ..] = arguments.as_slice() else {
        return Err("usage: build_root DEBS.txt ROOT [EPOCH [PRESEEDS]]".into());
    };
    let epoch = rest.first().map_or(Ok(1_790_000_000), |epoch| epoch.parse())?;
    let packages = std::fs::read_to_string(list)?.lines().map(package).collect::<Result<_, _>>()?;
    let spec = Spec {
        packages,
        architecture: "amd64".into(),
        preseeds: rest.get(1).map_or(Ok(String::new()), std::fs::read_to_string)?,
        epoch,
        threads: None,
        stubbed_programs: Vec::new(),
        log: PathBuf::from(format!("{root}.log")),
    };
    let report = build(&spec, Path::new(root), &progress::Silent)?;
    eprintln!("{report:#?}");
    Ok(())
}

fn package(path: &str) -> Result<Package, Box<dyn std::error::Error>> {
    let deb = Deb::read(&mut std::fs::File::open(path)?)?;
    Ok(Package {
        name: deb.name().into(),
        version: deb.version().into(),
        architecture: deb.architecture().into(),
        path: path.into(),
        sha256: None,
        essential: false,
    })
}
