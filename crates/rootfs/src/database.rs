//! dpkg's database for packages that are unpacked but not configured: what `dpkg --unpack` would have written.
//!
//! Consists of `status` in dpkg's own field order, `info/` (format 1), and trigger interests. dpkg reads it as its
//! own, and rewrites it with its first change.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use crate::Error;
use crate::inside::{Inside, timestamp};
use crate::unpack::{Extent, Package, UnpackReport, Unpacked};
use debian::deb::Deb;

/// Directory of the database, relative to the root.
pub const DIRECTORY: &str = "var/lib/dpkg";

/// dpkg's order of the fields it knows; all others follow in the package's own order.
const FIELDS: &[&str] = &[
    "Package",
    "Essential",
    "Protected",
    "Status",
    "Priority",
    "Section",
    "Installed-Size",
    "Origin",
    "Maintainer",
    "Bugs",
    "Architecture",
    "Multi-Arch",
    "Source",
    "Version",
    "Config-Version",
    "Replaces",
    "Provides",
    "Depends",
    "Pre-Depends",
    "Recommends",
    "Suggests",
    "Breaks",
    "Conflicts",
    "Enhances",
    "Conffiles",
    "Description",
];

/// Writes the database for all packages that were unpacked completely.
pub fn write(root: &Path, architecture: &str, packages: &[Package], report: &UnpackReport) -> Result<(), Error> {
    let inside = Inside::open(root)?;
    for directory in ["alternatives", "info", "parts", "triggers", "updates"] {
        inside.make_directories(&format!("{DIRECTORY}/{directory}"))?;
    }
    let put = |name: &str, content: &[u8]| inside.write(&format!("{DIRECTORY}/{name}"), content, 0o644);
    let whole: Vec<(&Package, &Unpacked)> = packages
        .iter()
        .zip(&report.packages)
        .filter(|(package, unpacked)| package.extent == Extent::Whole && !unpacked.disappeared)
        .collect();

    let mut stanzas = BTreeMap::new();
    for (package, unpacked) in &whole {
        write_info(&inside, &package.deb, unpacked)?;
        stanzas.insert((package.deb.name(), package.deb.architecture()), stanza(&package.deb));
    }
    let status: String = stanzas.into_values().collect();
    put("status", status.as_bytes())?;
    put("info/format", b"1\n")?;
    put("arch", format!("{architecture}\n").as_bytes())?;
    put("triggers/Unincorp", b"")?;
    write_triggers(&inside, whole.iter().map(|(package, _)| &package.deb))
}

fn write_info(inside: &Inside, deb: &Deb, unpacked: &Unpacked) -> Result<(), Error> {
    let path = |name: &str| format!("{DIRECTORY}/info/{}.{name}", deb.qualified_name());
    let mut list = Vec::new();
    for entry in &unpacked.paths {
        list.push(b'/');
        list.extend_from_slice(if entry.is_empty() { b"." } else { entry });
        list.push(b'\n');
    }
    inside.write(&path("list"), &list, 0o644)?;
    for file in &deb.files {
        inside.write_at(&path(&file.name), &file.bytes, file.mode.into(), timestamp(file.mtime))?;
    }
    if deb.file("md5sums").is_none() {
        let mut sums = Vec::new();
        for (digest, path) in &unpacked.digests {
            sums.extend_from_slice(digest.as_bytes());
            sums.extend_from_slice(b"  ");
            sums.extend_from_slice(path);
            sums.push(b'\n');
        }
        inside.write(&path("md5sums"), &sums, 0o644)?;
    }
    Ok(())
}

/// A package's paragraph of the status file.
fn stanza(deb: &Deb) -> String {
    let mut text = String::new();
    let mut field = |name: &str, value: &str| {
        // A value that begins on the next line has no blank after the colon.
        let blank = if value.is_empty() || value.starts_with('\n') { "" } else { " " };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name}:{blank}{value}");
    };
    for name in FIELDS {
        match *name {
            "Status" => field("Status", "install ok unpacked"),
            "Conffiles" => {
                let conffiles = conffiles(deb);
                if !conffiles.is_empty() {
                    field("Conffiles", &conffiles);
                }
            }
            name => {
                if let Some(value) = deb.control.get_raw(name) {
                    field(name, value);
                }
            }
        }
    }
    for (name, value) in deb.control.iter() {
        if !FIELDS.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            field(name, value);
        }
    }
    text.push('\n');
    text
}

/// Conffiles with `newconffile` in place of the digest, which dpkg sets once it has installed the file.
fn conffiles(deb: &Deb) -> String {
    let mut text = String::new();
    for (path, flag) in deb.conffiles() {
        let flag = if flag == Some(b"remove-on-upgrade") { " remove-on-upgrade" } else { "" };
        // Writing to a String cannot fail.
        let _ = write!(text, "\n {} newconffile{flag}", String::from_utf8_lossy(path));
    }
    text
}

/// Trigger interests (deb-triggers(5)): those in paths are all in `File`, those with names in a file each.
fn write_triggers<'a>(inside: &Inside, debs: impl Iterator<Item = &'a Deb>) -> Result<(), Error> {
    let mut files = String::new();
    let mut named: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for deb in debs {
        let bytes = deb.file("triggers").map_or(&[][..], |file| &file.bytes);
        for line in String::from_utf8_lossy(bytes).lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let suffix = match words.next() {
                Some("interest" | "interest-await") => "",
                Some("interest-noawait") => "/noawait",
                _ => continue, // activations have no place in the database; dpkg reads them when it configures
            };
            let Some(trigger) = words.next() else { continue };
            let package = format!("{}{suffix}", deb.qualified_name());
            if trigger.starts_with('/') {
                // Writing to a String cannot fail.
                let _ = writeln!(files, "{trigger} {package}");
            } else if trigger.contains('/') {
                return Err(Error::Malformed {
                    path: format!("{DIRECTORY}/info/{}.triggers", deb.qualified_name()),
                    what: format!("{trigger:?} is not the name of a trigger"),
                });
            } else {
                named.entry(trigger.to_owned()).or_default().insert(package);
            }
        }
    }
    if !files.is_empty() {
        inside.write(&format!("{DIRECTORY}/triggers/File"), files.as_bytes(), 0o644)?;
    }
    for (trigger, packages) in named {
        let lines: String = packages.into_iter().map(|package| package + "\n").collect();
        inside.write(&format!("{DIRECTORY}/triggers/{trigger}"), lines.as_bytes(), 0o644)?;
    }
    Ok(())
}
