//! Reading package and source indexes.

use archive::index::{IndexError, IndexText, MultiArch, SourceIndex, Universe};
use proptest::prelude::*;

const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn text(component: &str, text: &str) -> IndexText {
    IndexText { archive: "sid".into(), component: component.into(), text: text.as_bytes().to_vec() }
}

fn universe(main: &str) -> Result<Universe, IndexError> {
    Universe::new(vec![text("main", main)], "amd64")
}

fn stanza(name: &str, version: &str, more: &str) -> String {
    format!("Package: {name}\nVersion: {version}\nArchitecture: amd64\n{more}\n")
}

#[test]
fn fields_of_a_package() {
    let text = format!(
        "Package: rocminfo\nSource: rocm-info (7.2-1)\nVersion: 7.2.4-1\nInstalled-Size: 88\nArchitecture: amd64\n\
         multi-arch: foreign\nDepends: libc6 (>= 2.34),\n pciutils\nDescription: ROCm info\n longer text\nSection: video\n\
         Filename: pool/main/r/rocminfo.deb\nSize: 27000\nSHA256: {DIGEST}\n"
    );
    let universe = universe(&text).unwrap();
    let package = universe.get(universe.candidates("rocminfo")[0]).unwrap();
    assert_eq!((package.name(), package.version(), package.architecture()), ("rocminfo", "7.2.4-1", "amd64"));
    assert_eq!((package.archive(), package.component()), ("sid", "main"));
    assert_eq!(package.source(), ("rocm-info", "7.2-1"));
    assert_eq!(package.multi_arch(), MultiArch::Foreign);
    assert_eq!((package.priority(), package.section(), package.is_essential()), ("optional", "video", false));
    assert_eq!(package.summary(), "ROCm info");
    assert_eq!(package.relations("Depends").unwrap().to_string(), "libc6 (>= 2.34), pciutils");
    assert_eq!(package.filename().unwrap(), "pool/main/r/rocminfo.deb");
    assert_eq!((package.size().unwrap(), package.installed_size().unwrap()), (27000, 88));
    assert_eq!(package.sha256().unwrap().to_string(), DIGEST);
    assert_eq!(package.field("Depends"), Some("libc6 (>= 2.34),\n pciutils"));
    assert_eq!(package.field("Depend"), None);
}

#[test]
fn hostile_fields_are_refused() {
    let text = stanza("a", "1", "Filename: ../../etc/passwd\nSize: -1\nSHA256: abc\nDepends: b (\n");
    let universe = universe(&text).unwrap();
    let package = universe.get(universe.candidates("a")[0]).unwrap();
    assert_eq!(package.filename().unwrap_err().to_string(), "a (1): the index gives \"../../etc/passwd\" as Filename");
    assert!(package.size().is_err());
    assert!(package.sha256().is_err());
    assert_eq!(package.relations("Depends").unwrap_err().to_string(), "a (1): Depends: \"b (\": ')' is missing");
}

#[test]
fn a_field_given_twice_is_refused() {
    // Otherwise the solver and the check of its answer could each believe another one.
    for field in ["Provides: x\nProvides: y\n", "provides:\nProvides: y\n", "Essential: no\nEssential: yes\n"] {
        let text = [stanza("a", "1", field), stanza("b", "1", "")].concat();
        let said = match universe(&text) {
            Ok(universe) => {
                assert!(!universe.knows("a") && universe.knows("b"));
                universe.left_out()[0].error.to_string()
            }
            // A base system without it would not be one.
            Err(error) => error.to_string(),
        };
        assert!(said.contains("the stanza has a second "), "{said}");
    }
}

#[test]
fn candidates_by_version_and_providers_by_name() {
    let main = [stanza("a", "1.9", ""), stanza("a", "1.10", ""), stanza("z", "1", "Provides: v (= 3), w\n")].concat();
    let extra = [stanza("a", "1.10", "Section: second\n"), stanza("b", "1", "Provides: x,\n v\n")].concat();
    let universe = Universe::new(vec![text("main", &main), text("extra", &extra)], "amd64").unwrap();
    let show = |id| universe.get(id).map(|package| format!("{package} {}", package.component())).unwrap();
    let found: Vec<_> = universe.candidates("a").into_iter().map(show).collect();
    assert_eq!(found, ["a (1.10) main", "a (1.9) main"]);
    let found: Vec<_> = universe.providers("v").into_iter().map(|(id, version)| (show(id), version)).collect();
    assert_eq!(found, [("b (1) extra".to_owned(), None), ("z (1) main".to_owned(), Some("3"))]);
    assert!(universe.knows("w") && !universe.knows("nothing"));
}

#[test]
fn packages_of_other_architectures_are_left_out() {
    let text = "Package: a\nVersion: 1\nArchitecture: arm64\n\nPackage: b\nVersion: 1\nArchitecture: all\n";
    let universe = universe(text).unwrap();
    assert_eq!(universe.len(), 1);
    assert!(!universe.knows("a"));
}

