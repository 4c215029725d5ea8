//! apt's settings in testbeds, where they are not to be the image's: files to be copied in.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::settings::Settings;

/// The image's package sources.
const SOURCES: &str = "etc/apt/sources.list.d/rocbed.sources";

/// Comes after the image's own.
const CONFIGURATION: &str = "etc/apt/apt.conf.d/91rocbed";

/// Writes what differs from the image below `root` into a directory; returns what goes where.
pub fn copies(settings: &Settings, root: &Path, directory: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let mut copies = Vec::new();
    let mut add = |name: &str, text: String, inside: &str| {
        fs::create_dir_all(directory)?;
        let path = directory.join(name);
        fs::write(&path, text)?;
        copies.push((path, format!("/{inside}")));
        Ok::<_, io::Error>(())
    };
    if let Some(mirror) = &settings.mirror {
        let sources = fs::read_to_string(root.join(SOURCES))?;
        add("rocbed.sources", with_mirror(&sources, mirror), SOURCES)?;
    }
    if !settings.check_valid_until {
        add("91rocbed", "Acquire::Check-Valid-Until \"false\";\n".to_owned(), CONFIGURATION)?;
    }
    Ok(copies)
}

/// Sources in deb822 style with another address (sources.list(5), `URIs`).
fn with_mirror(sources: &str, mirror: &str) -> String {
    let line = |line: &str| match line.split_once(':') {
        Some((field, _)) if field.eq_ignore_ascii_case("URIs") => format!("{field}: {mirror}\n"),
        _ => format!("{line}\n"),
    };
    sources.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_set_is_copied() -> io::Result<()> {
        let (root, directory) = (tempfile::tempdir()?, tempfile::tempdir()?);
        fs::create_dir_all(root.path().join("etc/apt/sources.list.d"))?;
        fs::write(root.path().join(SOURCES), "Types: deb deb-src\nURIs: http://a\nSuites: sid\n")?;
        let copied = |settings: &Settings| -> io::Result<Vec<String>> {
            let copies = copies(settings, root.path(), directory.path())?;
            let text = |(path, inside): &(PathBuf, String)| Ok(format!("{inside}: {}", fs::read_to_string(path)?));
            copies.iter().map(text).collect()
        };
        assert!(copied(&Settings::default())?.is_empty());
        let settings = Settings { mirror: Some("http://b".into()), check_valid_until: false, ..Settings::default() };
        let expected = [
            "/etc/apt/sources.list.d/rocbed.sources: Types: deb deb-src\nURIs: http://b\nSuites: sid\n",
            "/etc/apt/apt.conf.d/91rocbed: Acquire::Check-Valid-Until \"false\";\n",
        ];
        assert_eq!(copied(&settings)?, expected);
        Ok(())
    }
}
