//! The name that all testbeds have, and the files with it.

use std::fs;
use std::io;
use std::path::Path;

use durable::Readers;

/// The host name of a testbed.
pub const HOSTNAME: &str = "testbed";

/// Bytes that a host name may have (`HOST_NAME_MAX` of limits.h).
const LONGEST: usize = 64;

/// Content of `/etc/hosts` (`hosts(5)`) for a testbed that has no such file.
const LOCALHOST: &[u8] = b"127.0.0.1\tlocalhost\n";

/// Writes the name to `hostname(5)` in a directory that stands for `/etc`.
///
/// # Errors
/// If the file cannot be written.
pub fn write_name(etc: &Path) -> io::Result<()> {
    replace(&etc.join("hostname"), format!("{HOSTNAME}\n").as_bytes())
}

/// The name in `hostname(5)`, in a directory that stands for `/etc`: the first line that is not empty and not a comment. `None`
/// if the file has none, or cannot be read.
pub fn read_name(etc: &Path) -> Option<String> {
    let text = fs::read_to_string(etc.join("hostname")).ok()?;
    let name = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'))?;
    (name.len() <= LONGEST).then(|| name.to_owned())
}

/// Adds the name to `hosts(5)` in a directory that stands for `/etc`, as sudo and others look it up. Returns true if it was
/// added, false if the file had it.
///
/// # Errors
/// If the file is there and cannot be read, or if it cannot be written. The old content is kept then.
pub fn add_to_hosts(etc: &Path) -> io::Result<bool> {
    let path = etc.join("hosts");
    let mut hosts = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => LOCALHOST.to_vec(),
        Err(error) => return Err(error),
    };
    if hosts.split(|byte| *byte == b'\n').any(names_testbed) {
        return Ok(false);
    }
    if hosts.last().is_some_and(|last| *last != b'\n') {
        hosts.push(b'\n');
    }
    hosts.extend_from_slice(format!("127.0.1.1\t{HOSTNAME}\n").as_bytes());
    replace(&path, &hosts).map(|()| true)
}

/// Whether a line of `hosts(5)` (an address, then names) has the name.
fn names_testbed(line: &[u8]) -> bool {
    let entry = line.split(|byte| *byte == b'#').next().unwrap_or_default();
    let mut words = entry.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.next().is_some() && words.any(|word| word == HOSTNAME.as_bytes())
}

/// Replaces a file as a whole. The existing one may be a link to a file of a service that does not run here: that stays.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    durable::replace_unsynced(path, bytes, Readers::Everyone)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of a hosts file, and what adding the name returned.
    fn added_to(before: &[u8]) -> (Vec<u8>, bool) {
        let etc = tempfile::tempdir().unwrap();
        let path = etc.path().join("hosts");
        fs::write(&path, before).unwrap();
        let added = add_to_hosts(etc.path()).unwrap();
        (fs::read(path).unwrap(), added)
    }

    #[test]
    fn the_name_is_added_once() {
        let etc = tempfile::tempdir().unwrap();
        let hosts = || fs::read_to_string(etc.path().join("hosts")).unwrap();
        assert!(add_to_hosts(etc.path()).unwrap());
        assert_eq!(hosts(), "127.0.0.1\tlocalhost\n127.0.1.1\ttestbed\n");
        assert!(!add_to_hosts(etc.path()).unwrap());
        assert_eq!(hosts(), "127.0.0.1\tlocalhost\n127.0.1.1\ttestbed\n");
    }

    #[test]
    fn the_lines_of_the_image_stay() {
        let (after, added) = added_to(b"10.0.0.1 a\n127.0.0.1 localhost");
        assert_eq!((after.as_slice(), added), (&b"10.0.0.1 a\n127.0.0.1 localhost\n127.0.1.1\ttestbed\n"[..], true));
        // Bytes that are not UTF-8 are as good as others.
        assert_eq!(added_to(b"::1 h\xf6st\n").0, b"::1 h\xf6st\n127.0.1.1\ttestbed\n");
        assert_eq!(added_to(b"").0, b"127.0.1.1\ttestbed\n");
        for has_it in [&b"127.0.1.1 other testbed # ours"[..], b"# comment\n\t::1\ttestbed\n"] {
            assert_eq!(added_to(has_it), (has_it.to_vec(), false));
        }
        for has_it_not in ["# a testbed\n", "127.0.0.1 a # testbed\n", "testbed\n", "127.0.0.1 testbed2\n"] {
            assert!(added_to(has_it_not.as_bytes()).1, "{has_it_not}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_not_replaced() {
        let etc = tempfile::tempdir().unwrap();
        let path = etc.path().join("hosts");
        fs::create_dir(&path).unwrap();
        add_to_hosts(etc.path()).unwrap_err();
        assert!(path.is_dir());
        // What a link leads to belongs to others.
        fs::remove_dir(&path).unwrap();
        let other = etc.path().join("other");
        fs::write(&other, "::1 other\n").unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        assert!(add_to_hosts(etc.path()).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "::1 other\n127.0.1.1\ttestbed\n");
        assert_eq!(fs::read_to_string(&other).unwrap(), "::1 other\n");
    }

    #[test]
    fn the_name_is_written_and_read() {
        let etc = tempfile::tempdir().unwrap();
        assert_eq!(read_name(etc.path()), None);
        write_name(etc.path()).unwrap();
        assert_eq!(fs::read_to_string(etc.path().join("hostname")).unwrap(), "testbed\n");
        assert_eq!(read_name(etc.path()).as_deref(), Some(HOSTNAME));
        let long = "long".repeat(20);
        for (text, name) in
            [("# ours\n\n renamed \n", Some("renamed")), ("\n", None), (long.as_str(), None), ("", None)]
        {
            fs::write(etc.path().join("hostname"), text).unwrap();
            assert_eq!(read_name(etc.path()).as_deref(), name, "{text:?}");
        }
    }
}
