//! Groups of what differs between two images, for a search over images that are built for it.

use std::collections::{BTreeMap, BTreeSet};

use protocol::PackageList;

use super::{Changed, Group, Need, changes, is_of_the_boot, sources};

/// Groups what differs between the packages of two images: first what takes effect in testbeds too, as one group that
/// [`super::group`] can divide, then the kernel, then each source of firmware or microcode. A package that is only in one of
/// the images, because the kernel or a firmware needs it there, is of their group. So each can be had without the others.
/// `needs` gives the dependencies of a version of a package, as far as they are known.
pub fn image_groups(good: &PackageList, bad: &PackageList, needs: &dyn Fn(&str, &str) -> Vec<Need>) -> Vec<Group> {
    let changed = changes(good, bad);
    let mut parts: Vec<ImagePart> = changed.iter().map(ImagePart::of).collect();
    let is_only = |end: bool| {
        let only = move |changed: &&Changed| changed.package.version(end).is_some() && !changed.package.is_in_both();
        changed.iter().enumerate().filter(move |(_, one)| only(one)).map(|(at, one)| (one.package.name.as_str(), at))
    };
    let places = changed.iter().enumerate().map(|(at, one)| (one.package.name.as_str(), at)).collect();
    for (list, end) in [(good, false), (bad, true)] {
        let users = users(list, &is_only(end).map(|(name, _)| name).collect(), needs);
        follow(&is_only(end).collect(), &places, &users, &mut parts);
    }
    let mut found: BTreeMap<ImagePart, Vec<Changed>> = BTreeMap::new();
    for (changed, part) in changed.into_iter().zip(parts) {
        found.entry(part).or_default().push(changed);
    }
    let group = |changes: Vec<Changed>| Group {
        sources: sources(changes.iter()),
        packages: changes.into_iter().map(|changed| changed.package).collect(),
    };
    found.into_values().map(group).collect()
}

/// Who needs each of these packages in a list, by name.
fn users<'a>(
    list: &'a PackageList,
    used: &BTreeSet<&'a str>,
    needs: &dyn Fn(&str, &str) -> Vec<Need>,
) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    if used.is_empty() {
        return found;
    }
    for package in list.packages() {
        for need in needs(&package.name, &package.version) {
            if let Some(used) = used.get(need.name.as_str()).filter(|used| **used != package.name) {
                found.entry(used).or_default().insert(&package.name);
            }
        }
    }
    found
}

/// Gives packages that are only in one of the images to the kernel or the firmware that alone needs them. `only` are their
/// places in `parts`, and `places` those of all that differ. Packages that need each other in a circle stay where they are.
fn follow(
    only: &BTreeMap<&str, usize>,
    places: &BTreeMap<&str, usize>,
    users: &BTreeMap<&str, BTreeSet<&str>>,
    parts: &mut [ImagePart],
) {
    loop {
        let mut moved = false;
        for (name, at) in only {
            let of_users: BTreeSet<Option<&ImagePart>> = users
                .get(name)
                .into_iter()
                .flatten()
                // One that is the same in both images would need it in both.
                .map(|user| places.get(user).and_then(|at| parts.get(*at)))
                .collect();
            let part = match of_users.first() {
                Some(Some(part)) if of_users.len() == 1 && **part != ImagePart::Other => (*part).clone(),
                _ => continue,
            };
            if let Some(own) = parts.get_mut(*at).filter(|own| **own == ImagePart::Other) {
                *own = part;
                moved = true;
            }
        }
        if !moved {
            return;
        }
    }
}

/// What a package is in an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum ImagePart {
    /// Anything else.
    Other,
    /// The kernel and its modules, which are of one version.
    Kernel,
    /// Firmware or microcode of this source.
    Firmware(String),
}

