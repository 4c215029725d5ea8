//! Groups of what differs between two images, for a search over images that are built for it.

use std::collections::{BTreeMap, BTreeSet};

use protocol::PackageList;

use super::{Changed, Group, Need, Sets, changes, is_of_the_boot, relations, sorted};

/// Groups what differs between the packages of two images: what takes effect in testbeds too, as one group that
/// [`super::group`] can divide, the kernel, and each source of firmware or microcode. They are in this order, but each comes
/// after those that it needs, so that it can be had without the others.
///
/// With the kernel or a firmware goes what cannot be had apart: the other packages of its source, packages that one of them
/// needs in an exact version, and packages that are only in one of the images, because nothing else needs them there.
/// `needs` gives the dependencies of a version of a package, as far as they are known.
pub fn image_groups(good: &PackageList, bad: &PackageList, needs: &dyn Fn(&str, &str) -> Vec<Need>) -> Vec<Group> {
    let changed = changes(good, bad);
    let mut parts: Vec<ImagePart> = changed.iter().map(ImagePart::of).collect();
    let is_only = |end: bool| {
        let only = move |changed: &&Changed| changed.package.version(end).is_some() && !changed.package.is_in_both();
        changed.iter().enumerate().filter(move |(_, one)| only(one)).map(|(at, one)| (one.package.name.as_str(), at))
    };
    let places = changed.iter().enumerate().map(|(at, one)| (one.package.name.as_str(), at)).collect();
    let ends = [(good, false), (bad, true)].map(|(list, end)| {
        let only: BTreeMap<&str, usize> = is_only(end).collect();
        let users = users(list, &only.keys().copied().collect(), needs);
        (only, users)
    });
    let exact = relations(&changed, needs).exact;
    // What follows a firmware may need others in an exact version, which others follow. It ends: a package only ever goes from
    // the rest to a part, and parts become fewer.
    loop {
        let before = parts.clone();
        join(&changed, &exact, &mut parts);
        for (only, users) in &ends {
            follow(only, &places, users, &mut parts);
            follow_as_one(&changed, &places, users, &mut parts);
        }
        if parts == before {
            break;
        }
    }
    let mut placed: Vec<(ImagePart, Changed)> = parts.into_iter().zip(changed).collect();
    placed.sort_by(|(one, _), (other, _)| one.cmp(other));
    let (parts, changed): (Vec<ImagePart>, Vec<Changed>) = placed.into_iter().unzip();
    let mut sets = Sets::new(changed.len());
    let mut first: BTreeMap<&ImagePart, usize> = BTreeMap::new();
    for (at, part) in parts.iter().enumerate() {
        sets.join(*first.entry(part).or_insert(at), at);
    }
    sorted(&changed, &relations(&changed, needs).uses, &mut sets)
}

/// Joins what cannot be had apart from the kernel or from a firmware: packages of one source, and those that need each other
/// in an exact version.
fn join(changed: &[Changed], exact: &BTreeSet<(usize, usize)>, parts: &mut [ImagePart]) {
    let mut pairs: Vec<(usize, usize)> = exact.iter().copied().collect();
    let mut by_source: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, one) in changed.iter().enumerate() {
        for source in &one.sources {
            pairs.push((*by_source.entry(&source.source).or_insert(at), at));
        }
    }
    loop {
        let mut is_done = true;
        for (one, other) in &pairs {
            let (Some(one_part), Some(other_part)) = (parts.get(*one).cloned(), parts.get(*other).cloned()) else {
                continue;
            };
            if one_part == other_part {
                continue;
            }
            is_done = false;
            match (&one_part, &other_part) {
                (ImagePart::Other, _) => give(parts, *one, &other_part),
                (_, ImagePart::Other) => give(parts, *other, &one_part),
                // `Kernel` sorts before `Firmware`.
                _ => rename(parts, &one_part.clone().max(other_part.clone()), &one_part.min(other_part)),
            }
        }
        if is_done {
            return;
        }
    }
}

/// Gives one package to a part.
fn give(parts: &mut [ImagePart], at: usize, to: &ImagePart) {
    if let Some(part) = parts.get_mut(at) {
        part.clone_from(to);
    }
}

