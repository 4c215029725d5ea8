//! The first process of a testbed: it sets everything up, sends the server the namespaces, and stays until the server
//! closes the line.

use std::fs;
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::mount::MountPropagationFlags;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use rustix::process::DumpableBehavior;
use rustix::rand::GetRandomFlags;
use rustix::thread::UnshareFlags;

use crate::Error;
use crate::control_group::{self, Group};
use crate::detach::detach_from_the_server;
use crate::gpu::Node;
use crate::hostname::{self, HOSTNAME};
use crate::identity::{Identity, become_its_root};
use crate::memory::FileSystems;
use crate::mounts::{self, Writable};
use crate::options::Network;
use crate::{devices, network, process, proxy};

/// apt's configuration with the proxy. It comes after the image's and the agent's.
const APT_PROXY: &str = "95rocbed-proxy";
/// The namespaces to join, in this order. A network namespace comes after them, and then the user namespace. A user may
/// not join the machine's network, but is already in it.
const NAMESPACES: [&str; 5] = ["pid", "mnt", "uts", "ipc", "cgroup"];

/// Configuration of a testbed.
#[derive(Debug)]
pub(crate) struct TestbedPlan<'a> {
    pub(crate) root: &'a Path,
    /// Layers over the root directory, the last on top.
    pub(crate) layers: &'a [PathBuf],
    pub(crate) writable: Writable<'a>,
    /// Limits of the file systems in memory.
    pub(crate) file_systems: FileSystems,
    pub(crate) devices: &'a [Node],
    /// GPUs to simulate; their nodes are among the devices.
    pub(crate) simulated: Option<&'a gpusim::Machine>,
    /// Group of granted devices, as an id inside the testbed.
    pub(crate) group: u32,
    pub(crate) network: Network,
    /// Path of the scratch directory, or `None` for one with a new name.
    pub(crate) scratch: Option<&'a str>,
    /// The host's `/etc/resolv.conf`.
    pub(crate) resolver: Option<Vec<u8>>,
}

/// Makes the testbed and waits; this runs in the first process of a new pid namespace.
///
/// It sends one message over the line: `k` and the scratch directory, with the namespaces, the writable layer and what its
/// proxy listens with as descriptors; or `e` and an error. When the other end is closed, this process ends, and with it all others in its
/// namespace.
pub(crate) fn run(plan: &TestbedPlan<'_>, identity: &Identity, group: Option<&Group>, line: OwnedFd) -> u8 {
    match make(plan, identity, group) {
        Ok((scratch, descriptors)) => {
            let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let fits = control.push(SendAncillaryMessage::ScmRights(&borrowed));
            debug_assert!(fits);
            let text = format!("k{scratch}");
            let sent = rustix::net::sendmsg(&line, &[IoSlice::new(text.as_bytes())], &mut control, SendFlags::NOSIGNAL);
            if sent.is_err() || process::close_all_but(&line).is_err() {
                return 1;
            }
            // The kernel reaps adopted orphans by itself, so only the end has to be waited for.
            u8::from(fs::File::from(line).read(&mut [0]).is_err())
        }
        Err(error) => {
            // If this does not arrive, the server sees the line close.
            let _ = fs::File::from(line).write_all(format!("e{error}").as_bytes());
            1
        }
    }
}

