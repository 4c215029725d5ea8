/// At most five names out of `known` that someone who wrote `wanted` may have meant, best first: few typing mistakes,
/// then names that contain it. The order depends on the names alone.
pub(super) fn nearest<'a>(wanted: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let limit = (wanted.len() / 4).clamp(1, 3);
    let mut found: Vec<(usize, usize, &str)> = known
        .filter(|name| *name != wanted)
        .filter_map(|name| {
            let difference = name.len().abs_diff(wanted.len());
            if difference <= limit {
                let distance = edit_distance(wanted.as_bytes(), name.as_bytes());
                if distance <= limit {
                    return Some((distance, difference, name));
                }
            }
            (wanted.len() >= 3 && name.contains(wanted)).then_some((limit + 1, difference, name))
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found.into_iter().map(|(_, _, name)| name).take(5).collect()
}

/// Levenshtein's distance; two neighbouring letters swapped count as one mistake.
fn edit_distance(a: &[u8], b: &[u8]) -> usize {
    let width = b.len() + 1;
    let mut before: Vec<usize> = vec![0; width];
    let mut last: Vec<usize> = (0..width).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(width);
        row.push(i + 1);
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX / 2);
            let mut best = (at(&last, j) + usize::from(x != y)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            if i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x) {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_come_before_longer_names() {
        let known = ["rocminfo", "rocm-smi", "librocm-smi-dev", "rocm-cmake", "zsh"];
        assert_eq!(nearest("rocmifno", known.into_iter()), ["rocminfo"]);
        assert_eq!(nearest("rocm-sim", known.into_iter()), ["rocm-smi"]);
        assert_eq!(nearest("rocm-", known.into_iter()), ["rocm-smi", "rocm-cmake", "librocm-smi-dev"]);
        assert!(nearest("xyzzy", known.into_iter()).is_empty());
    }

    #[test]
    fn distance() {
        assert_eq!(edit_distance(b"kitten", b"sitting"), 3);
        assert_eq!(edit_distance(b"ab", b"ba"), 1);
        assert_eq!(edit_distance(b"", b"abc"), 3);
    }
}