impl ImagePart {
    fn of(changed: &Changed) -> Self {
        let name = &changed.package.name;
        let is_of_kernel =
            |source: &protocol::SourceChange| source.source == "linux" || source.source.starts_with("linux-signed-");
        match (is_of_the_boot(name), changed.sources.first()) {
            // Others of these sources need the kernel's packages in one version: linux-base-7.2.13+deb14-amd64.
            (_, Some(source)) if is_of_kernel(source) => Self::Kernel,
            (true, _) if name.starts_with("linux-") => Self::Kernel,
            (true, source) => Self::Firmware(source.map(|source| source.source.clone()).unwrap_or_default()),
            (false, _) => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::InstalledPackage;

    fn list(packages: &[(&str, &str, &str)]) -> PackageList {
        let package = |(name, version, source): &(&str, &str, &str)| InstalledPackage {
            name: (*name).to_owned(),
            architecture: "amd64".to_owned(),
            version: (*version).to_owned(),
            source: (*source).to_owned(),
            source_version: (*version).to_owned(),
        };
        packages.iter().map(package).collect()
    }

    #[test]
    fn what_only_a_kernel_needs_comes_and_goes_with_it() {
        let good = list(&[
            ("linux-binary-7.2", "7.2", "linux-signed-amd64"),
            ("linux-modules-7.2", "7.2", "linux-signed-amd64"),
            ("kmod", "34", "kmod"),
            ("libold", "1", "old"),
        ]);
        let bad = list(&[
            ("linux-image-6.12", "6.12", "linux-signed-amd64"),
            ("kmod", "34", "kmod"),
            ("tiny-initramfs", "1", "tiny-initramfs"),
            ("tiny-initramfs-core", "1", "tiny-initramfs"),
            ("cpio", "2", "cpio"),
            ("libnew", "1", "new"),
            ("tool", "1", "tool"),
            ("liblone", "1", "lone"),
        ]);
        let needs = |name: &str, _: &str| -> Vec<Need> {
            let names: &[&str] = match name {
                "linux-image-6.12" => &["kmod", "tiny-initramfs", "libnew"],
                "tiny-initramfs" => &["tiny-initramfs-core"],
                "tiny-initramfs-core" => &["cpio"],
                "tool" => &["libnew"],
                _ => &[],
            };
            names.iter().map(|name| Need { name: (*name).to_owned(), exactly: None }).collect()
        };
        let told = |needs: &dyn Fn(&str, &str) -> Vec<Need>| -> Vec<Vec<String>> {
            let groups = image_groups(&good, &bad, needs);
            groups.into_iter().map(|group| group.packages.into_iter().map(|package| package.name).collect()).collect()
        };
        assert_eq!(
            told(&needs),
            [
                vec!["liblone", "libnew", "libold", "tool"],
                vec![
                    "cpio",
                    "linux-binary-7.2",
                    "linux-image-6.12",
                    "linux-modules-7.2",
                    "tiny-initramfs",
                    "tiny-initramfs-core"
                ]
            ]
        );
        assert_eq!(told(&|_, _| Vec::new())[1], ["linux-binary-7.2", "linux-image-6.12", "linux-modules-7.2"]);
    }

    #[test]
    fn what_a_new_version_of_firmware_needs_comes_with_it() {
        let good = list(&[("firmware-amd", "1", "firmware-nonfree"), ("libc6", "1", "glibc")]);
        let bad =
            list(&[("firmware-amd", "2", "firmware-nonfree"), ("amd-data", "1", "data"), ("libc6", "2", "glibc")]);
        let needs = |name: &str, version: &str| match (name, version) {
            ("firmware-amd", "2") => vec![Need { name: "amd-data".to_owned(), exactly: None }],
            _ => Vec::new(),
        };
        let groups = image_groups(&good, &bad, &needs);
        let words: Vec<String> = groups.iter().map(Group::words).collect();
        assert_eq!(words, ["glibc 1 -> 2", "data none -> 1, firmware-nonfree 1 -> 2"]);
    }
}
