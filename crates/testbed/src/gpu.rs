//! The GPUs granted to a testbed: their render nodes, `/dev/kfd`, and the variable that identifies them for `ROCm`.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::Error;

const TOPOLOGY: &str = "/sys/class/kfd/kfd/topology/nodes";
/// First minor number of render nodes (DRM, `drm_file.h`).
const FIRST_RENDER_MINOR: u32 = 128;

/// A device node for the testbed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// Path of the node on the host.
    pub(crate) host: PathBuf,
    /// Path of the node in the testbed's `/dev`.
    pub(crate) inside: PathBuf,
    /// Device number.
    pub(crate) device: u64,
}

/// The devices granted to a testbed.
#[derive(Debug, Default)]
pub(crate) struct Granted {
    /// Device nodes.
    pub(crate) nodes: Vec<Node>,
    /// Value of `ROCR_VISIBLE_DEVICES`, if it can identify the GPUs. Access is limited by the nodes in any case.
    pub(crate) visible: Option<String>,
}

impl Granted {
    /// Examines render nodes. The node of the compute driver is added if it exists.
    pub(crate) fn find(render: &[PathBuf]) -> Result<Self, Error> {
        if render.is_empty() {
            return Ok(Self::default());
        }
        let mut nodes = Vec::new();
        let mut minors = Vec::new();
        for path in render {
            let wrong = || Error::Usage(format!("{} is not a GPU's render node", path.display()));
            let device = device(path).ok_or_else(wrong)?;
            let minor = rustix::fs::minor(device);
            let name = path.file_name().filter(|name| name.to_string_lossy().starts_with("renderD"));
            let name = name.filter(|_| minor >= FIRST_RENDER_MINOR).ok_or_else(wrong)?;
            minors.push(minor);
            nodes.push(Node { host: path.clone(), inside: Path::new("dri").join(name), device });
        }
        let kfd = Path::new("/dev/kfd");
        if let Some(device) = device(kfd) {
            nodes.push(Node { host: kfd.into(), inside: "kfd".into(), device });
        }
        Ok(Self { nodes, visible: visible_devices(&topology(), &minors) })
    }
}

/// The device number of a character device.
fn device(path: &Path) -> Option<u64> {
    let metadata = fs::metadata(path).ok()?;
    metadata.file_type().is_char_device().then(|| metadata.rdev())
}

/// The `properties` of each node of the compute driver; empty without that driver.
fn topology() -> Vec<String> {
    let Ok(nodes) = fs::read_dir(TOPOLOGY) else { return Vec::new() };
    // Nodes of GPUs that this process may not use cannot be read; they are not granted either.
    nodes.flatten().filter_map(|node| fs::read_to_string(node.path().join("properties")).ok()).collect()
}

/// Value of `ROCR_VISIBLE_DEVICES` for the GPUs with these render nodes. It uses unique ids, as an index would depend
/// on which GPUs are visible inside; `None` if a GPU has no unique id, or one that another has too, as the partitions of
/// one GPU have with some kernels.
fn visible_devices(topology: &[String], minors: &[u32]) -> Option<String> {
    let ids: Option<Vec<String>> = minors
        .iter()
        .map(|minor| {
            let node = topology.iter().find(|text| property(text, "drm_render_minor") == Some(u64::from(*minor)))?;
            let has = |text: &String, id: u64| property(text, "unique_id") == Some(id);
            let id = property(node, "unique_id").filter(|id| *id != 0)?;
            (topology.iter().filter(|text| has(text, id)).count() == 1).then(|| format!("GPU-{id:016x}"))
        })
        .collect();
    Some(ids?.join(","))
}

fn property(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(' ')?;
        if key == name { value.trim().parse().ok() } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(minor: u32, id: u64) -> String {
        format!("cpu_cores_count 0\nsimd_count 72\ndrm_render_minor {minor}\nunique_id {id}\n")
    }

    #[test]
    fn names_gpus_by_their_unique_ids() {
        let topology =
            ["cpu_cores_count 8\ndrm_render_minor 0\nunique_id 0\n".into(), node(128, 0xAB), node(129, 0xCD)];
        assert_eq!(visible_devices(&topology, &[129]).as_deref(), Some("GPU-00000000000000cd"));
        let both = "GPU-00000000000000ab,GPU-00000000000000cd";
        assert_eq!(visible_devices(&topology, &[128, 129]).as_deref(), Some(both));
    }

    #[test]
    fn leaves_it_to_the_nodes_where_a_gpu_has_no_id() {
        assert_eq!(visible_devices(&[node(128, 0)], &[128]), None);
        assert_eq!(visible_devices(&[], &[128]), None);
        assert_eq!(visible_devices(&[node(128, 0xAB), node(129, 0xAB)], &[128]), None, "two partitions");
    }

    #[test]
    fn grants_nothing_but_render_nodes() {
        for path in ["/dev/null", "/dev/dri/renderD999", "/etc/passwd"] {
            assert!(Granted::find(&[path.into()]).is_err(), "{path}");
        }
    }
}
