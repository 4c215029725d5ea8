//! Finds rocbed-init, which goes into every image.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use advice::{Advice, WithHelp as _};
use anyhow::{Context, Result};

/// Environment variable that names another rocbed-init.
const OVERRIDE: &str = "ROCBED_INIT";

/// The bytes of rocbed-init: from `$ROCBED_INIT`, beside this program, or where a package would install it.
pub fn init() -> Result<Vec<u8>> {
    let places = places()?;
    let found = places
        .iter()
        .find(|path| path.is_file())
        .with_context(|| {
            let looked: Vec<_> = places.iter().map(|path| path.display().to_string()).collect();
            format!("rocbed-init, the appliance's PID 1, is not there; looked for {}", looked.join(", "))
        })
        .with_help(|| format!("`cargo xtask build` makes it; {OVERRIDE} names one elsewhere"))?;
    let bytes = fs::read(found).with_context(|| format!("reading {}", found.display()))?;
    anyhow::ensure!(
        is_static(&bytes),
        Advice::new(
            format!("{} is not a statically linked x86-64 program", found.display()),
            "build it with `cargo xtask build`"
        )
    );
    Ok(bytes)
}

/// Identifies this build of the rocbed program. Two builds may produce different results from the same inputs, so
/// cached results are kept apart by it.
pub fn stamp() -> Result<String> {
    // Not by the program's path: that may name a newer program since this one was started.
    let metadata = fs::metadata("/proc/self/exe").context("examining this program")?;
    let since = metadata.modified().context("reading a file's time")?.duration_since(SystemTime::UNIX_EPOCH);
    Ok(format!("{} {} {}", env!("CARGO_PKG_VERSION"), metadata.len(), since.unwrap_or_default().as_nanos()))
}

fn places() -> Result<Vec<PathBuf>> {
    if let Some(path) = env::var_os(OVERRIDE) {
        return Ok(vec![path.into()]);
    }
    let here = env::current_exe().context("finding this program")?;
    let directory = here.parent().map(PathBuf::from).unwrap_or_default();
    Ok(vec![
        directory.join("rocbed-init"),
        directory.join("../libexec/rocbed/rocbed-init"),
        directory.join("../lib/rocbed/rocbed-init"),
    ])
}

/// Whether an ELF program for x86-64 is static, that is, without `PT_INTERP` (System V ABI, chapter 5): an initramfs
/// has no dynamic loader.
fn is_static(bytes: &[u8]) -> bool {
    use std::convert::TryInto;
    const PT_INTERP: u32 = 3;
    let number = |at: usize, length: usize| -> Option<u64> {
        let field = bytes.get(at..at.checked_add(length)?)?;
        Some(field.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    };
    let interpreted = || -> Option<bool> {
        let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
        let mut interpreted = false;
        for index in 0..count {
            let at: usize = table.checked_add(index * size)?.try_into().ok()?;
            interpreted |= number(at, 4)? == u64::from(PT_INTERP);
        }
        Some(interpreted)
    };
    bytes.starts_with(b"\x7fELF\x02\x01") && number(18, 2) == Some(62) && interpreted() == Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_is_told_from_a_static_one() {
        let ourselves = fs::read(env::current_exe().unwrap()).unwrap();
        assert!(!is_static(&ourselves), "test programs need a loader");
        assert!(!is_static(b"\x7fELF"), "cut short");
        assert!(!is_static(b"#!/bin/sh"));
    }
}
