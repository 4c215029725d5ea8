//! Names of modules and aliases, in the normalized spelling that the indexes use.

/// Suffixes a module file may have after `.ko`, as the kernel's build system compresses them.
const COMPRESSED: [&str; 3] = [".xz", ".zst", ".gz"];

/// Normalizes a module name: `-` and `_` are equivalent for users, the kernel uses only `_`.
pub fn normalize_name(name: &str) -> String {
    name.replace('-', "_")
}

/// The normalized name of the module in a file: `kernel/drivers/usb/storage/usb-storage.ko.xz` holds `usb_storage`.
/// `None` if the path is not that of a module.
pub fn module_name(path: &str) -> Option<String> {
    let file = path.rsplit('/').next()?;
    let file = COMPRESSED.iter().find_map(|suffix| file.strip_suffix(suffix)).unwrap_or(file);
    let stem = file.strip_suffix(".ko")?;
    (!stem.is_empty()).then(|| normalize_name(stem))
}

/// Normalizes an alias as in `modules.alias`: `-` becomes `_` outside of `[...]`, where it means a range. Both
/// patterns and the strings to look up have to be normalized.
pub fn normalize_alias(alias: &str) -> String {
    let mut in_range = false;
    let normalize = |char| {
        match char {
            '[' => in_range = true,
            ']' => in_range = false,
            '-' if !in_range => return '_',
            _ => {}
        }
        char
    };
    alias.chars().map(normalize).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_paths() {
        let name = |path| module_name(path).unwrap_or_default();
        assert_eq!(name("kernel/drivers/usb/storage/usb-storage.ko.xz"), "usb_storage");
        assert_eq!(name("ext4.ko"), "ext4");
        assert_eq!(name("a/b.c.ko.zst"), "b.c");
        assert_eq!(module_name("kernel/README"), None);
        assert_eq!(module_name("kernel/.ko"), None);
    }

    #[test]
    fn dashes_in_ranges_stay() {
        assert_eq!(normalize_alias("of:N*T*Cfoo-bar[0-9]-x"), "of:N*T*Cfoo_bar[0-9]_x");
    }
}
