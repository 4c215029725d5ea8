//! Reads the machine's memory sizes from /proc/meminfo (`proc_meminfo(5)`).

/// `MemTotal` in MiB, 0 if it is missing.
pub fn total_mib(meminfo: &str) -> u64 {
    kibibytes(meminfo, "MemTotal").unwrap_or_default() >> 10
}

/// Memory that is not available to programs (`MemTotal` minus `MemAvailable`), in MiB: data that exists only in
/// memory, such as a root from the network, and not data that could be read from a disk again.
pub fn in_use_mib(meminfo: &str) -> Option<u64> {
    let used = kibibytes(meminfo, "MemTotal")?.saturating_sub(kibibytes(meminfo, "MemAvailable")?);
    Some(used >> 10)
}

fn kibibytes(meminfo: &str, name: &str) -> Option<u64> {
    let value = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_meminfo() {
        let text = "MemTotal:        2048000 kB\nMemFree: 1 kB\nMemAvailable: 1024000 kB\n";
        assert_eq!((total_mib(text), in_use_mib(text)), (2000, Some(1000)));
        assert_eq!((total_mib("nonsense"), in_use_mib("nonsense")), (0, None));
    }
}
