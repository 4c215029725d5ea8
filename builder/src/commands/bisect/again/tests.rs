use history::Environment;
use history::bisect::{Answer, Step, Upgraded};
use history::groups::group;
use protocol::api::{KeptPackage, KeptPackages, KeptUse, PackageVersion, ProblemCode};
use protocol::{InstalledPackage, Job, PackageFile, PackageList};

use super::super::fake_hub::{context, json, problem, serve};
use super::super::origins::From;
use super::super::place::Local;
use super::super::state::{End, Observed, Question};
use super::*;

/// `liba` and `libb` in a version.
fn list(version: &str) -> PackageList {
    let package = |name: &str| InstalledPackage {
        name: name.into(),
        architecture: "amd64".into(),
        version: version.into(),
        source: name.into(),
        source_version: version.into(),
    };
    ["liba", "libb"].map(package).into_iter().collect()
}

/// What a hub says of the old versions.
fn kept(may_fetch: bool, names: &[&str]) -> Result<KeptPackages> {
    let package = |name: &&str| -> Result<KeptPackage> {
        let package = PackageVersion { name: (*name).to_owned(), version: "1".into() };
        let file = serde_json::json!({ "file": format!("{name}_1_amd64.deb"), "sha256": "0".repeat(64), "size": 2048 });
        let files = vec![serde_json::from_value::<PackageFile>(file)?];
        Ok(KeptPackage { package, given: KeptUse::Given, files })
    };
    Ok(KeptPackages { keeps: true, may_fetch, packages: names.iter().map(package).collect::<Result<_>>()? })
}

/// A search on this machine that came to its end, as its good end needs `liba 1` and `libb 1`, which the hub gives to nobody
/// without the token.
fn search(address: &str) -> Result<State> {
    let end = |version: &str| {
        End::new(version.into(), jiff::Timestamp::UNIX_EPOCH, 10.0, Environment::default())
            .with_packages(&list(version))
    };
    let mut job = Job::of_package("app");
    job.tests = vec!["t".into()];
    let observed = Observed { failed: 1, passed: 0 };
    let question = Question { test: "t".into(), target: None, good: end("1"), bad: end("2"), job, observed };
    let place = Place::Local(Local { recipe: "rocm".into(), options: Vec::new(), hub: Some(address.to_owned()) });
    let grouped = group(&list("1"), &list("2"), &|_, _| Vec::new());
    let mut state = State::new(question, place, grouped, 1);
    let gone = ["liba", "libb"].map(|name| PackageVersion { name: name.into(), version: "1".into() });
    state.versions = origins::find(&state.groups, &gone, &kept(false, &["liba", "libb"])?, &state.place);
    state.search.answer((0..2).collect(), Answer::Bad);
    state.search.answer(Upgraded::new(), Answer::Skip);
    assert!(state.is_over());
    Ok(state)
}

/// Where the old versions come from.
fn from(state: &State) -> Vec<From> {
    let old = state.versions.iter().filter(|origin| origin.package.version == "1");
    old.map(|origin| origin.from).collect()
}

#[test]
fn with_a_token_the_hub_is_asked_again_and_what_could_not_be_tested_is_run() -> Result<()> {
    let (hub, server) = serve(vec![json(&kept(true, &["liba", "libb"])?)?])?;
    let mut state = search(&hub.address)?;
    ask(&context()?, &mut state, &hub)?;
    let asked = server.join().expect("no panic");
    assert_eq!(asked[0].line, "POST /api/v1/kept-packages HTTP/1.1");
    assert_eq!(asked[0].token.as_deref(), Some("Bearer admin"));
    assert_eq!(from(&state), [From::Hub, From::Hub]);
    let files: Vec<_> =
        state.versions.iter().filter_map(|origin| origin.file.as_ref()).map(PackageFile::name).collect();
    assert_eq!(files, ["liba_1_amd64.deb", "libb_1_amd64.deb"]);
    assert_eq!(state.search.next(), Step::Run(Upgraded::new()), "the bad end is known, and the good one is run again");

    // They are known now, and no hub is asked.
    let (nobody, _server) = serve(Vec::new())?;
    ask(&context()?, &mut state, &nobody)
}

#[test]
fn what_the_hub_keeps_no_more_stays_untested() -> Result<()> {
    let (hub, _server) = serve(vec![json(&kept(true, &[])?)?])?;
    let mut state = search(&hub.address)?;
    ask(&context()?, &mut state, &hub)?;
    assert_eq!(from(&state), [From::Missing, From::Missing]);
    assert!(state.is_over());
    Ok(())
}

#[test]
fn without_the_admin_token_the_search_is_as_it_was() -> Result<()> {
    // Nobody is asked without any.
    let (mut hub, _server) = serve(Vec::new())?;
    hub.token = None;
    let mut state = search(&hub.address)?;
    ask(&context()?, &mut state, &hub)?;
    assert_eq!(from(&state), [From::NeedsToken, From::NeedsToken]);
    // The token of a worker.
    let (hub, _server) = serve(vec![json(&kept(false, &["liba", "libb"])?)?])?;
    ask(&context()?, &mut state, &hub)?;
    assert_eq!(from(&state), [From::NeedsToken, From::NeedsToken]);
    assert!(state.is_over());
    // One that the hub does not know.
    let (hub, _server) = serve(vec![problem(ProblemCode::Unauthorized)?])?;
    let error = ask(&context()?, &mut state, &hub).expect_err("it is refused");
    let error = crate::error::report(&error).to_string();
    assert!(error.contains("it is not known which packages the hub gives with this token"), "{error}");
    assert!(error.contains("without a token the search goes on without them"), "{error}");
    Ok(())
}
