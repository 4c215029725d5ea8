//! Host names: checks them, and derives one for a machine without any.

use crate::configuration::Mac;

/// Whether a name is a valid host name, including its domain (RFC 1123 section 2.1; 64 bytes are the kernel's limit).
pub(crate) fn is_valid(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 64 && name.split('.').all(label)
}

/// The first label, as `hostname` prints on a Debian system.
pub(crate) fn short(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// The default name of a machine: it stays the same as long as its network card does.
pub(crate) fn default(mac: Mac) -> String {
    let [_, _, _, a, b, c] = mac.0;
    format!("rocbed-{a:02x}{b:02x}{c:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["gpu7", "gpu7.example.org", "7", "a-b", "X"] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["", "-a", "a-", "a..b", ".", "a_b", "a b", "a\n", "ä", &"a".repeat(64)] {
            assert!(!is_valid(bad), "{bad}");
        }
        assert_eq!(short("gpu7.example.org"), "gpu7");
        assert_eq!(default(Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56])), "rocbed-123456");
    }
}
