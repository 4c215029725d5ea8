//! The testbeds: this program is also autopkgtest's virtualisation server.
//!
//! It is that when it is started as `autopkgtest-virt-rocbed` or as `rocbed-init virt`; see the crate `testbed`.

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

/// Whether this process was started as the server, or to enter one of its testbeds.
pub fn is_wanted() -> bool {
    let mut arguments = std::env::args_os();
    let (name, first) = (arguments.next(), arguments.next());
    std::process::id() != 1 && wants(name.as_deref(), first.as_deref())
}

/// Runs the server; call this first in `main`.
pub fn main() -> ExitCode {
    testbed::main(std::env::args_os().skip(1))
}

fn wants(name: Option<&OsStr>, first: Option<&OsStr>) -> bool {
    let name = name.and_then(|name| Path::new(name).file_name());
    name.is_some_and(|name| name == testbed::server::NAME) || first.is_some_and(|first| first == "virt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_or_the_first_argument_decides() {
        let wants = |name: &str, first: Option<&str>| wants(Some(name.as_ref()), first.map(OsStr::new));
        assert!(wants("/usr/bin/autopkgtest-virt-rocbed", Some("--root")));
        assert!(wants("autopkgtest-virt-rocbed", None));
        assert!(wants("/usr/sbin/rocbed-init", Some("virt")));
        assert!(!wants("/usr/sbin/rocbed-init", Some("detect")));
        assert!(!wants("/init", None));
    }
}
