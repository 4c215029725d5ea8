//! The name that all testbeds have, and the files with it.

use std::fs;
use std::io;
use std::path::Path;

/// The host name of a testbed.
pub const HOSTNAME: &str = "testbed";

/// Writes the name to `hostname(5)` in a directory that stands for `/etc`.
///
/// # Errors
/// If the file cannot be written.
pub fn write_name(etc: &Path) -> io::Result<()> {
    replace(&etc.join("hostname"), &format!("{HOSTNAME}\n"))
}

/// Adds the name to `hosts(5)` in a directory that stands for `/etc`, as sudo and others look it up. Returns whether it was not
/// there.
///
/// # Errors
/// If the file cannot be written.
pub fn add_to_hosts(etc: &Path) -> io::Result<bool> {
    let path = etc.join("hosts");
    let mut hosts = fs::read_to_string(&path).unwrap_or_else(|_| "127.0.0.1\tlocalhost\n".into());
    if hosts.split_whitespace().any(|word| word == HOSTNAME) {
        return Ok(false);
    }
    hosts.extend(["127.0.1.1\t", HOSTNAME, "\n"]);
    replace(&path, &hosts).map(|()| true)
}

/// Writes a file. The existing one may be a link to a file of a service that does not run here.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::write(path, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_added_once() {
        let etc = tempfile::tempdir().unwrap();
        let hosts = || fs::read_to_string(etc.path().join("hosts")).unwrap();
        assert!(add_to_hosts(etc.path()).unwrap());
        assert_eq!(hosts(), "127.0.0.1\tlocalhost\n127.0.1.1\ttestbed\n");
        assert!(!add_to_hosts(etc.path()).unwrap());
        assert_eq!(hosts(), "127.0.0.1\tlocalhost\n127.0.1.1\ttestbed\n");
        write_name(etc.path()).unwrap();
        assert_eq!(fs::read_to_string(etc.path().join("hostname")).unwrap(), "testbed\n");
    }
}
