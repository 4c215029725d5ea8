//! Becomes root in a user namespace (`user_namespaces(7)`).

use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::process::Command;

use rustix::process::{Gid, Uid};
use rustix::thread::UnshareFlags;

use super::SandboxError;
use super::ids::{self, Mapping};
use super::refused::Facts;
use super::{probe, process};

/// Environment variable of the process in the namespace, so that it does not start another one.
const MARKER: &str = "ROCBED_USER_NAMESPACE";

/// Whether this process was started again by [`become_root`].
pub fn is_inside() -> bool {
    env::var_os(MARKER).is_some()
}

/// Makes the caller root of a user namespace with a mount namespace of its own, unless it already is root and may
/// create namespaces. Such a root's sandboxes have user namespaces, and the call fails if those are not allowed.
///
/// To be called first in `main`, before any thread is started. For all other callers it runs this program again, with
/// the same arguments, inside the namespaces; signals are passed on, and this call ends the process with the same
/// status. It returns only if the caller is root, the host's or the namespace's. Inside, root is the caller and the
/// ids 1 to 65535 are the caller's subordinate ids; for the root of a container, they are the container's.
pub fn become_root() -> Result<(), SandboxError> {
    let is_root = rustix::process::geteuid().is_root();
    if is_root && is_inside() {
        return Ok(());
    }
    if is_root && probe::namespaces().is_ok() {
        if ids::spare().is_none() {
            return Ok(());
        }
        // Before anything is fetched: if building is impossible, the user should know at once.
        return probe::user_namespace().map_err(|refusal| Facts::gather().explain(&refusal));
    }
    if fs::metadata("/proc/self/exe").is_err() {
        return Err(SandboxError::NoProc);
    }
    let facts = Facts::gather();
    let refused = probe::user_namespace().err().map(|refusal| facts.explain(&refusal));
    let mapping = match (is_root, refused) {
        (true, None) => ids::of_root()?,
        (true, Some(error)) => return Err(error),
        (false, refused) => all_or_missing(refused, ids::of_user(&facts))?,
    };
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
        confine::process::unshare(UnshareFlags::NEWUSER)?;
        is_ready.write_all(&std::process::id().to_ne_bytes())?;
        // Otherwise it would stay if the parent died: it has the other end of the pipe too.
        process::die_with_parent()?;
        let mut mapped = [0];
        go.read_exact(&mut mapped)?;
        if mapped == [0] {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
        rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
        rustix::thread::set_thread_groups(&[])?;
        confine::process::unshare(UnshareFlags::NEWNS)?;
        let private = rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
        rustix::mount::mount_change(c"/", private)?;
        // After the change of ids, which clears it.
        process::die_with_parent()?;
        confine::process::unblock_signals()
    });

    // `spawn` returns only after the child's exec, which waits for the mapping: so another thread has to set that.
    let mapper = std::thread::spawn(move || {
        let mut pid = [0; 4];
        if ready.read_exact(&mut pid).is_err() {
            return Ok(()); // the child could not make a namespace; spawn says so
        }
        let mapped = ids::map(u32::from_ne_bytes(pid), mapping);
        may_go.write_all(&[mapped.is_ok().into()]).map_err(SandboxError::step("letting the namespace start"))?;
        mapped
    });
    let spawned = child.spawn();
    drop(child);
    match mapper.join() {
        Ok(mapped) => mapped?,
        Err(_) => return Err(SandboxError::step("mapping ids")(io::Error::other("the thread panicked"))),
    }
    let mut running = spawned.map_err(SandboxError::step("starting again in a user namespace"))?;
    let status = gate.wait_for(&mut running).map_err(SandboxError::step("waiting for the namespace's process"))?;
    process::exit_like(status)
}

/// Reports all problems at once, so that the user does not have to fix them one by one.
fn all_or_missing(
    refused: Option<SandboxError>,
    mapping: Result<Mapping, Vec<SandboxError>>,
) -> Result<Mapping, SandboxError> {
    let (mapping, missing) = match mapping {
        Ok(mapping) => (Some(mapping), Vec::new()),
        Err(missing) => (None, missing),
    };
    let mut errors: Vec<_> = refused.into_iter().chain(missing).collect();
    match (mapping, errors.len()) {
        (Some(mapping), 0) => Ok(mapping),
        (_, 1) => Err(errors.remove(0)),
        _ => Err(SandboxError::Several(errors)),
    }
}