#[test]
fn essential_and_required() {
    let text =
        [stanza("b", "1", "Essential: yes\n"), stanza("a", "1", "Priority: required\n"), stanza("c", "1", "")].concat();
    let universe = universe(&text).unwrap();
    let name = |id| universe.get(id).unwrap().name();
    assert_eq!(universe.essential().into_iter().map(name).collect::<Vec<_>>(), ["b"]);
    assert_eq!(universe.required().into_iter().map(name).collect::<Vec<_>>(), ["a"]);
}

#[test]
fn mistakes_name_the_line() {
    let good = stanza("a", "1", "");
    let message = |text: String| universe(&text).unwrap().left_out()[0].error.to_string();
    assert_eq!(
        message(format!("{good}Package: b\nArchitecture: all\n")),
        "Packages of sid/main, line 5: the stanza has no Version"
    );
    assert_eq!(
        message(format!("{good}Package: b/c\nVersion: 1\nArchitecture: all\n")),
        "Packages of sid/main, line 5: \"b/c\" is not a valid Package"
    );
    assert!(message("Package: a\n b\n".into()).contains("line 2"));
    assert!(message(stanza("a", "1-", "")).ends_with("\"1-\" is not a valid Version"));
    assert!(message(stanza("a", "1", "Package: b\n")).ends_with("the stanza has a second Package"));
    assert_eq!(universe("").unwrap().len(), 0);
    let essential = "Package: base-files\nVersion: 1_bad\nArchitecture: amd64\nEssential: yes\n";
    assert!(universe(essential).unwrap_err().to_string().ends_with("\"1_bad\" is not a valid Version"));
}

#[test]
fn an_odd_stanza_is_left_out_and_the_others_are_read() {
    // apt installs from an index with any of these.
    let odd = [
        stanza("odd", "1.0_bad", ""),
        stanza("odd", "4294967295:1", ""),
        stanza("BAD NAME", "1", ""),
        "Package: odd\nVersion: 1\n\n".to_owned(),
    ];
    for odd in odd {
        let universe = universe(&[odd.as_str(), &stanza("good", "1", "")].concat()).unwrap();
        assert_eq!((universe.len(), universe.left_out().len()), (1, 1), "{odd}");
        assert!(universe.knows("good"), "{odd}");
    }
    let latin1 = b"Package: a\nVersion: 1\nArchitecture: all\nMaintainer: J\xfcrgen\nFilename: pool/\xfc.deb\n";
    let index = IndexText { archive: "sid".into(), component: "main".into(), text: latin1.to_vec() };
    let universe = Universe::new(vec![index], "amd64").unwrap();
    let package = universe.get(universe.candidates("a")[0]).unwrap();
    assert!(package.filename().is_err(), "a path with another name than what was signed");
    assert!(SourceIndex::new(b"Version: 1\n\nPackage: a\nVersion: 1\n".to_vec()).unwrap().names().eq(["a"]));
}

#[test]
fn source_packages() {
    let text = format!(
        "Package: rocrand\nBinary: librocrand1,\n librocrand1-tests\nVersion: 6.4.3-1\nMaintainer: A <a@x>\n\
         Uploaders: B, Inc. <b@x>, C <c@x>\nTestsuite: autopkgtest\nDirectory: pool/main/r/rocrand\n\
         Checksums-Sha256:\n {DIGEST} 12 rocrand_6.4.3-1.dsc\n\nPackage: rocrand\nVersion: 7-1\nDirectory: pool\n\
         Checksums-Sha256:\n {DIGEST} 1 ../x\n"
    );
    let index = SourceIndex::new(text.into_bytes()).unwrap();
    assert_eq!(index.len(), 2);
    let found = index.candidates("rocrand");
    assert_eq!(found[0].version(), "7-1");
    assert!(found[0].files().is_err());
    assert_eq!(found[1].binaries(), ["librocrand1", "librocrand1-tests"]);
    assert_eq!(found[1].uploaders(), ["B, Inc. <b@x>", "C <c@x>"]);
    assert_eq!((found[1].maintainer(), found[1].testsuite()), ("A <a@x>", vec!["autopkgtest"]));
    let odd = SourceIndex::new(b"Package: a\n b\nVersion: 1\n\nPackage: a\nVersion: 2\n".to_vec()).unwrap();
    let versions: Vec<_> = odd.candidates("a").iter().map(archive::index::SourcePackage::version).collect();
    assert_eq!(versions, ["2"], "a name of two lines is another name");
    let files = found[1].files().unwrap();
    assert_eq!((files[0].path.as_str(), files[0].size), ("pool/main/r/rocrand/rocrand_6.4.3-1.dsc", 12));
    assert!(index.candidates("nothing").is_empty());
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(
        text in "(Package: [a-c]\n|Version: [0-9]\n|Architecture: all\n|Provides: [a-c(=, ]{0,6}\n| [a-c]\n|\r?\n|[A-Z:é]){0,20}"
    ) {
        if let Ok(universe) = universe(&text) {
            for id in universe.ids() {
                let package = universe.get(id).unwrap();
                prop_assert!(universe.candidates(package.name()).len() <= universe.len());
                prop_assert_eq!(package.field("Version"), Some(package.version()));
                universe.providers(package.name());
            }
        }
        if let Ok(index) = SourceIndex::new(text.into_bytes()) {
            prop_assert!(index.candidates("a").len() <= index.len());
        }
    }
}
