//! The testbed's `/dev`: the usual device nodes, the granted ones, and no others.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Gid, Mode, Uid};
use rustix::mount::{self, MountFlags};

use crate::Error;
use crate::gpu::Node;
use crate::identity::Identity;

/// Nodes that any program may expect, accessible to everyone.
const PLAIN: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];

/// Creates `/dev` in the directory `root`. `group`, a group id inside the testbed, owns the granted nodes.
pub(crate) fn make(root: &Path, granted: &[Node], group: u32, identity: &Identity) -> Result<(), Error> {
    let dev = root.join("dev");
    let options = format!("mode=0755,size=1m,uid={0},gid={0}\0", identity.base);
    let options = std::ffi::CStr::from_bytes_with_nul(options.as_bytes()).ok();
    mount::mount(c"dev", &dev, c"tmpfs", MountFlags::NOSUID | MountFlags::NOEXEC, options)
        .map_err(Error::step("mounting /dev"))?;
    for name in PLAIN {
        let host = Path::new("/dev").join(name);
        let device = fs::metadata(&host).map_err(Error::step(format!("looking at {}", host.display())))?.rdev();
        let node = Node { host, inside: PathBuf::from(name), device };
        make_node(&dev, &node, 0o666, 0, identity).map_err(Error::step(format!("making /dev/{name}")))?;
    }
    for node in granted {
        make_node(&dev, node, 0o660, group, identity)
            .map_err(Error::step(format!("making /dev/{}", node.inside.display())))?;
    }
    for (target, link) in LINKS {
        std::os::unix::fs::symlink(target, dev.join(link)).map_err(Error::step(format!("making /dev/{link}")))?;
    }
    for directory in ["pts", "shm"] {
        make_directory(&dev.join(directory), identity).map_err(Error::step(format!("making /dev/{directory}")))?;
    }
    Ok(())
}

fn make_directory(path: &Path, identity: &Identity) -> Result<(), std::io::Error> {
    fs::create_dir_all(path)?;
    rustix::fs::chmod(path, Mode::from_raw_mode(0o755))?;
    std::os::unix::fs::chown(path, Some(identity.base), Some(identity.base))
}

/// Creates a node with an owner of the testbed. In a user namespace no nodes can be created; there the host's node is
/// mounted instead, with the permissions of the calling user.
fn make_node(dev: &Path, node: &Node, mode: u32, group: u32, identity: &Identity) -> Result<(), std::io::Error> {
    let path = dev.join(&node.inside);
    if let Some(parent) = path.parent().filter(|parent| *parent != dev) {
        make_directory(parent, identity)?;
    }
    let mode = Mode::from_raw_mode(mode);
    match rustix::fs::mknodat(CWD, &path, FileType::CharacterDevice, mode, node.device) {
        Ok(()) => {
            let owner = (Uid::from_raw(identity.outside(0)), Gid::from_raw(identity.outside(group)));
            rustix::fs::chown(&path, Some(owner.0), Some(owner.1))?;
            rustix::fs::chmod(&path, mode)?;
        }
        Err(rustix::io::Errno::PERM) => {
            fs::File::create(&path)?;
            mount::mount_bind(&node.host, &path)?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
