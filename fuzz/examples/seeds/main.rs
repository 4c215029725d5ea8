//! Makes the binary seeds: `cargo run --example seeds --no-default-features`, in this directory.
//!
//! The texts among the seeds are written by hand. Everything here comes out the same each time, but for the signature
//! and its key.

mod runs;
mod wire;

use std::error::Error;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use diskimage::gpt::{Attributes, Partition, types};
use diskimage::{Guid, SectorSize, fat, gpt};
use fsimage::{Content, FileTree, Metadata, Node, NodeKind, Timestamp, cpio, ext4};
use object::write::{Object, Symbol, SymbolSection};
use object::{Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope};
use progress::Silent;
use rocbed_fuzz::pack_sparse;
use sequoia_openpgp::cert::{CertBuilder, CipherSuite};
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::serialize::SerializeInto;
use sequoia_openpgp::serialize::stream::{Message, Signer};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

const CONTROL: &[u8] = b"Package: demo\nVersion: 1.0-1\nArchitecture: all\nDescription: demo\n";
const TIME: Timestamp = Timestamp::from_seconds(1_793_347_681);

fn main() -> Result {
    debs()?;
    trees()?;
    disks()?;
    put("uki/stub", &stub())?;
    put("uki/kernel", &kernel())?;
    put("modinfo/elf", &module()?)?;
    put("modinfo/section", &MODINFO.join(&0))?;
    runs::seeds()?;
    wire::seeds()?;
    signature()
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn put(name: &str, bytes: &[u8]) -> Result {
    let path = here().join("seeds").join(name);
    fs::create_dir_all(path.parent().ok_or("no parent")?)?;
    Ok(fs::write(path, bytes)?)
}

/// One file of a tar archive in the ustar format.
fn member(name: &str, kind: u8, target: &str, content: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 512];
    let mut field = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    field(0, name);
    field(100, "0000755");
    field(108, "0000000");
    field(116, "0000000");
    field(124, &format!("{:011o}", content.len()));
    field(136, "15271374441");
    field(148, "        ");
    field(157, target);
    field(257, "ustar\u{0}00");
    header[156] = kind;
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header.extend(content);
    header.resize(header.len().next_multiple_of(512), 0);
    header
}

/// One record of a PAX header, which begins with its own length.
fn record(text: &[u8]) -> Vec<u8> {
    let mut length = text.len() + 3;
    while length.to_string().len() + text.len() + 2 != length {
        length += 1;
    }
    [length.to_string().as_bytes(), b" ", text, b"\n"].concat()
}

fn debs() -> Result {
    let control = [
        member("./", b'5', "", b""),
        member("./control", b'0', "", CONTROL),
        member("./conffiles", b'0', "", b"/etc/demo\nremove-on-upgrade /etc/old\n"),
        vec![0; 1024],
    ]
    .concat();
    let pax = [
        record(b"mtime=1793347681.123456789"),
        record(b"SCHILY.xattr.security.capability=\x01\0\0\x02\0 \0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
    ]
    .concat();
    let data = [
        member("./", b'5', "", b""),
        member("././@LongLink", b'L', "", &[b"./".as_slice(), &[b'n'; 200], b"\0"].concat()),
        member("./nnn", b'0', "", b"content"),
        member("./pax", b'x', "", &pax),
        member("./file", b'0', "", b"content\n"),
        member("./hard", b'1', "./file", b""),
        member("./soft", b'2', "file", b""),
        member("./null", b'3', "", b""),
        vec![0; 1024],
    ]
    .concat();
    put("tar/all-kinds", &data)?;
    put("tar/control", &control)?;
    put("deb/plain.deb", &ar(&[("debian-binary", b"2.0\n"), ("control.tar", &control), ("data.tar", &data)]))?;
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gz.write_all(&control)?;
    let mut xz = Vec::new();
    liblzma::read::XzEncoder::new(data.as_slice(), 6).read_to_end(&mut xz)?;
    let zst = zstd::encode_all(data.as_slice(), 3)?;
    let gz = gz.finish()?;
    put("deb/xz.deb", &ar(&[("debian-binary", b"2.0\n"), ("control.tar.gz", &gz), ("data.tar.xz", &xz)]))?;
    put(
        "deb/zst.deb",
        &ar(&[("debian-binary", b"2.0\n"), ("_extra", b"x"), ("control.tar.gz", &gz), ("data.tar.zst", &zst)]),
    )
}

/// An ar archive.
fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = b"!<arch>\n".to_vec();
    for (name, bytes) in members {
        archive.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, bytes.len()).bytes());
        archive.extend(*bytes);
        archive.extend(vec![b'\n'; bytes.len() % 2]);
    }
    archive
}

