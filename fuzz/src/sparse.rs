//! Disks and volumes that are mostly holes, written so that libFuzzer has only the rest to mutate.
//!
//! The format: the size in sectors of 512 bytes (four bytes, little-endian), then for each sector that is not zero its
//! number (four bytes) and its 512 bytes. The last one may be short; what lies behind the end is left out.

const SECTOR: usize = 512;

/// The bytes of a disk, at most `limit` of them.
#[must_use]
pub fn expand(data: &[u8], limit: usize) -> Option<Vec<u8>> {
    let (size, mut rest) = number(data)?;
    let size = size.checked_mul(SECTOR).filter(|size| *size <= limit)?;
    let mut disk = vec![0; size];
    while let Some((sector, more)) = number(rest) {
        let (bytes, more) = more.split_at(more.len().min(SECTOR));
        if let Some(place) = sector.checked_mul(SECTOR).and_then(|at| disk.get_mut(at..at.checked_add(bytes.len())?)) {
            place.copy_from_slice(bytes);
        }
        rest = more;
    }
    Some(disk)
}

/// The opposite of [`expand`]; what goes beyond the last whole sector is lost.
#[must_use]
pub fn pack(disk: &[u8]) -> Vec<u8> {
    let mut data = ((disk.len() / SECTOR) as u32).to_le_bytes().to_vec();
    for (sector, bytes) in disk.as_chunks::<SECTOR>().0.iter().enumerate() {
        if bytes.iter().any(|byte| *byte != 0) {
            data.extend((sector as u32).to_le_bytes());
            data.extend(bytes);
        }
    }
    data
}

fn number(data: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = data.split_first_chunk()?;
    Some((u32::from_le_bytes(*number) as usize, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_expands_to_the_same() {
        let mut disk = vec![0; 20 * SECTOR];
        disk[3 * SECTOR + 7] = 1;
        disk[20 * SECTOR - 1] = 2;
        let packed = pack(&disk);
        assert_eq!(packed.len(), 4 + 2 * 516);
        assert_eq!(expand(&packed, disk.len()), Some(disk.clone()));
        assert_eq!(expand(&packed, disk.len() - 1), None);
    }
}