fn make(plan: &TestbedPlan<'_>, identity: &Identity, group: Option<&Group>) -> Result<(String, Vec<OwnedFd>), Error> {
    detach_from_the_server()?;
    if let Some(group) = group {
        // Before there is a control group namespace, whose root it then is.
        control_group::enter(group.members()).map_err(Error::step("moving into the testbed's control group"))?;
    }
    let own_network = plan.network != Network::Host;
    // Processes inside may not mount the control groups of this namespace, which is the server's.
    let mut flags = UnshareFlags::NEWNS | UnshareFlags::NEWCGROUP;
    if own_network {
        // Only so that /sys shows the interfaces of an empty network; the testbed gets another one.
        flags |= UnshareFlags::NEWNET;
    }
    ::confine::process::unshare(flags).map_err(Error::step("making namespaces for mounts and control groups"))?;
    rustix::mount::mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(Error::step("making mounts private"))?;
    let layer = mounts::overlay(plan.root, plan.layers, &plan.writable, identity)?;
    devices::make(Path::new("root"), plan.devices, plan.group, identity)?;
    mounts::kernel(own_network, plan.simulated)?;
    mounts::pivot()?;

    rustix::thread::move_into_link_name_space(identity.inner.as_fd(), None)
        .map_err(Error::step("joining the testbed's user namespace"))?;
    become_its_root(identity.nested)?;
    // Processes inside may not look into this one: its program file is the host's.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(Error::step("shielding the first process"))?;
    // These are made after joining, so they belong to the testbed: its root may mount, and set the host name.
    let mut flags = UnshareFlags::NEWNS | UnshareFlags::NEWUTS | UnshareFlags::NEWIPC;
    if own_network {
        flags |= UnshareFlags::NEWNET;
    }
    ::confine::process::unshare(flags).map_err(Error::step("making the testbed's namespaces"))?;
    if own_network {
        network::raise_loopback().map_err(Error::step("raising the loopback interface"))?;
    }
    let listener = (plan.network == Network::Proxy).then(proxy::listen).transpose()?;
    mounts::private(&plan.file_systems)?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    configure(plan.resolver.as_deref())?;
    if listener.is_some() {
        configure_apt()?;
    }
    let scratch = make_scratch(plan)?;
    let names = NAMESPACES.into_iter().chain(own_network.then_some("net"));
    let mut descriptors = names.map(mounts::namespace).collect::<Result<Vec<_>, _>>()?;
    descriptors.push(layer);
    descriptors.extend(listener);
    Ok((scratch, descriptors))
}

/// Sets the host name and the name servers.
fn configure(resolver: Option<&[u8]>) -> Result<(), Error> {
    rustix::system::sethostname(HOSTNAME.as_bytes()).map_err(Error::step("setting the host name"))?;
    let write = |path: &str, bytes: &[u8]| {
        // The existing file may be a link to a file of a service that does not run here.
        match fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => fs::write(path, bytes),
        }
        .map_err(Error::step(format!("writing {path}")))
    };
    let etc = Path::new("/etc");
    hostname::write_name(etc).map_err(Error::step("writing /etc/hostname"))?;
    hostname::add_to_hosts(etc).map_err(Error::step("writing /etc/hosts"))?;
    resolver.map_or(Ok(()), |text| write("/etc/resolv.conf", text))
}

/// Has apt use the proxy, where there is apt.
fn configure_apt() -> Result<(), Error> {
    let directory = Path::new("/etc/apt/apt.conf.d");
    if !directory.is_dir() {
        return Ok(());
    }
    let path = directory.join(APT_PROXY);
    let text = format!("Acquire::http::Proxy \"{0}\";\nAcquire::https::Proxy \"{0}\";\n", proxy::ADDRESS);
    fs::write(&path, text).map_err(Error::step(format!("writing {}", path.display())))
}

fn make_scratch(plan: &TestbedPlan<'_>) -> Result<String, Error> {
    let path = match plan.scratch {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(format!("/tmp/autopkgtest.{}", random_name()?)),
    };
    let step = || format!("making the scratch directory {}", path.display());
    fs::create_dir(&path).map_err(Error::step(step()))?;
    // Only autopkgtest's commands are inside. Version 6 makes the tests' user its owner; version 5 leaves it unchanged.
    // It is not sticky, as root could not write to that user's files in it then (fs.protected_regular).
    rustix::fs::chmod(&path, rustix::fs::Mode::from_raw_mode(0o777)).map_err(Error::step(step()))?;
    Ok(path.to_string_lossy().into_owned())
}

/// Six random letters and digits.
pub(crate) fn random_name() -> Result<String, Error> {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut bytes = [0; 6];
    rustix::rand::getrandom(&mut bytes, GetRandomFlags::empty()).map_err(Error::step("making a name"))?;
    Ok(bytes.iter().map(|byte| LETTERS[usize::from(byte % 32)] as char).collect())
}
