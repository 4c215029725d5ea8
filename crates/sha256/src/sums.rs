//! `SHA256SUMS` files, in the format of sha256sum(1).

use crate::Digest;

/// Parses lines with a digest, a blank, a blank or `*`, and a name. Other lines are ignored.
pub fn parse(text: &str) -> impl Iterator<Item = (Digest, &str)> {
    text.lines().filter_map(|line| {
        let (digest, name) = line.split_once(' ')?;
        Some((digest.parse().ok()?, name.trim_start_matches([' ', '*'])))
    })
}

/// The digest of the file with this name.
pub fn find(text: &str, name: &str) -> Option<Digest> {
    parse(text).find(|(_, listed)| *listed == name).map(|(digest, _)| digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_modes_are_read_and_other_lines_ignored() {
        let (a, b) = (Digest::of("a"), Digest::of("b"));
        let text = format!("# made by hand\n{a}  disk.img\n{b} *disk.img.zst\nabc  vmlinuz\n{a}\n");
        assert_eq!(parse(&text).collect::<Vec<_>>(), [(a, "disk.img"), (b, "disk.img.zst")]);
        assert_eq!(find(&text, "disk.img.zst"), Some(b));
        assert_eq!(find(&text, "vmlinuz"), None);
    }
}
