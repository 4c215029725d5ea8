//! Where the versions that a search installs come from: the archive, the packages that the hub keeps, or nowhere.

use std::collections::{BTreeMap, BTreeSet};

use advice::Advice;
use archive::index::Universe;
use client::{Client, ClientError};
use history::bisect::Upgraded;
use history::groups::{Group, versions};
use protocol::api::{AskKept, KeptPackage, KeptPackages, KeptUse, PackageVersion};
use protocol::{Job, MOST_PACKAGE_FILES, PackageFile};
use serde::{Deserialize, Serialize};

use super::FROM_WHERE;
use super::place::{Local, Place};
use super::wording::counted;
use crate::commands::bytes;
use crate::own_packages;

/// How many versions are listed by name.
const FEW: usize = 5;

/// A version that the search installs, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    #[serde(flatten)]
    pub(super) package: PackageVersion,
    pub(super) from: From,
    /// For a run on this machine: the file that it gets from the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<PackageFile>,
}

/// Where a version comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum From {
    /// The archive of today has it.
    Archive,
    /// The hub keeps it, and the runs get it.
    Hub,
    /// The hub keeps it, and its jobs get it when the hub has found that the archive has it no more.
    HubLater,
    /// The hub keeps it, but it is of the tested source, whose tests of that version are not kept.
    TestedSource,
    /// The hub keeps it, and gives it to a run on this machine only with its admin token.
    NeedsToken,
    /// The hub keeps it, and tells of no file that a testbed of this machine can install.
    NotForHere,
    /// Neither the archive of today nor the hub has it.
    Missing,
}

impl From {
    /// For people, after a number of versions.
    fn words(self) -> &'static str {
        match self {
            Self::Archive => "from the archive",
            Self::Hub => "kept at the hub",
            Self::HubLater => "kept at the hub for when it has read the archive again",
            Self::TestedSource => "of the tested source, which runs do not get from the hub",
            Self::NeedsToken => "kept at the hub, which gives them only to those with its admin token",
            Self::NotForHere => "kept at the hub, but not as files for this machine",
            Self::Missing => "missing",
        }
    }
}

/// All versions that a search installs.
fn wanted(groups: &[Group]) -> BTreeSet<PackageVersion> {
    let packages = groups.iter().flat_map(|group| &group.packages);
    let each = packages.flat_map(|package| {
        let version = |version: &String| PackageVersion { name: package.name.clone(), version: version.clone() };
        [&package.from, &package.to].into_iter().flatten().map(version)
    });
    each.collect()
}

/// The versions that the archive of today does not have.
pub(super) fn not_in_archive(universe: &Universe, groups: &[Group]) -> Vec<PackageVersion> {
    let has = |package: &PackageVersion| {
        let candidates = universe.candidates(&package.name).into_iter().filter_map(|id| universe.get(id));
        candidates.into_iter().any(|candidate| candidate.version() == package.version)
    };
    wanted(groups).into_iter().filter(|package| !has(package)).collect()
}

/// Asks a hub which of these versions it keeps for a job.
pub(super) fn ask(client: &Client, job: &Job, packages: &[PackageVersion]) -> Result<KeptPackages, ClientError> {
    let tested = job.source.archive_package().unwrap_or_default();
    let mut kept = KeptPackages::default();
    for packages in packages.chunks(AskKept::MOST) {
        let question = AskKept { tested: tested.to_owned(), packages: packages.to_vec() };
        let answer = client.kept_packages(&question)?;
        kept.keeps |= answer.keeps;
        kept.may_fetch |= answer.may_fetch;
        kept.packages.extend(answer.packages);
    }
    Ok(kept)
}

/// The file of a kept package that testbeds of this machine can install.
fn file_for_here(files: &[PackageFile]) -> Option<&PackageFile> {
    files.iter().find(|file| file.is_binary() && file.content.is_some() && own_packages::is_for_here(file.name()))
}

/// Where each version comes from.
pub(super) fn find(groups: &[Group], gone: &[PackageVersion], kept: &KeptPackages, place: &Place) -> Vec<Origin> {
    let each = wanted(groups).into_iter().map(|package| {
        let is_gone = gone.contains(&package);
        let (from, file) = if is_gone { of_kept(&package, kept, place) } else { (From::Archive, None) };
        Origin { package, from, file }
    });
    each.collect()
}

