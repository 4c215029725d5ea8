//! Writes resolv.conf(5).

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;

use crate::error::Error;

/// The largest number of name servers that resolvers ask (MAXNS in glibc, and the same in musl).
const MOST: usize = 3;

/// The file's text.
pub(crate) fn text(dns: &[IpAddr], search: &[String]) -> String {
    let mut text = "# Written by rocbed from ip= and DHCP; changes are lost.\n".to_owned();
    if !search.is_empty() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "search {}", search.join(" "));
    }
    for (at, server) in dns.iter().enumerate() {
        let comment = if at < MOST { "" } else { "# one too many for resolvers: " };
        let _ = writeln!(text, "{comment}nameserver {server}");
    }
    text
}

/// Writes the file atomically: readers see either the old one or the new one.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), Error> {
    // The file is in memory and need not survive a restart.
    durable::replace_unsynced(path, text.as_bytes(), durable::Readers::Everyone)
        .map_err(Error::io(format!("writing {}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_and_domains() {
        let dns: Vec<IpAddr> =
            ["10.0.2.3", "2001:db8::53", "9.9.9.9", "1.1.1.1"].iter().map(|text| text.parse().unwrap()).collect();
        let search = ["lab.example".to_owned(), "example".to_owned()];
        let expected = "# Written by rocbed from ip= and DHCP; changes are lost.\n\
                        search lab.example example\n\
                        nameserver 10.0.2.3\n\
                        nameserver 2001:db8::53\n\
                        nameserver 9.9.9.9\n\
                        # one too many for resolvers: nameserver 1.1.1.1\n";
        assert_eq!(text(&dns, &search), expected);
    }

    #[test]
    fn the_file_is_replaced_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("resolv.conf");
        // On Debian systems it may be a link into a directory that does not exist.
        std::os::unix::fs::symlink("../run/nowhere/resolv.conf", &path).unwrap();
        write(&path, "one\n").unwrap();
        write(&path, "two\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        let error = write(&directory.path().join("missing/resolv.conf"), "x").unwrap_err();
        assert!(error.to_string().starts_with("writing "), "{error}");
    }
}
