//! A small writer of tar archives for tests, which writes valid and invalid ones.

/// One tar entry, already encoded.
pub type Block = Vec<u8>;

/// A 512-byte ustar header and its content, padded.
pub fn entry(kind: u8, path: &str, mode: u32, link: &str, content: &[u8]) -> Block {
    owned_entry(kind, path, mode, (0, 0), link, content)
}

/// As [`entry`], with an owner and a group.
pub fn owned_entry(kind: u8, path: &str, mode: u32, (uid, gid): (u32, u32), link: &str, content: &[u8]) -> Block {
    let mut header = [0_u8; 512];
    header[..path.len().min(100)].copy_from_slice(&path.as_bytes()[..path.len().min(100)]);
    header[157..157 + link.len().min(100)].copy_from_slice(&link.as_bytes()[..link.len().min(100)]);
    let mut number = |at: usize, width: usize, value: u64| {
        header[at..at + width].copy_from_slice(format!("{value:0digits$o}\0", digits = width - 1).as_bytes());
    };
    number(100, 8, mode.into());
    number(108, 8, uid.into());
    number(116, 8, gid.into());
    number(124, 12, content.len() as u64);
    number(136, 12, 1_000_000_000);
    number(329, 8, 1);
    number(337, 8, 3);
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    seal(&mut header);
    let mut block = header.to_vec();
    block.extend_from_slice(content);
    block.resize(block.len().next_multiple_of(512), 0);
    block
}

/// Writes the checksum of a header.
pub fn seal(header: &mut [u8; 512]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// A PAX header for the entry after it.
pub fn pax(records: &[(&str, &[u8])]) -> Block {
    let mut content = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length += 1;
        }
        content.extend_from_slice(format!("{length} {key}=").as_bytes());
        content.extend_from_slice(value);
        content.push(b'\n');
    }
    entry(b'x', "PaxHeaders/x", 0o644, "", &content)
}

/// A directory.
pub fn directory(path: &str) -> Block {
    entry(b'5', path, 0o755, "", b"")
}

/// A regular file.
pub fn file(path: &str, content: &str) -> Block {
    entry(b'0', path, 0o644, "", content.as_bytes())
}

/// A shell script.
pub fn script(path: &str, body: &str) -> Block {
    entry(b'0', path, 0o755, "", format!("#!/bin/sh\nset -e\n{body}\n").as_bytes())
}

/// A symbolic link.
pub fn symlink(path: &str, target: &str) -> Block {
    entry(b'2', path, 0o777, target, b"")
}

/// A hard link to an earlier entry.
pub fn hard_link(path: &str, target: &str) -> Block {
    entry(b'1', path, 0o644, target, b"")
}

/// Joins blocks to a tar archive.
pub fn tar(blocks: &[Block]) -> Vec<u8> {
    let mut bytes = blocks.concat();
    bytes.extend_from_slice(&[0; 1024]);
    bytes
}