/// Where a version comes from that the archive of today does not have, and its file for a run on this machine.
fn of_kept(package: &PackageVersion, kept: &KeptPackages, place: &Place) -> (From, Option<PackageFile>) {
    let is_here = matches!(place, Place::Local(_));
    let found = kept.packages.iter().find(|one| one.package == *package);
    let Some(KeptPackage { given, files, .. }) = found else { return (From::Missing, None) };
    match (given, file_for_here(files)) {
        (KeptUse::OfTestedSource, _) => (From::TestedSource, None),
        // The archive of this machine has it no more, whatever the hub has read.
        (KeptUse::Given | KeptUse::InArchive, Some(file)) if is_here && kept.may_fetch => {
            (From::Hub, Some(file.clone()))
        }
        (KeptUse::Given | KeptUse::InArchive, Some(_)) if is_here => (From::NeedsToken, None),
        (KeptUse::Given | KeptUse::InArchive, None) if is_here => (From::NotForHere, None),
        (KeptUse::Given, _) => (From::Hub, None),
        (KeptUse::InArchive, _) => (From::HubLater, None),
    }
}

/// The versions that the hub keeps, and did not give when it was asked without its admin token.
pub(super) fn needing_token(origins: &[Origin]) -> Vec<PackageVersion> {
    let needing = origins.iter().filter(|origin| origin.from == From::NeedsToken);
    needing.map(|origin| origin.package.clone()).collect()
}

/// Takes over what the hub says now of the versions that needed its token. Returns those that it gives.
pub(super) fn renew(origins: &mut [Origin], kept: &KeptPackages, place: &Place) -> Vec<Origin> {
    let mut given = Vec::new();
    for origin in origins.iter_mut().filter(|origin| origin.from == From::NeedsToken) {
        (origin.from, origin.file) = of_kept(&origin.package, kept, place);
        given.extend((origin.from == From::Hub).then(|| origin.clone()));
    }
    given
}

/// A line for the plan: how many versions come from where. `None` if it is not known.
pub(super) fn line(origins: &[Origin]) -> Option<String> {
    let mut by: BTreeMap<From, Vec<&PackageVersion>> = BTreeMap::new();
    for origin in origins {
        by.entry(origin.from).or_default().push(&origin.package);
    }
    let contents = origins.iter().filter_map(|origin| origin.file.as_ref()?.content);
    let size = contents.map(|content| content.size).fold(0, u64::saturating_add);
    let size = if size > 0 { format!("; {} in all", bytes(size)) } else { String::new() };
    let each = by.into_iter().map(|(from, packages)| match from {
        From::Archive => format!("{} {}", packages.len(), from.words()),
        From::Hub => format!("{} {} ({}{size})", packages.len(), from.words(), few(&packages)),
        _ => format!("{} {} ({})", packages.len(), from.words(), few(&packages)),
    });
    let each = each.collect::<Vec<_>>().join(", ");
    (!each.is_empty()).then(|| format!("versions: {each}"))
}

pub(super) fn few(packages: &[&PackageVersion]) -> String {
    let list = packages.iter().take(FEW).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let more = packages.len().saturating_sub(FEW);
    if more > 0 { format!("{list} and {more} more") } else { list }
}

/// What is to be done about versions that cannot be had, before the search begins.
pub(super) fn warnings(
    origins: &[Origin],
    groups: &[Group],
    job: &Job,
    place: &Place,
    kept: &KeptPackages,
) -> Vec<Advice> {
    let of = |from: From| origins.iter().filter(move |origin| origin.from == from).map(|origin| &origin.package);
    let mut found = Vec::new();
    let missing: Vec<_> = of(From::Missing).collect();
    let has_others = !job.apt_sources.is_empty() || !job.packages.is_empty() || job.archive.is_some();
    if !missing.is_empty() && !has_others {
        let has_hub = matches!(place, Place::Hub(_) | Place::Local(Local { hub: Some(_), .. }));
        let (nor, help) = match place {
            _ if has_hub && kept.keeps => (", nor does the hub keep it", FROM_WHERE.to_owned()),
            _ if has_hub => (
                ", and the hub keeps no packages",
                format!("{FROM_WHERE}; `rocbed hub --watch --keep-packages SIZE` keeps them from now on"),
            ),
            Place::Local(_) => ("", format!("{FROM_WHERE}; or name a hub that keeps packages with --hub")),
            Place::Hub(_) | Place::Machines(_) => ("", FROM_WHERE.to_owned()),
        };
        let what = format!(
            "the archive of today does not have {}{nor}: these sets can be tested only where apt finds them",
            few(&missing)
        );
        found.push(Advice::new(what, help));
    }
    let tested: Vec<_> = of(From::TestedSource).collect();
    if !tested.is_empty() {
        let what = format!(
            "the archive of today does not have {}, and its tests of that version are not kept at the hub",
            few(&tested)
        );
        found.push(Advice::new(what, format!("{FROM_WHERE}; --dates searches where a snapshot service has them")));
    }
    let secret: Vec<_> = of(From::NeedsToken).collect();
    if !secret.is_empty() {
        let what = format!(
            "the archive of today does not have {}, and the hub gives its packages only to those with its admin token",
            few(&secret)
        );
        found.push(Advice::new(what, "begin with --token-file or ROCBED_TOKEN, or take the search up with it: --continue --hub URL --token-file FILE"));
    }
    let others: Vec<_> = of(From::NotForHere).collect();
    if !others.is_empty() {
        let what = format!(
            "the archive of today does not have {}; the hub keeps them for other architectures only, or is too old to give \
             them to this machine",
            few(&others)
        );
        found.push(Advice::new(what, format!("update the hub if it is older than this rocbed; or {FROM_WHERE}")));
    }
    let later: Vec<_> = of(From::HubLater).collect();
    if !later.is_empty() {
        let what = format!("the hub has not noticed yet that the archive does not have {} any more", few(&later));
        found.push(Advice::new(what, "begin when it has read the archive again: its page /archive says when it did"));
    }
    let most = [Upgraded::new(), (0..groups.len()).collect()].iter().map(|set| files(origins, groups, set)).max();
    if let Some(count) = most.filter(|count| *count > MOST_PACKAGE_FILES) {
        let what = format!("{} from the hub are more than the {MOST_PACKAGE_FILES} of a run", counted(count, "file"));
        found.push(Advice::new(what, "search between results that are closer to each other: `rocbed bisect GOOD BAD`"));
    }
    found
}

