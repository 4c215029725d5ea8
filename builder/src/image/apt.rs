//! What apt in the image knows: its sources, and priorities that agree with where the recipe takes packages from.

use archive::policy::{Pin, PinKind};

use crate::lock::{Lock, LockedExtraArchive};
use crate::recipe::{AptSourceEntry, ExtraArchive, Recipe};

/// Path of apt's sources.
pub(super) const SOURCES: &str = "etc/apt/sources.list.d/rocbed.sources";

/// Path of apt's priorities.
pub(super) const PREFERENCES: &str = "etc/apt/preferences.d/rocbed.pref";

/// Of exact versions and local packages: above every archive, and below 1000, from which on apt would go back to older ones.
const EXACT: u32 = 990;

/// Of the packages that an archive is named for: above the usual 500, and below what autopkgtest pins (990 and more).
const NAMED: u32 = 900;

/// Of other packages of such an archive: what is installed from it follows it, and nothing else comes from it: `apt_preferences(5)`.
const OTHERS: u32 = 100;

/// The sources in deb822 style (sources.list(5)); empty if there are none.
pub(super) fn sources(sources: &[AptSourceEntry]) -> String {
    let stanza = |source: &AptSourceEntry| {
        let check = if source.check_valid_until { "" } else { "Check-Valid-Until: no\n" };
        let components = source.components.join(" ");
        // A flat archive has no components, and apt refuses an empty list.
        let components = if components.is_empty() { String::new() } else { format!("Components: {components}\n") };
        format!(
            "Types: {}\nURIs: {}\nSuites: {}\n{components}Signed-By: {}\n{check}",
            source.types.join(" "),
            source.uris.join(" "),
            source.suites.join(" "),
            source.signed_by,
        )
    };
    sources.iter().map(stanza).collect::<Vec<_>>().join("\n")
}

/// The priorities, as in `apt_preferences(5)`; empty if nothing comes from elsewhere.
pub(super) fn preferences(recipe: &Recipe, lock: &Lock) -> String {
    let mut records: Vec<String> = recipe.packages.versions.iter().map(of_version).collect();
    let local = lock.root_packages().filter(|package| package.is_local());
    records.extend(local.map(|package| record(&package.name, &format!("version {}", package.version), EXACT)));
    for extra in recipe.extra_archives.iter().filter(|extra| extra.in_apt) {
        let state = lock.extra_archives.iter().find(|state| state.name == extra.name);
        records.extend(state.into_iter().flat_map(|state| of_archive(extra, state)));
    }
    records.join("\n")
}

fn record(packages: &str, pin: &str, priority: u32) -> String {
    format!("Package: {packages}\nPin: {pin}\nPin-Priority: {priority}\n")
}

fn of_version(pin: &Pin) -> String {
    // Binary packages that were only rebuilt have their own versions: 7.1-2+b1.
    let any = if pin.kind == PinKind::Source { "*" } else { "" };
    record(&pin.to_string(), &format!("version {}{any}", pin.version), EXACT)
}

fn of_archive(extra: &ExtraArchive, state: &LockedExtraArchive) -> Vec<String> {
    let (Some(packages), Some(pin)) = (&extra.packages, pin(extra, state)) else { return Vec::new() };
    let names: Vec<String> = packages.iter().map(ToString::to_string).collect();
    let named = record(&names.join(" "), &pin, NAMED);
    if names.iter().any(|name| name == "*") { vec![named] } else { vec![named, record("*", &pin, OTHERS)] }
}

/// How apt recognises an archive's packages: by its Release file, or else by the server.
fn pin(extra: &ExtraArchive, state: &LockedExtraArchive) -> Option<String> {
    let names = &state.release_names;
    // Of the two names of a distribution the one that does not move on at a release.
    let distribution = names.codename.as_ref().map(|name| ('n', name)).or(names.suite.as_ref().map(|name| ('a', name)));
    let all =
        [names.origin.as_ref().map(|name| ('o', name)), names.label.as_ref().map(|name| ('l', name)), distribution];
    // apt separates them by commas, and has no way to quote one.
    let is_plain = |value: &str| !value.is_empty() && !value.contains(|c: char| c.is_control() || ",\"".contains(c));
    let words = all.into_iter().flatten().filter(|(_, value)| is_plain(value));
    let words: Vec<String> = words.map(|(letter, value)| format!("{letter}={value}")).collect();
    if !words.is_empty() {
        return Some(format!("release {}", words.join(",")));
    }
    let server = transfer::server_of(extra.archive.mirror.as_deref().filter(|mirror| mirror.contains("://"))?);
    let host = server.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    Some(format!("origin \"{}\"", host.map_or(server, |(host, _)| host)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::tests::{lock, package};
    use crate::lock::{LockedPackage, ReleaseNames};
    use crate::recipe;

    fn written(text: &str, names: ReleaseNames) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mine.toml");
        std::fs::write(&path, text).unwrap();
        let recipe = recipe::load(path.to_str().unwrap()).unwrap();
        let mut lock = lock(vec![LockedPackage { archive: Some("local".into()), ..package("gzip", "1.14-1+mine") }]);
        let state = lock.archive.clone();
        lock.extra_archives = vec![LockedExtraArchive {
            name: "exp".into(),
            suite: state.suite,
            components: state.components,
            date: 0,
            release: state.release,
            release_names: names,
        }];
        preferences(&recipe, &lock)
    }

    const EXTRA: &str = "[packages.versions]\n'src:rocr-runtime' = '7.1-2'\n[[extra-archive]]\nname = 'exp'\n\
        mirror = 'https://me:secret@apt.example:8443/x'\n";

    #[test]
    fn apt_takes_from_elsewhere_what_the_recipe_does() {
        let names =
            ReleaseNames { origin: Some("Debian".into()), codename: Some("rc-buggy".into()), ..Default::default() };
        let text = written(&format!("{EXTRA}packages = ['src:a', 'b*']"), names);
        let expected = "Package: src:rocr-runtime\nPin: version 7.1-2*\nPin-Priority: 990\n\n\
            Package: gzip\nPin: version 1.14-1+mine\nPin-Priority: 990\n\n\
            Package: src:a b*\nPin: release o=Debian,n=rc-buggy\nPin-Priority: 900\n\n\
            Package: *\nPin: release o=Debian,n=rc-buggy\nPin-Priority: 100\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn an_archive_without_names_is_known_by_its_server() {
        let names = ReleaseNames { origin: Some("a,b".into()), ..Default::default() };
        let text = written(&format!("{EXTRA}packages = ['*']"), names);
        assert!(text.ends_with("\n\nPackage: *\nPin: origin \"apt.example\"\nPin-Priority: 900\n"), "{text}");
        let text = written(EXTRA, ReleaseNames::default());
        assert!(!text.contains("origin"), "all of its packages count as usual: {text}");
    }
}
