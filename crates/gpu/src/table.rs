//! Formats an [`Inventory`] as text for people.

use std::fmt;

use crate::inventory::{Gpu, Inventory, UnusableGpu};

const HEAD: [&str; 6] = ["TARGET", "MEMORY", "CUS", "PCI", "RENDER NODE", "NAME"];

impl fmt::Display for Inventory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.gpus.is_empty() {
            writeln!(f, "No GPU that ROCm can use.")?;
        } else {
            table(f, &self.gpus)?;
        }
        for gpu in &self.gpus {
            details(f, gpu)?;
        }
        if !self.unusable.is_empty() {
            writeln!(f, "\nGPUs that ROCm can't use:")?;
        }
        for gpu in &self.unusable {
            unusable(f, gpu)?;
        }
        if !self.notes.is_empty() {
            writeln!(f)?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        Ok(())
    }
}

fn table(f: &mut fmt::Formatter<'_>, gpus: &[Gpu]) -> fmt::Result {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(gpus.iter().map(row));
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..HEAD.len()).map(|column| width(column).unwrap_or(0)).collect();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(f, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

fn row(gpu: &Gpu) -> [String; 6] {
    let render = gpu.render_node.as_deref().map_or("-", |path| path.strip_prefix("/dev/dri/").unwrap_or(path));
    [
        gpu.target.to_string(),
        size(gpu.memory),
        gpu.compute_units.to_string(),
        gpu.id.clone(),
        render.to_owned(),
        gpu.name.clone(),
    ]
}

fn details(f: &mut fmt::Formatter<'_>, gpu: &Gpu) -> fmt::Result {
    let mut lines = Vec::new();
    if !gpu.firmware.is_empty() {
        let versions: Vec<String> = gpu.firmware.iter().map(|(name, version)| format!("{name} {version}")).collect();
        lines.push(format!("firmware: {}", versions.join(", ")));
    }
    if let Some(link) = &gpu.link {
        lines.push(format!("link: {} x{} (can do {} x{})", link.speed, link.width, link.max_speed, link.max_width));
    }
    if let Some(xgmi) = &gpu.xgmi {
        let hive = xgmi.hive.as_ref().map_or(String::new(), |hive| format!(" hive {hive}"));
        lines.push(format!("XGMI{hive} with {}", xgmi.siblings.join(", ")));
    }
    if let Some(partition) = &gpu.partition {
        let modes: Vec<&str> = partition.compute.iter().chain(&partition.memory).map(String::as_str).collect();
        let modes = if modes.is_empty() { String::new() } else { format!(" ({})", modes.join(", ")) };
        let beside = match partition.siblings.as_slice() {
            [] => String::new(),
            siblings => format!(", beside {}", siblings.join(", ")),
        };
        lines.push(format!("partition {}{modes}{beside}", partition.index));
    }
    lines.extend(gpu.hints.iter().map(|hint| format!("! {hint}")));
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n{} {}", gpu.id, gpu.target)?;
    lines.iter().try_for_each(|line| writeln!(f, "  {line}"))
}

fn unusable(f: &mut fmt::Formatter<'_>, gpu: &UnusableGpu) -> fmt::Result {
    let place = gpu.pci_address.map_or(String::new(), |address| format!("{address}  "));
    let target = gpu.likely_target.map_or(String::new(), |target| format!(", probably {target}"));
    writeln!(f, "\n{place}{}{target}", gpu.name)?;
    for reason in &gpu.reasons {
        writeln!(f, "  - {}", reason.message)?;
        writeln!(f, "    {}", reason.remedy)?;
        reason.evidence.iter().take(4).try_for_each(|line| writeln!(f, "    | {line}"))?;
    }
    Ok(())
}

/// Formats bytes for people: `16 GiB`, `512 MiB`.
fn size(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    match bytes {
        0 => "-".to_owned(),
        1..1_073_741_824 => format!("{} MiB", bytes / MIB),
        _ => format!("{} GiB", bytes.saturating_add(512 * MIB) / (1024 * MIB)),
    }
}
