//! Becoming root without being it (`user_namespaces(7)`).

use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::process::Command;

use rustix::process::{Gid, Uid};
use rustix::thread::UnshareFlags;

use super::SandboxError;
use super::{ids, process};

/// Set in the environment of the process that runs inside, so that it does not start another one.
const MARKER: &str = "ROCBED_USER_NAMESPACE";

/// Whether this process was started again by [`become_root`].
pub fn is_inside() -> bool {
    env::var_os(MARKER).is_some()
}

/// Makes the caller root of a user namespace with a mount namespace of its own, unless it is root already.
///
/// To be called first thing in `main`, before any thread is started. For a user it runs this program again, with the
/// same arguments, inside the namespaces; signals are passed on, and this call ends the process with the same status.
/// It returns only where the caller is root, the host's or the namespace's. Inside, root is the caller and the ids 1
/// to 65535 are the caller's subordinate ids.
pub fn become_root() -> Result<(), SandboxError> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let (uids, gids) = ids::ranges()?;
    for program in ["newuidmap", "newgidmap"] {
        if !ids::is_installed(program) {
            return Err(SandboxError::NoMapper(program));
        }
    }
    let gate = process::SignalGate::close().map_err(SandboxError::step("blocking signals"))?;
    let pipe = || io::pipe().map_err(SandboxError::step("making a pipe"));
    let (mut ready, mut is_ready) = pipe()?;
    let (mut go, mut may_go) = pipe()?;

    let mut arguments = env::args_os();
    let mut child = Command::new("/proc/self/exe");
    if let Some(name) = arguments.next() {
        std::os::unix::process::CommandExt::arg0(&mut child, name);
    }
    child.args(arguments).env(MARKER, "1");
    process::before_exec(&mut child, move || {
        process::unshare(UnshareFlags::NEWUSER)?;
        is_ready.write_all(&std::process::id().to_ne_bytes())?;
        // Ends without the byte when the mapping failed, or when the parent died.
        go.read_exact(&mut [0])?;
        rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
        rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
        rustix::thread::set_thread_groups(&[])?;
        process::unshare(UnshareFlags::NEWNS)?;
        let private = rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
        rustix::mount::mount_change(c"/", private)?;
        // After the change of ids, which clears it.
        process::die_with_parent()?;
        process::unblock_signals()
    });

    // `spawn` returns only after the child's exec, which waits for the mapping: somebody else has to make that.
    let mapper = std::thread::spawn(move || {
        let mut pid = [0; 4];
        if ready.read_exact(&mut pid).is_err() {
            return Ok(()); // the child could not make a namespace; spawn says so
        }
        ids::map(u32::from_ne_bytes(pid), uids, gids)?;
        may_go.write_all(&[1]).map_err(SandboxError::step("letting the namespace start"))
    });
    let spawned = child.spawn();
    drop(child);
    match mapper.join() {
        Ok(mapped) => mapped?,
        Err(_) => return Err(SandboxError::step("mapping ids")(io::Error::other("the thread panicked"))),
    }
    let mut running = spawned.map_err(|error| forbidden(&error))?;
    let status = gate.wait_for(&mut running).map_err(SandboxError::step("waiting for the namespace's process"))?;
    process::exit_like(status)
}

/// Names the setting that forbids user namespaces, if one of those that do is known.
fn forbidden(source: &io::Error) -> SandboxError {
    let setting = |path: &str| fs::read_to_string(format!("/proc/sys/{path}")).ok().map(|text| text.trim().to_owned());
    explain(source, setting)
}

fn explain(source: &io::Error, setting: impl Fn(&str) -> Option<String>) -> SandboxError {
    for (path, bad, good) in [
        ("user/max_user_namespaces", "0", "10000"),
        ("kernel/unprivileged_userns_clone", "0", "1"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
    ] {
        if setting(path).as_deref() == Some(bad) {
            let name = path.replace('/', ".");
            return SandboxError::UserNamespace {
                reason: format!("{name} is {bad} ({source})"),
                remedy: format!("As root, run: sysctl {name}={good}; or run this as root"),
            };
        }
    }
    SandboxError::UserNamespace {
        reason: format!("{source}, though no known setting forbids it; in a container, its seccomp profile may"),
        remedy: "Run this as root, or allow the container unshare(2) and mount(2)".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_setting_that_forbids_namespaces() {
        let denied = io::Error::from_raw_os_error(1);
        let only = |key: &'static str, value: &'static str| move |path: &str| (path == key).then(|| value.to_owned());
        let message = explain(&denied, only("kernel/unprivileged_userns_clone", "0")).to_string();
        assert!(message.contains("sysctl kernel.unprivileged_userns_clone=1"), "{message}");
        let message = explain(&denied, only("user/max_user_namespaces", "0")).to_string();
        assert!(message.contains("user.max_user_namespaces is 0"), "{message}");
        let message = explain(&denied, only("kernel/apparmor_restrict_unprivileged_userns", "0")).to_string();
        assert!(message.contains("container"), "{message}");
    }
}
