//! The half MD4 hash by which directory indexes are sorted, in its variant for unsigned characters.

/// Hash of a name: index entries are sorted by `major`, then by `minor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NameHash {
    /// Value that the index compares. Its lowest bit is always 0: the index uses it for itself.
    pub(super) major: u32,
    /// Distinguishes names with the same `major`.
    pub(super) minor: u32,
}

/// The hash of a name, with the seed of the file system (`s_hash_seed`).
pub(super) fn half_md4(name: &[u8], seed: &[u8; 16]) -> NameHash {
    let mut state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    if seed.iter().any(|byte| *byte != 0) {
        for (word, bytes) in state.iter_mut().zip(seed.chunks_exact(4)) {
            *word = bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
        }
    }
    let mut rest = name;
    while !rest.is_empty() {
        transform(&mut state, &padded_words(rest));
        rest = rest.get(32..).unwrap_or_default();
    }
    // The largest value means "end of directory" and is never used for a name.
    let major = (state[1] & !1).min(0xffff_fffc);
    NameHash { major, minor: state[2] }
}

/// Up to 32 bytes as eight big-endian words, padded with the length of the rest of the name.
fn padded_words(rest: &[u8]) -> [u32; 8] {
    let length = rest.len() as u32;
    let pad = (length | length << 8) * 0x1_0001;
    let mut words = [pad; 8];
    for (word, bytes) in words.iter_mut().zip(rest.chunks(4)) {
        *word = bytes.iter().fold(pad, |word, byte| word << 8 | u32::from(*byte));
    }
    words
}

fn transform(state: &mut [u32; 4], words: &[u32; 8]) {
    type Mix = fn(u32, u32, u32) -> u32;
    // One row per round: mixing function, constant, order of the words, the four rotations.
    let rounds: [(Mix, u32, [usize; 8], [u32; 4]); 3] = [
        (|x, y, z| z ^ (x & (y ^ z)), 0, [0, 1, 2, 3, 4, 5, 6, 7], [3, 7, 11, 19]),
        (|x, y, z| (x & y).wrapping_add((x ^ y) & z), 0x5a82_7999, [1, 3, 5, 7, 0, 2, 4, 6], [3, 5, 9, 13]),
        (|x, y, z| x ^ y ^ z, 0x6ed9_eba1, [3, 7, 2, 6, 1, 5, 0, 4], [3, 9, 11, 15]),
    ];
    let [mut a, mut b, mut c, mut d] = *state;
    for (mix, constant, order, rotations) in rounds {
        for (step, word) in order.into_iter().enumerate() {
            let sum = a.wrapping_add(mix(b, c, d)).wrapping_add(words[word]).wrapping_add(constant);
            (a, b, c, d) = (d, sum.rotate_left(rotations[step % 4]), b, c);
        }
    }
    for (word, new) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(new);
    }
}
