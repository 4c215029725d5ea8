//! The NUMA nodes whose memory a testbed gets (`cpuset.mems`): those of its processors.

use std::path::Path;

use crate::processors::ProcessorList;

/// Where the kernel lists NUMA nodes (kernel Documentation/ABI/stable/sysfs-devices-node).
pub(crate) const NODES: &str = "/sys/devices/system/node";

/// The nodes of these processors, as the kernel lists them. `None` if these are all nodes, or if a testbed that may use so
/// many bytes would not fit into them: Linux takes memory from the nearest node by itself, and a test must not be ended
/// while another node has room. Without a limit for the testbed it never fits. `nodes` is [`NODES`].
pub(crate) fn near(processors: &ProcessorList, bytes: Option<u64>, nodes: &Path) -> Option<String> {
    let entries = nodes.read_dir().ok()?.flatten();
    let mut all: Vec<Node> = entries.filter_map(|entry| Node::read(&entry.path())).collect();
    all.sort_by_key(|node| node.number);
    let near: Vec<&Node> =
        all.iter().filter(|node| node.processors.as_ref().is_some_and(|list| list.overlaps(processors))).collect();
    let room: u64 = near.iter().map(|node| node.bytes).sum();
    let fits = bytes.is_some_and(|bytes| bytes <= room);
    let numbers: Vec<String> = near.iter().map(|node| node.number.to_string()).collect();
    (fits && near.len() < all.len()).then(|| numbers.join(","))
}

struct Node {
    number: u32,
    /// `None` if it has memory only.
    processors: Option<ProcessorList>,
    /// Its memory.
    bytes: u64,
}

impl Node {
    fn read(directory: &Path) -> Option<Self> {
        let number = directory.file_name()?.to_str()?.strip_prefix("node")?.parse().ok()?;
        let processors = std::fs::read_to_string(directory.join("cpulist")).ok()?.parse().ok();
        let text = std::fs::read_to_string(directory.join("meminfo")).ok()?;
        // `Node 0 MemTotal:       32768000 kB`
        let words = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let mut totals = words.filter(|words| words.get(2) == Some(&"MemTotal:"));
        let kib: u64 = totals.next()?.get(3)?.parse().ok()?;
        Some(Self { number, processors, bytes: kib.saturating_mul(1024) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_that_of_the_processors_nodes_if_it_is_enough() {
        let directory = tempfile::tempdir().unwrap();
        for (number, processors, mib) in [(0, "0-7,16-23", 4096), (1, "8-15,24-31", 4096), (2, "", 65536)] {
            let node = directory.path().join(format!("node{number}"));
            std::fs::create_dir(&node).unwrap();
            std::fs::write(node.join("cpulist"), format!("{processors}\n")).unwrap();
            let text = format!("Node {number} MemTotal:  {} kB\nNode {number} MemFree:  5 kB\n", mib << 10);
            std::fs::write(node.join("meminfo"), text).unwrap();
        }
        std::fs::write(directory.path().join("possible"), "0-2\n").unwrap();
        let tied =
            |list: &str, gib: Option<u64>| near(&list.parse().unwrap(), gib.map(|gib| gib << 30), directory.path());
        assert_eq!(tied("8-15,24-31", Some(4)).as_deref(), Some("1"));
        assert_eq!(tied("0-31", Some(8)).as_deref(), Some("0,1"));
        assert_eq!(tied("8-15", Some(5)), None, "more than the node has");
        assert_eq!(tied("8-15", None), None, "no limit");
        assert_eq!(near(&"0".parse().unwrap(), Some(1), Path::new("/nonexistent")), None);
    }
}
