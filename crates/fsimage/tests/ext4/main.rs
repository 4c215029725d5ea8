//! Tests of the ext4 writer and reader with e2fsprogs and the kernel.

mod devices;
mod oracle;
mod random;
mod reading;
mod shapes;
mod sizes;

use std::collections::BTreeMap;

use fsimage::ext4::Ext4Options;
use fsimage::{FileTree, Metadata, Node, NodeKind, Timestamp};

/// Default options of the tests.
fn options() -> Ext4Options {
    Ext4Options::new(*b"fsimage test 001", 1_700_000_000)
}

fn root() -> Metadata {
    Metadata::root(0o755, Timestamp { seconds: 1_600_000_000, nanoseconds: 123_456_789 })
}

fn file(bytes: impl Into<Vec<u8>>) -> Node {
    Node { kind: NodeKind::File(bytes.into().into()), metadata: Metadata { mode: 0o644, ..root() } }
}

fn node(kind: NodeKind) -> Node {
    Node { kind, metadata: root() }
}

fn with_xattrs(node: Node, xattrs: &[(&str, &[u8])]) -> Node {
    let xattrs: BTreeMap<_, _> =
        xattrs.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec())).collect();
    Node { metadata: Metadata { xattrs, ..node.metadata }, ..node }
}

/// A tree with one of every kind of node and attribute that is stored differently.
fn one_of_everything() -> FileTree {
    let mut tree = FileTree::new(root());
    tree.insert("dir", node(NodeKind::Directory)).unwrap();
    tree.insert("dir/empty", file("")).unwrap();
    tree.insert("dir/small", file("small")).unwrap();
    tree.insert("dir/block", file(vec![1; 4096])).unwrap();
    tree.insert("dir/more", file(vec![2; 300_001])).unwrap();
    tree.insert("dir/\u{e9}t\u{e9}\n", file("UTF-8 and a newline")).unwrap();
    tree.insert([b"dir/".as_slice(), &[0xff; 255]].concat(), file("no UTF-8")).unwrap();
    for length in [1, 59, 60, 61, 4095] {
        tree.insert(format!("link{length}"), node(NodeKind::Symlink(vec![b'x'; length]))).unwrap();
    }
    for (major, minor) in [(0, 0), (1, 3), (8, 300), (300, 1), (4095, 0xf_ffff)] {
        tree.insert(format!("char{major}"), node(NodeKind::CharDevice { major, minor })).unwrap();
        tree.insert(format!("block{major}"), node(NodeKind::BlockDevice { major, minor })).unwrap();
    }
    tree.insert("fifo", node(NodeKind::Fifo)).unwrap();
    tree.insert("socket", node(NodeKind::Socket)).unwrap();
    let id = tree.id("dir/small").unwrap();
    for name in ["a-hard-link", "dir/z-hard-link"] {
        tree.link(name, id).unwrap();
    }
    let mut odd = file("setuid, high ids, before 1970");
    odd.metadata.mode = 0o6755;
    (odd.metadata.uid, odd.metadata.gid) = (70_000, u32::MAX - 1);
    odd.metadata.mtime = Timestamp { seconds: -1, nanoseconds: 999_999_999 };
    tree.insert("odd", odd).unwrap();
    let mut future = file("the last second");
    future.metadata.mtime = Timestamp::from_seconds(0x3_7fff_ffff);
    tree.insert("future", future).unwrap();
    tree.insert("capable", with_xattrs(file("x"), &[("security.capability", CAPABILITY)])).unwrap();
    let large = vec![0xaa; 3000];
    let both = [("user.a", &b"1"[..]), ("user.large", &large), ("trusted.b", b""), ("system.posix_acl_access", ACL)];
    tree.insert("attributes", with_xattrs(file("x"), &both)).unwrap();
    let default = [("system.posix_acl_default", ACL)];
    tree.insert("shared", with_xattrs(node(NodeKind::Directory), &default)).unwrap();
    tree
}

/// `cap_net_raw=ep` as `struct vfs_cap_data`.
const CAPABILITY: &[u8] = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// `u::rw- u:1000:r-- g::r-- m::r-- o::---`.
const ACL: &[u8] = b"\x02\0\0\0\
\x01\0\x06\0\xff\xff\xff\xff\x02\0\x04\0\xe8\x03\0\0\x04\0\x04\0\xff\xff\xff\xff\
\x10\0\x04\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff";
