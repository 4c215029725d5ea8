//! Random trees, checked by e2fsck, the kernel and our own reader.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use fsimage::ext4::{Ext4Options, Inodes, Journal, Size};
use fsimage::{Content, FileTree, Metadata, Node, NodeKind, Timestamp};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::oracle::Image;
use crate::{ACL, CAPABILITY, options};

/// A random node that is not in a directory yet.
#[derive(Debug, Clone)]
struct Seedling {
    parent: Index,
    name: Vec<u8>,
    kind: Kind,
    metadata: Metadata,
    /// Becomes a hard link to an earlier node, if possible.
    link: Option<Index>,
}

#[derive(Debug, Clone)]
enum Kind {
    Ready(NodeKind),
    /// Pieces of data at offsets in a file on the host, and its length.
    Sparse(Vec<(u32, u8, u16)>, u32),
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[a-z]{1,12}".prop_map(String::into_bytes),
        2 => vec(any::<u8>().prop_map(|byte| if byte == 0 || byte == b'/' { b'_' } else { byte }), 1..=255),
        1 => "\\PC{1,60}".prop_map(|text| text.replace('/', "_").into_bytes()),
    ]
    .prop_filter("no dots", |name| name != b"." && name != b"..")
}

fn kind() -> impl Strategy<Value = Kind> {
    let device = (0..4096u32, 0..0x10_0000u32);
    let run = (any::<u8>(), 0..30_000usize);
    prop_oneof![
        6 => Just(NodeKind::Directory).prop_map(Kind::Ready),
        8 => vec(run, 0..3).prop_map(|runs| {
            let bytes: Vec<u8> = runs.into_iter().flat_map(|(byte, count)| std::iter::repeat_n(byte % 4, count)).collect();
            Kind::Ready(NodeKind::File(bytes.into()))
        }),
        3 => (vec((0..4_000_000u32, any::<u8>(), any::<u16>()), 0..8), 0..5_000_000u32)
            .prop_map(|(pieces, length)| Kind::Sparse(pieces, length)),
        4 => prop_oneof![1..=100usize, 1..=4095usize]
            .prop_map(|length| Kind::Ready(NodeKind::Symlink(vec![b'l'; length]))),
        1 => device.clone().prop_map(|(major, minor)| Kind::Ready(NodeKind::CharDevice { major, minor })),
        1 => device.prop_map(|(major, minor)| Kind::Ready(NodeKind::BlockDevice { major, minor })),
        1 => Just(Kind::Ready(NodeKind::Fifo)),
        1 => Just(Kind::Ready(NodeKind::Socket)),
    ]
}

fn metadata() -> impl Strategy<Value = Metadata> {
    // Names that the kernel shows for every type of file.
    let own = btree_map("trusted\\.[a-z.]{1,40}|security\\.rocbed[a-z]{0,9}", vec(any::<u8>(), 0..200), 0..5);
    let xattrs = (own, prop::option::weighted(0.1, Just(CAPABILITY)));
    let time = (-0x8000_0000..=0x3_7fff_ffffi64, 0..1_000_000_000u32);
    (0..=0o7777u16, any::<u32>(), any::<u32>(), time, xattrs).prop_map(|(mode, uid, gid, time, (own, capability))| {
        let mut xattrs: std::collections::BTreeMap<_, _> =
            own.into_iter().map(|(name, value)| (name.into_bytes(), value)).collect();
        xattrs.extend(capability.map(|value| (b"security.capability".to_vec(), value.to_vec())));
        let mtime = Timestamp { seconds: time.0, nanoseconds: time.1 };
        // -1 stands for "no owner" in the kernel.
        Metadata { mode, uid: uid.min(u32::MAX - 1), gid: gid.min(u32::MAX - 1), mtime, xattrs }
    })
}

fn seedling() -> impl Strategy<Value = Seedling> {
    (any::<Index>(), name(), kind(), metadata(), prop::option::weighted(0.1, any::<Index>()))
        .prop_map(|(parent, name, kind, metadata, link)| Seedling { parent, name, kind, metadata, link })
}

/// Adds the nodes where they are valid; others are left out.
fn grow(seedlings: &[Seedling], host: &Path) -> FileTree {
    let mut tree = FileTree::new(Metadata::root(0o755, Timestamp::from_seconds(1)));
    let mut directories = vec![Vec::new()];
    let mut others = Vec::new();
    for (number, seedling) in seedlings.iter().enumerate() {
        let mut path: Vec<u8> = seedling.parent.get(&directories).clone();
        if path.len() > 2000 {
            continue;
        }
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend(&seedling.name);
        if tree.get(&path).is_some() {
            continue;
        }
        if let (Some(link), false) = (seedling.link, others.is_empty()) {
            tree.link(&path, *link.get(&others)).unwrap();
            continue;
        }
        let mut metadata = seedling.metadata.clone();
        let kind = match &seedling.kind {
            Kind::Ready(kind) => kind.clone(),
            Kind::Sparse(pieces, length) => NodeKind::File(sparse(&host.join(number.to_string()), pieces, *length)),
        };
        if let NodeKind::File(_) | NodeKind::Directory = kind {
            metadata.xattrs.insert(b"user.number".to_vec(), number.to_string().into_bytes());
            if number % 5 == 0 {
                metadata.xattrs.insert(b"system.posix_acl_access".to_vec(), ACL.to_vec());
            }
        }
        let directory = kind == NodeKind::Directory;
        let id = tree.insert(&path, Node { kind, metadata }).unwrap();
        if directory { directories.push(path) } else { others.push(id) }
    }
    tree
}

fn sparse(path: &Path, pieces: &[(u32, u8, u16)], length: u32) -> Content {
    let file = File::create_new(path).unwrap();
    for (at, byte, count) in pieces {
        file.write_all_at(&vec![*byte; usize::from(*count)], u64::from(*at)).unwrap();
    }
    file.set_len(u64::from(length)).unwrap();
    Content::HostFile { path: path.to_owned(), length: u64::from(length) }
}

fn check(seedlings: &[Seedling], options: &Ext4Options) {
    let host = tempfile::tempdir().unwrap();
    let tree = grow(seedlings, host.path());
    let image = Image::of(&tree, options);
    image.check().check_mounted(&tree).check_read(&tree);
    let other_host = tempfile::tempdir().unwrap();
    let again = Image::of(&grow(seedlings, other_host.path()), options);
    assert!(image.bytes() == again.bytes(), "two runs differ");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn small_trees(
        seedlings in vec(seedling(), 0..60),
        journal: bool,
        seed: [u8; 16],
        reserve in 0..10_000_000u64,
        spare_inodes in 0..100_000u32,
    ) {
        let size = Size::ExactFit { reserve };
        let inodes = Inodes::AtLeast(spare_inodes);
        let journal = if journal { Journal::Auto } else { Journal::None };
        check(&seedlings, &Ext4Options { journal, hash_seed: seed, size, inodes, ..options() });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn trees_of_thousands(seedlings in vec(seedling(), 2000..3000)) {
        check(&seedlings, &options());
    }
}
