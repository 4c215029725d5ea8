//! `rocbed inspect`: shows what is in an image.

use anyhow::{Context as _, Result};
use safetext::{printable, redacted};

use super::{bytes, print, print_json};
use crate::cmdline::Inspect;
use crate::inspect::{self, BootReport, DiskReport, FileReport, InitramfsReport, ProgramReport, RootReport};

pub fn run(options: &Inspect) -> Result<()> {
    let reports = inspect::inspect(&options.image, options.files)?;
    if options.json {
        let mut value = serde_json::to_value(&reports).context("writing JSON")?;
        redact(&mut value);
        return print_json(&value);
    }
    let mut show = Show { text: String::new(), packages: options.packages, root: None };
    for (name, report) in &reports {
        show.line(format_args!("{name}"));
        match report {
            FileReport::Disk(disk) => show.disk(name, disk),
            FileReport::Root(root) => show.root(name, root),
            FileReport::EfiSystemPartition(esp) => show.esp(&esp.files, &esp.boot),
            FileReport::UnifiedKernelImage(program) => show.program(program),
            FileReport::Initramfs(initramfs) => show.initramfs(initramfs),
        }
    }
    print(&show.text)
}

/// Prints reports as text. What an image holds twice, as a file and on the disk, is shown once.
struct Show<'a> {
    text: String,
    packages: bool,
    /// The first root file system, and where it is.
    root: Option<(String, &'a RootReport)>,
}

/// Removes secrets from all texts of a document: an image made for one hub has its join token.
fn redact(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) => *text = redacted(text).into_owned(),
        serde_json::Value::Array(values) => values.iter_mut().for_each(redact),
        serde_json::Value::Object(fields) => fields.values_mut().for_each(redact),
        _ => {}
    }
}

impl<'a> Show<'a> {
    /// Prints one line, escaped: everything in it comes from the image, which may not be trusted.
    fn line(&mut self, line: std::fmt::Arguments) {
        self.text.push_str(&printable(&redacted(&line.to_string())));
        self.text.push('\n');
    }

    fn disk(&mut self, name: &str, disk: &'a DiskReport) {
        let (size, sector, guid) = (bytes(disk.size), disk.sector_size, &disk.guid);
        self.line(format_args!("  disk        {size}, sectors of {sector} bytes, GPT {guid}"));
        for partition in &disk.partitions {
            let (number, label, size) = (partition.number, &partition.name, bytes(partition.size));
            self.line(format_args!(
                "  partition {number} {label}, {size} at {}, {}",
                bytes(partition.start),
                partition.guid
            ));
            if let (Some(files), Some(boot)) = (&partition.files, &partition.boot) {
                self.esp(files, boot);
            }
            if let Some(root) = &partition.root {
                self.root(&format!("partition {number} of {name}"), root);
            }
        }
    }

    fn esp(&mut self, files: &[(String, u64)], boot: &BootReport) {
        for (path, size) in files {
            let signed = if boot.signed.contains(path) { ", signed" } else { "" };
            self.line(format_args!("    file      {path} {}{signed}", bytes(*size)));
        }
        for entry in &boot.entries {
            self.line(format_args!("    entry     {}: {} {}", entry.path, entry.title, entry.version));
            self.line(format_args!("    starts    {} with {}", entry.kernel, entry.initrd));
            self.line(format_args!("    cmdline   {}", entry.cmdline));
        }
        if let Some(unified) = &boot.unified {
            self.line(format_args!("    unified   {}", unified.path));
            self.program(&unified.program);
        }
    }

    fn program(&mut self, program: &ProgramReport) {
        let or_none = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".to_owned());
        self.line(format_args!("    system    {}", or_none(&program.system)));
        self.line(format_args!("    kernel    {}", or_none(&program.kernel)));
        self.line(format_args!("    cmdline   {}", or_none(&program.cmdline)));
        let sections: Vec<String> = program.sections.iter().map(|(name, size)| format!("{name} {size}")).collect();
        self.line(format_args!("    sections  {}", sections.join(", ")));
    }

    fn root(&mut self, place: &str, root: &'a RootReport) {
        let same = self.root.as_ref().filter(|(_, same)| *same == root).map(|(first, _)| first.clone());
        if let Some(first) = same {
            self.line(format_args!("    ext4      with the same contents as {first}"));
            return;
        }
        let (size, free) = (bytes(root.size), bytes(root.free));
        self.line(format_args!(
            "    ext4      {} {}, {size}, {free} free, {} paths",
            root.label, root.uuid, root.paths
        ));
        self.line(format_args!("    features  {}", root.features.join(" ")));
        self.line(format_args!("    modules   for kernel {}", root.kernels.join(", ")));
        let more = if self.packages { "" } else { " (--packages lists them)" };
        self.line(format_args!("    packages  {}{more}", root.packages.len()));
        for (name, version) in root.packages.iter().take(if self.packages { usize::MAX } else { 0 }) {
            self.line(format_args!("      {name} {version}"));
        }
        self.root.get_or_insert((place.to_owned(), root));
        self.files(root.files.as_ref());
    }

    fn initramfs(&mut self, initramfs: &InitramfsReport) {
        self.line(format_args!("    init      rocbed-init, {}", bytes(initramfs.init)));
        self.line(format_args!("    modules   {}", initramfs.modules));
        // Of the whole, as a private key has several lines.
        for line in redacted(&initramfs.settings).lines() {
            self.line(format_args!("    setting   {line}"));
        }
        self.files(initramfs.files.as_ref());
    }

    fn files(&mut self, files: Option<&Vec<String>>) {
        for path in files.into_iter().flatten() {
            self.line(format_args!("      {path}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_an_image_controls_no_terminal_and_tells_no_token() -> Result<()> {
        let program = ProgramReport {
            system: Some("Debian\u{1b}]0;owned\u{7}".into()),
            kernel: Some("6.17\n\u{1b}[1A    forged  line".into()),
            cmdline: Some("quiet rocbed.join-token=abc123 \u{202e}txt".into()),
            sections: vec![(".li\u{9b}2Jnux".into(), 1)],
        };
        let mut show = Show { text: String::new(), packages: false, root: None };
        show.program(&program);
        assert_eq!(show.text.lines().count(), 4, "{}", show.text);
        assert!(show.text.lines().all(|line| line.chars().all(safetext::is_printable)), "{:?}", show.text);
        assert!(show.text.contains(r"Debian\u{1b}]0;owned\u{7}") && !show.text.contains("abc123"), "{}", show.text);
        let mut json = serde_json::to_value(&program)?;
        redact(&mut json);
        assert!(!json.to_string().contains("abc123"), "{json}");
        Ok(())
    }

    #[test]
    fn a_key_in_the_settings_of_an_image_is_not_shown() -> Result<()> {
        let pem = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\nIOrZ7s3c\n-----END EC PRIVATE KEY-----\n";
        let lines = format!("name = \"w1\"\ndebci-key = \"\"\"\n{pem}\"\"\"\nwhen-done = \"wait\"\n");
        let one = format!("name = \"w1\"\ndebci-key = {pem:?}\nwhen-done = \"wait\"\n");
        for settings in [lines, one] {
            let report = InitramfsReport { modules: 1, init: 1, settings, files: None };
            let mut show = Show { text: String::new(), packages: false, root: None };
            show.initramfs(&report);
            let mut json = serde_json::to_value(&report)?;
            redact(&mut json);
            for text in [show.text, json.to_string()] {
                assert!(!text.contains("MHcC") && !text.contains("7s3c"), "{text}");
                assert!(text.contains("debci-key") && text.contains("when-done"), "{text}");
            }
        }
        Ok(())
    }
}
