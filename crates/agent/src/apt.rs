//! Writes apt's settings for testbeds where they differ from the image's: files in a layer over the image.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use appliance::settings::Settings;

/// The image's package sources, relative to its root.
pub(crate) const SOURCES: &str = "etc/apt/sources.list.d/rocbed.sources";

/// The file with our settings; its name sorts after the image's own.
const CONFIGURATION: &str = "etc/apt/apt.conf.d/91rocbed";

/// Writes what differs from the image below `root` into `layer`, a directory that is overlaid on it. Files that are
/// already right are left alone: rewriting them would make the sources newer than apt's caches, which apt then does
/// not use.
pub fn write(settings: &Settings, root: &Path, layer: &Path) -> io::Result<()> {
    let make = |directory: &Path| DirBuilder::new().recursive(true).mode(0o755).create(directory);
    make(layer)?;
    let add = |name: &str, text: String| {
        let path = layer.join(name);
        if fs::read_to_string(&path).is_ok_and(|there| there == text) {
            return Ok(());
        }
        path.parent().map_or(Ok(()), make)?;
        fs::write(path, text)
    };
    if let Some(mirror) = &settings.mirror {
        let sources = fs::read_to_string(root.join(SOURCES))?;
        add(SOURCES, with_mirror(&sources, mirror))?;
    }
    let configuration = configuration(settings);
    if !configuration.is_empty() {
        add(CONFIGURATION, configuration)?;
    }
    Ok(())
}

/// The apt.conf(5) settings to add to the image's.
fn configuration(settings: &Settings) -> String {
    let mut text = String::new();
    if !settings.check_valid_until {
        text.push_str("Acquire::Check-Valid-Until \"false\";\n");
    }
    if let Some(proxy) = &settings.proxy {
        // A quotation mark would end the value.
        let proxy = proxy.reveal().replace('"', "%22");
        text.push_str(&format!("Acquire::http::Proxy \"{proxy}\";\nAcquire::https::Proxy \"{proxy}\";\n"));
    }
    text
}

/// The keyring of the archive that a mirror copies.
const DEBIAN: &str = "debian-archive-keyring";

/// Replaces the address of sources that Debian has signed, in deb822 style (sources.list(5), `URIs` and `Signed-By`).
/// Other sources stay: a mirror has only Debian's packages.
fn with_mirror(sources: &str, mirror: &str) -> String {
    let field =
        |line: &str, name: &str| line.split_once(':').is_some_and(|(field, _)| field.eq_ignore_ascii_case(name));
    let stanza = |stanza: &str| {
        let mut keys = stanza.lines().filter(|line| field(line, "Signed-By"));
        let debian = keys.all(|line| line.contains(DEBIAN));
        let line = |line: &str| {
            if debian && field(line, "URIs") { format!("URIs: {mirror}\n") } else { format!("{line}\n") }
        };
        stanza.lines().map(line).collect::<String>()
    };
    sources.split("\n\n").map(stanza).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use appliance::settings::Secret;

    #[test]
    fn only_what_was_set_is_in_the_layer() -> io::Result<()> {
        let (root, directory) = (tempfile::tempdir()?, tempfile::tempdir()?);
        fs::create_dir_all(root.path().join("etc/apt/sources.list.d"))?;
        fs::write(root.path().join(SOURCES), "Types: deb deb-src\nURIs: http://a\nSuites: sid\n")?;
        let layer = directory.path().join("layer");
        write(&Settings::default(), root.path(), &layer)?;
        assert_eq!(fs::read_dir(&layer)?.count(), 0);
        let settings = Settings { mirror: Some("http://b".into()), check_valid_until: false, ..Settings::default() };
        write(&settings, root.path(), &layer)?;
        let text = |name: &str| fs::read_to_string(layer.join(name));
        assert_eq!(text(SOURCES)?, "Types: deb deb-src\nURIs: http://b\nSuites: sid\n");
        assert_eq!(text(CONFIGURATION)?, "Acquire::Check-Valid-Until \"false\";\n");
        Ok(())
    }

    #[test]
    fn a_proxy_is_for_both_protocols() {
        let proxy = Some(Secret::new("http://me:a\"b@proxy.lab:3128"));
        let settings = Settings { proxy, check_valid_until: false, ..Settings::default() };
        let expected = "Acquire::Check-Valid-Until \"false\";\n\
            Acquire::http::Proxy \"http://me:a%22b@proxy.lab:3128\";\nAcquire::https::Proxy \"http://me:a%22b@proxy.lab:3128\";\n";
        assert_eq!(configuration(&settings), expected);
        assert!(!format!("{settings:?}").contains("3128"));
        assert_eq!(configuration(&Settings::default()), "");
    }

    #[test]
    fn a_mirror_has_debians_packages_only() {
        let sources = "Types: deb\nURIs: http://a\nSigned-By: /usr/share/keyrings/debian-archive-keyring.pgp\n\n\
            Types: deb\nURIs: http://others\nSigned-By: /etc/apt/keyrings/others.pgp\n\nTypes: deb-src\nuris: http://a\n";
        let expected = "Types: deb\nURIs: http://b\nSigned-By: /usr/share/keyrings/debian-archive-keyring.pgp\n\n\
            Types: deb\nURIs: http://others\nSigned-By: /etc/apt/keyrings/others.pgp\n\nTypes: deb-src\nURIs: http://b\n";
        assert_eq!(with_mirror(sources, "http://b"), expected);
    }

    #[test]
    fn what_is_there_keeps_its_time() -> io::Result<()> {
        let (root, layer) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let settings = Settings { check_valid_until: false, ..Settings::default() };
        write(&settings, root.path(), layer.path())?;
        let path = layer.path().join(CONFIGURATION);
        let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1);
        fs::File::options().write(true).open(&path)?.set_modified(long_ago)?;
        write(&settings, root.path(), layer.path())?;
        assert_eq!(path.metadata()?.modified()?, long_ago);
        Ok(())
    }
}