/// One of everything; with `all`, also what FAT cannot hold.
fn tree(all: bool) -> Result<FileTree> {
    let metadata = |mode| Metadata::root(mode, TIME);
    let mut tree = FileTree::new(metadata(0o755));
    let mut add = |path: &str, kind, mode| tree.insert(path, Node { kind, metadata: metadata(mode) });
    add("EFI", NodeKind::Directory, 0o755)?;
    add("EFI/A rather long name.txt", NodeKind::File(Content::Bytes(b"content".as_slice().into())), 0o644)?;
    add("EFI/SHORT.TXT", NodeKind::File(Content::Bytes(vec![b'x'; 1500].into())), 0o644)?;
    if all {
        add("soft", NodeKind::Symlink(b"EFI/SHORT.TXT".to_vec()), 0o777)?;
        add("far", NodeKind::Symlink(vec![b'f'; 100]), 0o777)?;
        add("null", NodeKind::CharDevice { major: 1, minor: 3 }, 0o666)?;
        add("disk", NodeKind::BlockDevice { major: 259, minor: 65_537 }, 0o660)?;
        add("pipe", NodeKind::Fifo, 0o600)?;
        let id = add("file", NodeKind::File(Content::Bytes(b"two names".as_slice().into())), 0o4755)?;
        tree.link("EFI/other", id)?;
        let file = tree.get_mut("file").ok_or("no file")?;
        file.metadata
            .xattrs
            .insert(b"security.capability".to_vec(), vec![1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        file.metadata.xattrs.insert(b"user.long".to_vec(), vec![7; 300]);
    }
    Ok(tree)
}

fn trees() -> Result {
    let mut archive = Vec::new();
    cpio::write(&tree(true)?, &mut archive)?;
    put("cpio/one", &archive)?;
    archive.truncate(archive.iter().rposition(|byte| *byte != 0).map_or(0, |last| (last + 2).next_multiple_of(4)));
    archive.extend_from_within(..);
    put("cpio/two-and-more", &[archive, b"\x28\xb5\x2f\xfd".to_vec()].concat())?;

    let image = tempfile::tempfile()?;
    ext4::write(&tree(true)?, &image, 0, &ext4::Ext4Options::new([3; 16], 1_793_347_681), &Silent)?;
    put("ext4/ours", &pack_sparse(&bytes(&image)?))?;
    put("superblock/ext4", bytes(&image)?.get(..2048).unwrap_or_default())?;
    let mut erofs = vec![0; 2048];
    erofs[1024..1028].copy_from_slice(&0xe0f5_e1e2_u32.to_le_bytes());
    erofs[1024 + 48..1024 + 80].fill(b'u');
    put("superblock/erofs", &erofs)?;
    put("superblock/squashfs", b"hsqs")
}

fn bytes(image: &File) -> Result<Vec<u8>> {
    use std::io::{Seek, SeekFrom};
    let mut image = image;
    image.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    image.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn disks() -> Result {
    let image = tempfile::tempfile()?;
    let (tree, sector_size) = (tree(false)?, SectorSize::Bytes512);
    let size = fat::required_size(&tree, sector_size)?;
    let options = fat::FatOptions { size, sector_size, volume_id: 7, label: Some("SEED".into()), timestamp: TIME };
    fat::write(&tree, &image, 0, &options, &Silent)?;
    put("fat/small", &pack_sparse(&bytes(&image)?))?;

    for (name, sector_size) in [("gpt/512", SectorSize::Bytes512), ("gpt/4096", SectorSize::Bytes4096)] {
        let disk = tempfile::tempfile()?;
        disk.set_len(3 << 20)?;
        let partition = |number: u8, type_guid, start| Partition {
            type_guid,
            unique_guid: Guid::from_bytes([number; 16]),
            name: format!("part {number}"),
            start,
            size: 512 << 10,
            attributes: Attributes::READ_ONLY,
        };
        let partitions = [partition(1, types::ESP, 1 << 20), partition(2, types::ROOT_X86_64, 3 << 19)];
        gpt::write(&disk, Guid::from_bytes([9; 16]), sector_size, &partitions)?;
        put(name, &pack_sparse(&bytes(&disk)?))?;
        let map = diskimage::blockmap::BlockMap::of(&disk, &Silent)?;
        put("blockmap/disk.bmap", map.to_xml().as_bytes())?;
    }
    Ok(())
}

/// An EFI program with one section and room for three more.
fn stub() -> Vec<u8> {
    let mut stub = vec![0; 1024 + 512];
    let mut field = |at: usize, bytes: &[u8]| stub[at..at + bytes.len()].copy_from_slice(bytes);
    field(0, b"MZ");
    field(0x3c, &0x40_u32.to_le_bytes());
    field(0x40, b"PE\0\0\x64\x86\x01\0");
    field(0x44 + 16, &[240, 0, 0x2e, 2]);
    let optional = 0x58;
    field(optional, &0x20b_u16.to_le_bytes());
    field(optional + 24, &0x1_4000_0000_u64.to_le_bytes());
    field(optional + 32, &4096_u32.to_le_bytes());
    field(optional + 36, &512_u32.to_le_bytes());
    field(optional + 56, &0x2000_u32.to_le_bytes());
    field(optional + 60, &1024_u32.to_le_bytes());
    field(optional + 68, &10_u16.to_le_bytes());
    field(optional + 108, &16_u32.to_le_bytes());
    let section = optional + 240;
    field(section, b".sbat");
    field(section + 8, &[100, 0, 0, 0, 0, 0x10, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0]);
    field(section + 36, &0x4000_0040_u32.to_le_bytes());
    field(1024, b"sbat,1,SBAT Version,sbat,1,url\n");
    stub
}

/// The start of a bzImage.
fn kernel() -> Vec<u8> {
    let mut kernel = stub();
    kernel.resize(0x600, 0);
    kernel[0x1f1] = 3;
    kernel[0x202..0x208].copy_from_slice(b"HdrS\x0f\x02");
    kernel[0x20e..0x210].copy_from_slice(&0x300_u16.to_le_bytes());
    kernel[0x238..0x23c].copy_from_slice(&2047_u32.to_le_bytes());
    kernel[0x500..0x512].copy_from_slice(b"7.2.13-amd64 (x) #");
    kernel
}

const MODINFO: [&[u8]; 8] = [
    b"license=GPL",
    b"alias=pci:v00001002d*sv*sd*bc03sc*i*",
    b"depends=drm,ttm",
    b"softdep=pre: video platform:x post: y",
    b"firmware=amdgpu/x.bin",
    b"name=amdgpu",
    b"vermagic=7.2 SMP",
    b"",
];

/// A kernel module with a symbol of its own.
fn module() -> Result<Vec<u8>> {
    let mut object = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
    let section = object.add_section(Vec::new(), b".modinfo".to_vec(), SectionKind::ReadOnlyData);
    object.append_section_data(section, &MODINFO.join(&0), 1);
    object.add_symbol(Symbol {
        name: b"__ksymtab_amdgpu_x".to_vec(),
        value: 0,
        size: 0,
        kind: SymbolKind::Data,
        scope: SymbolScope::Dynamic,
        weak: false,
        section: SymbolSection::Section(section),
        flags: SymbolFlags::None,
    });
    Ok(object.write()?)
}

/// A signed Release file, its text alone, and the key. A new key each time: nobody has to keep the secret half.
fn signature() -> Result {
    let text = "Origin: Debian\nSuite: unstable\nCodename: sid\nDate: Fri, 30 Oct 2026 08:08:01 UTC\n\
        Valid-Until: Fri, 06 Nov 2026 08:08:01 UTC\nAcquire-By-Hash: yes\nArchitectures: all amd64\nComponents: main\n\
        SHA256:\n 0000000000000000000000000000000000000000000000000000000000000001 10 main/binary-amd64/Packages.xz\n";
    let signed_at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_793_261_281);
    let (cert, _) = CertBuilder::new()
        .add_userid("Seeds <seeds@example.org>")
        .set_cipher_suite(CipherSuite::Cv25519)
        .set_creation_time(signed_at - Duration::from_secs(1_000_000))
        .add_signing_subkey()
        .generate()?;
    let policy = StandardPolicy::at(signed_at);
    let key = cert.keys().secret().with_policy(&policy, signed_at).for_signing().next().ok_or("no key")?;
    let mut release = Vec::new();
    let message = Message::new(&mut release);
    let mut signer =
        Signer::new(message, key.key().clone().into_keypair()?)?.creation_time(signed_at).cleartext().build()?;
    signer.write_all(text.as_bytes())?;
    signer.finalize()?;
    put("release/InRelease", &release)?;
    put("release/Release", text.as_bytes())?;
    fs::write(here().join("seeds-release"), text)?;
    Ok(fs::write(here().join("seeds-keyring.pgp"), cert.to_vec()?)?)
}
