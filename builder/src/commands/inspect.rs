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
    let mut show = Show { text: String::new(), packages: options.packages, root: None };
    for (name, report) in &reports {
        writeln!(show.text, "{name}")?;
        match report {
            Report::Disk(disk) => show.disk(name, disk)?,
            Report::Root(root) => show.root(name, root)?,
            Report::EfiSystemPartition(esp) => show.esp(Some(&esp.files), esp.boots.as_ref())?,
            Report::UnifiedKernelImage(program) => show.program(program)?,
            Report::Initramfs(initramfs) => show.initramfs(initramfs)?,
        }
    }
    print(&show.text)
}

/// Reports as text. What an image has twice, alone and on the disk, is told once.
struct Show<'a> {
    text: String,
    packages: bool,
    /// The first root file system, and where it is.
    root: Option<(String, &'a RootReport)>,
}

impl<'a> Show<'a> {
    fn disk(&mut self, name: &str, disk: &'a DiskReport) -> Result<()> {
        let (size, sector, guid) = (bytes(disk.size), disk.sector_size, &disk.guid);
        writeln!(self.text, "  disk        {size}, sectors of {sector} bytes, GPT {guid}")?;
        for partition in &disk.partitions {
            let (number, label, size) = (partition.number, &partition.name, bytes(partition.size));
            writeln!(
                self.text,
                "  partition {number} {label}, {size} at {}, {}",
                bytes(partition.start),
                partition.guid
            )?;
            self.esp(partition.files.as_ref(), partition.boots.as_ref())?;
            if let Some(root) = &partition.root {
                self.root(&format!("partition {number} of {name}"), root)?;
            }
        }
        Ok(())
    }

    fn esp(&mut self, files: Option<&Vec<(String, u64)>>, boots: Option<&ProgramReport>) -> Result<()> {
        for (path, size) in files.into_iter().flatten() {
            writeln!(self.text, "    file      {path} {}", bytes(*size))?;
        }
        boots.map_or(Ok(()), |program| self.program(program))
    }

    fn program(&mut self, program: &ProgramReport) -> Result<()> {
        let or_none = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".to_owned());
        writeln!(self.text, "    system    {}", or_none(&program.system))?;
        writeln!(self.text, "    kernel    {}", or_none(&program.kernel))?;
        writeln!(self.text, "    cmdline   {}", or_none(&program.cmdline))?;
        let sections: Vec<String> = program.sections.iter().map(|(name, size)| format!("{name} {size}")).collect();
        writeln!(self.text, "    sections  {}", sections.join(", "))?;
        Ok(())
    }

    fn root(&mut self, place: &str, root: &'a RootReport) -> Result<()> {
        if let Some((first, same)) = &self.root
            && *same == root
        {
            writeln!(self.text, "    ext4      with the same contents as {first}")?;
            return Ok(());
        }
        let (size, free) = (bytes(root.size), bytes(root.free));
        writeln!(self.text, "    ext4      {} {}, {size}, {free} free, {} paths", root.label, root.uuid, root.paths)?;
        writeln!(self.text, "    features  {}", root.features.join(" "))?;
        writeln!(self.text, "    modules   for kernel {}", root.kernels.join(", "))?;
        let more = if self.packages { "" } else { " (--packages lists them)" };
        writeln!(self.text, "    packages  {}{more}", root.packages.len())?;
        for (name, version) in root.packages.iter().filter(|_| self.packages) {
            writeln!(self.text, "      {name} {version}")?;
        }
        self.root.get_or_insert((place.to_owned(), root));
        self.files(root.files.as_ref())
    }

    fn initramfs(&mut self, initramfs: &InitramfsReport) -> Result<()> {
        writeln!(self.text, "    init      rocbed-init, {}", bytes(initramfs.init))?;
        writeln!(self.text, "    modules   {}", initramfs.modules)?;
        for line in initramfs.settings.lines() {
            writeln!(self.text, "    setting   {line}")?;
        }
        self.files(initramfs.files.as_ref())
    }

    fn files(&mut self, files: Option<&Vec<String>>) -> Result<()> {
        for path in files.into_iter().flatten() {
            writeln!(self.text, "      {path}")?;
        }
        Ok(())
    }
}