/// How many files a run gets from the hub with these groups upgraded.
fn files(origins: &[Origin], groups: &[Group], upgraded: &Upgraded) -> usize {
    let installed = versions(groups, upgraded);
    let is_kept = |origin: &&Origin| {
        origin.from == From::Hub && installed.get(&origin.package.name) == Some(&origin.package.version)
    };
    origins.iter().filter(is_kept).count()
}

/// Whether a run gets versions from the hub with these groups upgraded.
pub(super) fn from_hub(origins: &[Origin], groups: &[Group], upgraded: &Upgraded) -> bool {
    files(origins, groups, upgraded) > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use history::groups::PackageChange;

    fn version(name: &str, version: &str) -> PackageVersion {
        PackageVersion { name: name.into(), version: version.into() }
    }

    fn groups(names: &[&str]) -> Vec<Group> {
        let group = |name: &&str| Group {
            sources: Vec::new(),
            packages: vec![PackageChange {
                name: (*name).to_owned(),
                from: Some("1".to_owned()),
                to: Some("2".to_owned()),
            }],
        };
        names.iter().map(group).collect()
    }

    fn kept(packages: &[(&str, KeptUse)]) -> KeptPackages {
        let file = |name: &str, architecture: &str| {
            let text =
                format!(r#"{{"file": "{name}_1_{architecture}.deb", "sha256": "{}", "size": 2048}}"#, "0".repeat(64));
            serde_json::from_str::<PackageFile>(&text).expect("a file")
        };
        let package = |(name, given): &(&str, KeptUse)| KeptPackage {
            package: version(name, "1"),
            given: *given,
            files: vec![file(name, "i386"), file(name, "amd64")],
        };
        KeptPackages { keeps: true, may_fetch: true, packages: packages.iter().map(package).collect() }
    }

    #[test]
    fn the_plan_says_where_each_version_comes_from() {
        let groups = groups(&["liba", "libb", "libc", "libd", "libe"]);
        let gone = ["libb", "libc", "libd", "libe"].map(|name| version(name, "1"));
        let kept = kept(&[
            ("libb", KeptUse::Given),
            ("libc", KeptUse::OfTestedSource),
            ("libd", KeptUse::InArchive),
            // The archive has it, whatever else has it.
            ("liba", KeptUse::Given),
        ]);
        let hub = Place::Hub("http://hub".into());
        let origins = find(&groups, &gone, &kept, &hub);
        assert_eq!(
            line(&origins).unwrap_or_default(),
            "versions: 6 from the archive, 1 kept at the hub (libb 1), \
             1 kept at the hub for when it has read the archive again (libd 1), \
             1 of the tested source, which runs do not get from the hub (libc 1), 1 missing (libe 1)"
        );
        let json = serde_json::to_value(&origins[2]).expect("JSON");
        assert_eq!(json, serde_json::json!({ "name": "libb", "version": "1", "from": "hub" }));
        // Only sets with the old version need the hub.
        let upgraded = |set: &[usize]| set.iter().copied().collect::<Upgraded>();
        assert!(from_hub(&origins, &groups, &upgraded(&[])) && !from_hub(&origins, &groups, &upgraded(&[1])));
        assert_eq!(line(&[]), None);
    }

    #[test]
    fn a_run_on_this_machine_gets_files_of_the_hub_with_its_token() {
        let groups = groups(&["liba", "libb", "libc"]);
        let gone = ["liba", "libb", "libc"].map(|name| version(name, "1"));
        let mut kept =
            kept(&[("liba", KeptUse::Given), ("libb", KeptUse::InArchive), ("libc", KeptUse::OfTestedSource)]);
        let here = |hub: Option<&str>| {
            Place::Local(Local { recipe: "rocm".into(), options: Vec::new(), hub: hub.map(str::to_owned) })
        };
        let place = here(Some("http://hub"));
        let told = |kept: &KeptPackages, place: &Place| {
            let origins = find(&groups, &gone, kept, place);
            let warnings = warnings(&origins, &groups, &Job::of_package("app"), place, kept);
            let warnings = warnings.iter().map(Advice::in_one_line).collect::<Vec<_>>();
            (line(&origins).unwrap_or_default(), warnings.join("\n"))
        };
        let (line, _) = told(&kept, &place);
        assert!(line.contains("2 kept at the hub (liba 1, libb 1; 4.00 KiB in all), 1 of the tested"), "{line}");
        let files: Vec<_> = find(&groups, &gone, &kept, &place).into_iter().filter_map(|origin| origin.file).collect();
        assert_eq!(files.iter().map(PackageFile::name).collect::<Vec<_>>(), ["liba_1_amd64.deb", "libb_1_amd64.deb"]);
        // Without the token they are not to be had, and the plan says so.
        kept.may_fetch = false;
        let (line, warnings) = told(&kept, &place);
        assert!(
            line.contains("2 kept at the hub, which gives them only to those with its admin token (liba 1"),
            "{line}"
        );
        assert!(warnings.contains("--token-file"), "{warnings}");
        // Of another architecture, or without a hub.
        kept.may_fetch = true;
        kept.packages.iter_mut().for_each(|package| package.files.truncate(1));
        let (line, warnings) = told(&kept, &place);
        assert!(line.contains("2 kept at the hub, but not as files for this machine (liba 1, libb 1)"), "{line}");
        assert!(warnings.contains("for other architectures only, or is too old"), "{warnings}");
        assert!(!warnings.contains("nor does the hub keep it"), "{warnings}");
        assert!(told(&KeptPackages::default(), &here(None)).1.contains("name a hub that keeps packages with --hub"));
    }

    #[test]
    fn what_is_missing_is_told_with_what_to_do() {
        let groups = groups(&["liba"]);
        let gone = [version("liba", "1")];
        let (hub, job) = (Place::Hub("http://hub".into()), Job::of_package("app"));
        let told = |kept: &KeptPackages, job: &Job| {
            let found = warnings(&find(&groups, &gone, kept, &hub), &groups, job, &hub, kept);
            found.iter().map(Advice::in_one_line).collect::<Vec<_>>()
        };
        let nothing = told(&KeptPackages::default(), &job);
        assert!(nothing[0].contains("liba 1, and the hub keeps no packages") && nothing[0].contains("--keep-packages"));
        let not_this = told(&kept(&[]), &job);
        assert!(not_this[0].contains("nor does the hub keep it") && !not_this[0].contains("--keep-packages"));
        assert_eq!(told(&kept(&[("liba", KeptUse::Given)]), &job), Vec::<String>::new());
        assert!(told(&kept(&[("liba", KeptUse::InArchive)]), &job)[0].contains("/archive"));
        assert!(told(&kept(&[("liba", KeptUse::OfTestedSource)]), &job)[0].contains("--dates"));
        // Perhaps the job's own archive has it.
        let mut own = job.clone();
        own.archive = Some(protocol::JobArchive::Suite("experimental".into()));
        assert_eq!(told(&kept(&[]), &own), Vec::<String>::new());
    }

    #[test]
    fn a_job_takes_so_many_files() {
        let names: Vec<String> = (0..=MOST_PACKAGE_FILES).map(|number| format!("lib{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let groups = groups(&names);
        let gone: Vec<_> = names.iter().map(|name| version(name, "1")).collect();
        let kept = kept(&names.iter().map(|name| (*name, KeptUse::Given)).collect::<Vec<_>>());
        let (hub, job) = (Place::Hub("http://hub".into()), Job::of_package("app"));
        let found = warnings(&find(&groups, &gone, &kept, &hub), &groups, &job, &hub, &kept);
        assert!(found[0].in_one_line().contains("201 files from the hub"), "{}", found[0].in_one_line());
    }
}