/// Gives all packages of a part to another one.
fn rename(parts: &mut [ImagePart], from: &ImagePart, to: &ImagePart) {
    parts.iter_mut().filter(|part| *part == from).for_each(|part| part.clone_from(to));
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

/// Gives firmware that is in one of the images only, with all of its packages, to the kernel or the other firmware that alone
/// needs it.
fn follow_as_one(
    changed: &[Changed],
    places: &BTreeMap<&str, usize>,
    users: &BTreeMap<&str, BTreeSet<&str>>,
    parts: &mut [ImagePart],
) {
    let firmware: BTreeSet<ImagePart> =
        parts.iter().filter(|part| matches!(part, ImagePart::Firmware(_))).cloned().collect();
    for own in firmware {
        let members = || changed.iter().zip(&*parts).filter(|(_, part)| **part == own).map(|(one, _)| &one.package);
        if members().any(super::PackageChange::is_in_both) {
            continue;
        }
        let names = members().filter_map(|package| users.get(package.name.as_str())).flatten();
        let of_users: BTreeSet<Option<&ImagePart>> = names
            .map(|user| places.get(user).and_then(|at| parts.get(*at)))
            .filter(|part| *part != Some(&own))
            .collect();
        if let Some(Some(part)) = of_users.first().filter(|_| of_users.len() == 1)
            && **part != ImagePart::Other
        {
            let to = (*part).clone();
            rename(parts, &own, &to);
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
        assert_eq!(words(&good, &bad, &needs), ["glibc 1 -> 2", "data none -> 1, firmware-nonfree 1 -> 2"]);
    }

    fn words(good: &PackageList, bad: &PackageList, needs: &dyn Fn(&str, &str) -> Vec<Need>) -> Vec<String> {
        image_groups(good, bad, needs).iter().map(Group::words).collect()
    }

    /// That these packages need others: `("firmware-amd 2", "firmware-data", Some("2"))` for an exact version.
    fn index(lines: &'static [(&str, &str, Option<&str>)]) -> impl Fn(&str, &str) -> Vec<Need> {
        move |name, version| {
            let package = format!("{name} {version}");
            let found = lines.iter().filter(|(user, ..)| *user == package);
            found.map(|(_, name, exactly)| Need { name: (*name).into(), exactly: exactly.map(str::to_owned) }).collect()
        }
    }

    #[test]
    fn firmware_that_is_new_comes_with_the_firmware_that_alone_needs_it() {
        let good = list(&[("firmware-amd", "1", "amd"), ("firmware-nic", "1", "nic")]);
        let bad = list(&[
            ("firmware-amd", "2", "amd"),
            ("firmware-data", "2", "data"),
            // Of the same source as what is needed; by itself nothing needs it.
            ("firmware-data-more", "2", "data"),
            ("firmware-nic", "2", "nic"),
        ]);
        let needs = index(&[("firmware-amd 2", "firmware-data", None)]);
        assert_eq!(words(&good, &bad, &needs), ["amd 1 -> 2, data none -> 2", "nic 1 -> 2"]);
        // It goes with it, too, on the way back.
        assert_eq!(words(&bad, &good, &needs), ["amd 2 -> 1, data 2 -> none", "nic 2 -> 1"]);
        // Two need it: then it can be there without either.
        let both = index(&[("firmware-amd 2", "firmware-data", None), ("firmware-nic 2", "firmware-data", None)]);
        assert_eq!(words(&good, &bad, &both), ["data none -> 2", "amd 1 -> 2", "nic 1 -> 2"]);
        assert_eq!(words(&good, &bad, &|_, _| Vec::new()), ["amd 1 -> 2", "data none -> 2", "nic 1 -> 2"]);
    }

    #[test]
    fn what_follows_a_firmware_takes_along_what_it_needs_in_an_exact_version() {
        let good = list(&[("firmware-amd", "1", "amd"), ("data-common", "1", "data"), ("libc6", "1", "glibc")]);
        let bad = list(&[
            ("firmware-amd", "2", "amd"),
            ("amd-data", "2", "amd-data"),
            ("data-common", "2", "data"),
            ("data-fonts", "2", "fonts"),
            ("libc6", "2", "glibc"),
        ]);
        let needs = index(&[
            ("firmware-amd 2", "amd-data", None),
            ("amd-data 2", "data-common", Some("2")),
            // New, and needed only by what goes with the firmware.
            ("data-common 2", "data-fonts", None),
        ]);
        let together = "amd 1 -> 2, amd-data none -> 2, data 1 -> 2, fonts none -> 2";
        assert_eq!(words(&good, &bad, &needs), ["glibc 1 -> 2", together]);
        let back = "amd 2 -> 1, amd-data 2 -> none, data 2 -> 1, fonts 2 -> none";
        assert_eq!(words(&bad, &good, &needs), ["glibc 2 -> 1", back]);
    }

    #[test]
    fn firmware_of_one_version_is_one_group_and_other_firmware_comes_after_what_it_needs() {
        let good = list(&[("firmware-amd", "1", "amd"), ("firmware-data", "1", "data"), ("libc6", "1", "glibc")]);
        let bad = list(&[("firmware-amd", "2", "amd"), ("firmware-data", "2", "data"), ("libc6", "2", "glibc")]);
        let exact = index(&[("firmware-amd 2", "firmware-data", Some("2"))]);
        assert_eq!(words(&good, &bad, &exact), ["glibc 1 -> 2", "amd 1 -> 2, data 1 -> 2"]);
        // With a version or more the new data can be had without the new firmware that needs it.
        let at_least = index(&[("firmware-amd 2", "firmware-data", None)]);
        assert_eq!(words(&good, &bad, &at_least), ["glibc 1 -> 2", "data 1 -> 2", "amd 1 -> 2"]);
    }

    #[test]
    fn what_cannot_be_had_apart_from_the_kernel_or_a_firmware_goes_with_it() {
        let both = |version: &'static str| {
            list(&[
                ("firmware-amd", version, "amd"),
                ("amd-tools", version, "amd"),
                ("libamd", version, "libamd"),
                ("linux-image-7", version, "linux-signed-amd64"),
                ("nic-microcode", version, "nic"),
                ("gzip", version, "gzip"),
            ])
        };
        let needs = index(&[("amd-tools 2", "libamd", Some("2")), ("linux-image-7 2", "nic-microcode", Some("2"))]);
        assert_eq!(
            words(&both("1"), &both("2"), &needs),
            ["gzip 1 -> 2", "linux-signed-amd64 1 -> 2, nic 1 -> 2", "amd 1 -> 2, libamd 1 -> 2"]
        );
    }
}
