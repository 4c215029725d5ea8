//! `rocbed inspect`.

use std::fmt::Write as _;

use anyhow::Result;

use super::{bytes, print, print_json};
use crate::cmdline::Inspect;
use crate::inspect::{self, DiskReport, InitramfsReport, ProgramReport, Report, RootReport};

pub fn run(options: &Inspect) -> Result<()> {
    let reports = inspect::inspect(&options.image, options.files)?;
    if options.json {
        return print_json(&reports);
    }
    let mut text = String::new();
    for (name, report) in &reports {
        writeln!(text, "{name}")?;
        match report {
            Report::Disk(disk) => write_disk(&mut text, disk)?,
            Report::Root(root) => write_root(&mut text, root)?,
            Report::UnifiedKernelImage(program) => write_program(&mut text, program)?,
            Report::Initramfs(initramfs) => write_initramfs(&mut text, initramfs)?,
        }
    }
    print(&text)
}

fn write_disk(text: &mut String, disk: &DiskReport) -> Result<()> {
    writeln!(text, "  disk        {}, sectors of {} bytes, GPT {}", bytes(disk.size), disk.sector_size, disk.guid)?;
    for partition in &disk.partitions {
        let (number, name, size) = (partition.number, &partition.name, bytes(partition.size));
        writeln!(text, "  partition {number} {name}, {size} at {}, {}", bytes(partition.start), partition.guid)?;
        for (path, size) in partition.files.iter().flatten() {
            writeln!(text, "    file      {path} {}", bytes(*size))?;
        }
        if let Some(program) = &partition.boots {
            write_program(text, program)?;
        }
        if let Some(root) = &partition.root {
            write_root(text, root)?;
        }
    }
    Ok(())
}

fn write_program(text: &mut String, program: &ProgramReport) -> Result<()> {
    let or_none = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".to_owned());
    writeln!(text, "    system    {}", or_none(&program.system))?;
    writeln!(text, "    kernel    {}", or_none(&program.kernel))?;
    writeln!(text, "    cmdline   {}", or_none(&program.cmdline))?;
    let sections: Vec<String> = program.sections.iter().map(|(name, size)| format!("{name} {size}")).collect();
    writeln!(text, "    sections  {}", sections.join(", "))?;
    Ok(())
}

fn write_root(text: &mut String, root: &RootReport) -> Result<()> {
    let (size, free) = (bytes(root.size), bytes(root.free));
    writeln!(text, "    ext4      {} {}, {size}, {free} free, {} paths", root.label, root.uuid, root.paths)?;
    writeln!(text, "    features  {}", root.features.join(" "))?;
    writeln!(text, "    modules   for kernel {}", root.kernels.join(", "))?;
    writeln!(text, "    packages  {}", root.packages.len())?;
    for (name, version) in &root.packages {
        writeln!(text, "      {name} {version}")?;
    }
    write_files(text, root.files.as_ref())
}

fn write_initramfs(text: &mut String, initramfs: &InitramfsReport) -> Result<()> {
    writeln!(text, "    init      rocbed-init, {}", bytes(initramfs.init))?;
    writeln!(text, "    modules   {}", initramfs.modules)?;
    for line in initramfs.settings.lines() {
        writeln!(text, "    setting   {line}")?;
    }
    write_files(text, initramfs.files.as_ref())
}

fn write_files(text: &mut String, files: Option<&Vec<String>>) -> Result<()> {
    for path in files.into_iter().flatten() {
        writeln!(text, "      {path}")?;
    }
    Ok(())
}
