//! Reports on unified kernel images.

use std::fs::File;
use std::io::Read as _;

use anyhow::{Context as _, Result};
use diskimage::uki;
use serde::Serialize;

/// Report on a unified kernel image.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProgramReport {
    /// Sections by name, with their lengths in bytes.
    pub sections: Vec<(String, u32)>,
    /// Kernel version (`.uname`).
    pub kernel: Option<String>,
    /// Kernel command line (`.cmdline`).
    pub cmdline: Option<String>,
    /// Name of the system (`PRETTY_NAME` in `.osrel`).
    pub system: Option<String>,
}

pub(super) fn read(mut file: File) -> Result<ProgramReport> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    parse(&bytes)
}

pub(super) fn parse(bytes: &[u8]) -> Result<ProgramReport> {
    let sections = uki::sections(bytes).context("reading the sections")?;
    let text = |name: &str| -> Result<Option<String>> {
        let section = uki::section(bytes, name).with_context(|| format!("reading section {name}"))?;
        Ok(section.map(|bytes| String::from_utf8_lossy(bytes).trim_end_matches(['\0', '\n']).to_owned()))
    };
    let release = text(".osrel")?.unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    Ok(ProgramReport {
        sections: sections.into_iter().map(|section| (section.name, section.size)).collect(),
        kernel: text(".uname")?,
        cmdline: text(".cmdline")?,
        system: name.map(|name| name.trim_matches('"').to_owned()),
    })
}
